"""Where a session writes down what it submits, so that no paid task is lost with the process."""

import asyncio
import os
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from foxapi_async._clock import Clock
from foxapi_async._journal.journal_url import JournalURL
from foxapi_async._journal.late import LateJournal
from foxapi_async._journal.protocol import InMemoryJournal, JournalBackend
from foxapi_async._journal.records import (
    FAILED,
    FINISHED,
    MEND,
    Entry,
    EntryId,
    FinalRecord,
    Intent,
    Stage,
)
from foxapi_async.errors import ConfigError

if TYPE_CHECKING:
    from foxapi_async._journal.journal import Journal

__all__ = [
    "FAILED",
    "FINISHED",
    "MEND",
    "Entry",
    "EntryId",
    "FinalRecord",
    "Intent",
    "JournalBackend",
    "Stage",
    "load_journal",
    "make_recorder",
]

_EXTRA: Final = ("aiosqlite", "sqlalchemy")
_MODULE: Final = f"{__name__}.journal"


def make_recorder(journal: str | os.PathLike[str] | None, clock: Clock) -> JournalBackend:
    """Return the recorder that ``FoxSession(journal=...)`` asks for; it opens no file yet.

    What a journal needs is loaded here, which takes its time, or in a thread if a loop is running.
    ``ConfigError`` for what names no file, and when the extra is missing.
    """
    if journal is None:
        return InMemoryJournal()
    location = JournalURL.parse(journal)
    if _is_in_a_loop() and _MODULE not in sys.modules:
        if any(find_spec(name) is None for name in _EXTRA):
            raise _missing()
        return LateJournal(location, clock, load_journal)
    return load_journal()(location, clock=clock)


def load_journal() -> "type[Journal]":
    """Load the journal in a file and return its class; ``ConfigError`` names the extra."""
    try:
        from foxapi_async._journal.journal import Journal
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        raise _missing() from None
    return Journal


def _is_in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _missing() -> ConfigError:
    return ConfigError("journal=... needs an extra: python -m pip install 'foxapi-async[journal]'")
