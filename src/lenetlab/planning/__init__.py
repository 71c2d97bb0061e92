"""What a study can find, how long it takes, and adding seeds."""
