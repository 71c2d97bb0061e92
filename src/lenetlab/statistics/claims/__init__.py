"""Published statements, checked against the study: confirmed, refuted or undecided."""
