"""Check the results that others hand in."""
