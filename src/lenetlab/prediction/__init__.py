"""Answers of trained networks about any image."""
