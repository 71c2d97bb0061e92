"""MLflow, as a view of the outputs on disk."""
