"""Where a session writes down what it submits, so that no paid task is lost with the process."""

import os
from typing import TYPE_CHECKING

from foxapi_async._clock import Clock
from foxapi_async._journal.entry import FINISHED, MEND, Ending, Entry, Intent, Note, Stage
from foxapi_async._journal.location import Location
from foxapi_async._journal.recorder import MemoryRecorder, Recorder
from foxapi_async.errors import ConfigError

if TYPE_CHECKING:
    from foxapi_async._journal.journal import Journal

__all__ = [
    "FINISHED",
    "MEND",
    "Ending",
    "Entry",
    "Intent",
    "Note",
    "Recorder",
    "Stage",
    "make_journal",
    "make_recorder",
]

_EXTRA = frozenset({"aiosqlite", "sqlalchemy"})


def make_recorder(journal: str | os.PathLike[str] | None, clock: Clock) -> Recorder:
    """Return the recorder that ``FoxSession(journal=...)`` asks for; it opens no file yet."""
    return MemoryRecorder() if journal is None else make_journal(journal, clock)


def make_journal(
    journal: str | os.PathLike[str], clock: Clock, *, create: bool = True
) -> "Journal":
    """Return a journal that is still closed; ``ConfigError`` names the extra that it needs."""
    location = Location.parse(journal)
    try:
        from foxapi_async._journal.journal import Journal
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        raise ConfigError(
            "journal=... needs an extra: python -m pip install 'foxapi-async[journal]'"
        ) from None
    return Journal(location, clock=clock, create=create)
