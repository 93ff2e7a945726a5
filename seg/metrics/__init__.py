"""Scores per case (NumPy), and the curves of training (Keras)."""
