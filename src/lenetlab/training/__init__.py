"""The stage train: seeds of a variant, trained side by side."""
