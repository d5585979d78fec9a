"""Moves files: links to disk, and files to the service, with few bytes of them in memory."""
