"""Trained networks as logged models of MLflow, and the registered champion."""
