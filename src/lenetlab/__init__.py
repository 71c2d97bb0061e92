"""An experiment pipeline on digit images that says whether a difference is real."""
