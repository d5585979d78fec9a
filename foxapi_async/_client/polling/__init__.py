"""Polls tasks, one timer for a session."""
