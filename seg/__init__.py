"""Experiment runner for medical image segmentation: `python -m seg.run dataset=... model=...`."""

__version__ = "0.1.0"
