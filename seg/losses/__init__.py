"""Losses on logits, computed in float32, one value per sample."""
