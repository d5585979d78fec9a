"""Reads the streams of tasks."""
