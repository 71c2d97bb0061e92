"""The report: its contents, its pictures and its page."""
