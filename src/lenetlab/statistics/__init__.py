"""Is a difference real? Intervals, tests, verdicts."""
