"""Batches: rows of a file to answers in a file, over the public session API."""
