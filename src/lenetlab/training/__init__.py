"""The stage train: train the seeds of a variant side by side."""
