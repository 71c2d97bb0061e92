"""What is measured, as MLflow shows it."""
