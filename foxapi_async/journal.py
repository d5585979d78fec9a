"""Reading and pruning a journal: which submissions there were, and how they ended.

A session writes its journal by itself, see ``FoxSession(journal=...)``. Use this module to read a
journal with or without a session. It needs the extra ``journal``.
"""

import os
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from foxapi_async._journal import (
    Entry,
    EntryId,
    EntryUsage,
    FinishedEntry,
    Journal,
    Stage,
    check_extra,
    parse_location,
)
from foxapi_async._journal.backends import AnyURL

__all__ = ["Entry", "EntryId", "EntryUsage", "FinishedEntry", "Journal", "Stage", "open_journal"]


def open_journal(file: str | os.PathLike[str]) -> AbstractAsyncContextManager[Journal]:
    """Return a context that opens the journal ``file`` on entering and closes it on leaving.

    Args:
        file: A path or a URL, as ``FoxSession(journal=...)`` takes them.

    Raises:
        JournalError: On entering, for a file that is not there or is no journal.
        ConfigError: The value names no file; or, on entering, the extra is missing.
    """
    return _opened(parse_location(file))


@asynccontextmanager
async def _opened(location: AnyURL) -> AsyncGenerator[Journal, None]:
    check_extra(location)
    journal = Journal(location, create=False)
    try:
        await journal.open()
        yield journal
    finally:
        await journal.aclose()
