"""Architectures: plain functions of typed arguments that return a `keras.Model` giving logits.

A builder takes `input_shape` (H, W, C) and the arguments of its YAML. Its model maps float images
BHWC over 0..1 to float32 logits (B, H, W, classes).
"""
