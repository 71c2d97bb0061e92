"""Forms in which images circulate: what a folder, archive or file holds."""
