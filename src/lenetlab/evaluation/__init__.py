"""The stages evaluate and cost, and the sensitivity to single settings."""
