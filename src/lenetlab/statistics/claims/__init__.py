"""Published statements, checked against the study: confirmed, consistent, refuted, undecided or not applicable."""
