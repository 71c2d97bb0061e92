"""Files and folders on disk, and where they come from."""
