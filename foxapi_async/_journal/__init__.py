"""Where a session writes down what it submits, so that no paid task is lost with the process."""

from foxapi_async._journal.recorder import NullRecorder, Recorder

__all__ = ["NullRecorder", "Recorder"]
