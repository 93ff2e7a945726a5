"""From a trained model to masks of whole cases."""
