"""The report: what it says, its pictures and its page."""
