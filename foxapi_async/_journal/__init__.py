"""The write-ahead record of submissions, so that no paid task is lost with the process."""

import os

from foxapi_async._clock import Clock
from foxapi_async._journal.backends import check_extra, parse_location
from foxapi_async._journal.entry_usage import EntryUsage
from foxapi_async._journal.in_memory import InMemoryJournal
from foxapi_async._journal.journal import Journal
from foxapi_async._journal.journal_writer import JournalWriter
from foxapi_async._journal.position import FinishedEntry
from foxapi_async._journal.protocol import JournalBackend
from foxapi_async._journal.records import (
    FAILED,
    FINISHED,
    MEND,
    ContentMark,
    Entry,
    EntryId,
    FinalRecord,
    Intent,
    Reservation,
    Stage,
    StoredUpload,
)

__all__ = [
    "FAILED",
    "FINISHED",
    "MEND",
    "ContentMark",
    "Entry",
    "EntryId",
    "EntryUsage",
    "FinalRecord",
    "FinishedEntry",
    "Intent",
    "Journal",
    "JournalBackend",
    "Reservation",
    "Stage",
    "StoredUpload",
    "check_extra",
    "make_journal",
    "parse_location",
]


def make_journal(journal: str | os.PathLike[str] | None, clock: Clock) -> JournalBackend:
    """Return the journal for ``FoxSession(journal=...)``; it opens nothing yet.

    ``ConfigError`` if the setting names no file and no database, or an extra is missing.
    """
    if journal is None:
        return InMemoryJournal()
    location = parse_location(journal)
    check_extra(location)
    return JournalWriter(location, clock=clock)
