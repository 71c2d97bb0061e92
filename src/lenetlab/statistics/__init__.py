"""Is a difference real? Intervals, tests, verdicts and answers to published statements."""
