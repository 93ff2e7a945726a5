"""Random variants of training samples, drawn inside the tf.data pipeline."""
