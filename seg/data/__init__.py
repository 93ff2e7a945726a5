"""From files to cases, splits and tf.data pipelines."""
