"""The write-ahead record of submissions, so that no paid task is lost with the process."""

import os
from importlib.util import find_spec

from foxapi_async._clock import Clock
from foxapi_async._journal.entry_cost import read_cost
from foxapi_async._journal.journal import Journal
from foxapi_async._journal.journal_url import JournalURL
from foxapi_async._journal.journal_writer import JournalWriter
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

__all__ = [
    "FAILED",
    "FINISHED",
    "MEND",
    "Entry",
    "EntryId",
    "FinalRecord",
    "Intent",
    "Journal",
    "JournalBackend",
    "Stage",
    "check_extra",
    "make_journal",
    "read_cost",
]


def make_journal(journal: str | os.PathLike[str] | None, clock: Clock) -> JournalBackend:
    """Return the journal for ``FoxSession(journal=...)``; it opens no file yet.

    ``ConfigError`` if the setting names no file, or the extra is missing.
    """
    if journal is None:
        return InMemoryJournal()
    location = JournalURL.parse(journal)
    check_extra()
    return JournalWriter(location, clock=clock)


def check_extra() -> None:
    """Raise ``ConfigError`` if SQLAlchemy is not installed."""
    if find_spec("sqlalchemy") is None:
        raise ConfigError(
            "journal=... needs an extra: python -m pip install 'foxapi-async[journal]'"
        )
