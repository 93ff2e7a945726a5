"""The jobs of a sweep: their records, their share of a machine, their processes."""
