"""Where a session writes down what it submits, so that no paid task is lost with the process."""

import os

from foxapi_async._clock import Clock
from foxapi_async._journal.entry import FINISHED, Ending, Entry, Intent, Note, Stage
from foxapi_async._journal.location import Location
from foxapi_async._journal.recorder import MemoryRecorder, Recorder
from foxapi_async.errors import ConfigError

__all__ = [
    "FINISHED",
    "Ending",
    "Entry",
    "Intent",
    "Note",
    "Recorder",
    "Stage",
    "make_recorder",
]

_EXTRA = frozenset({"aiosqlite", "sqlalchemy"})


def make_recorder(journal: str | os.PathLike[str] | None, clock: Clock) -> Recorder:
    """Return the recorder that ``FoxSession(journal=...)`` asks for; it opens no file yet."""
    if journal is None:
        return MemoryRecorder()
    location = Location.parse(journal)
    try:
        from foxapi_async._journal.journal import Journal
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        raise ConfigError(
            "journal=... needs an extra: python -m pip install 'foxapi-async[journal]'"
        ) from None
    return Journal(location, clock=clock)
