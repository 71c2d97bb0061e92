"""Answers to published statements."""
