"""The kinds of databases that hold a journal: an SQLite file, or one of a PostgreSQL server."""

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING

from foxapi_async._journal.journal_url import JournalURL
from foxapi_async._journal.postgres_url import SCHEMES, PostgresURL
from foxapi_async.errors import ConfigError

if TYPE_CHECKING:
    from foxapi_async._journal.tables import JournalTables

AnyURL = JournalURL | PostgresURL
"""Where a journal is."""


def parse_location(journal: str | os.PathLike[str]) -> AnyURL:
    """Read a path or a URL. ``ConfigError`` names what is wrong."""
    if isinstance(journal, str) and journal.partition("://")[0] in SCHEMES:
        return PostgresURL.parse(journal)
    return JournalURL.parse(journal)


def check_extra(location: AnyURL) -> None:
    """Raise ``ConfigError`` if a package that the journal needs is not installed."""
    if isinstance(location, PostgresURL):
        _need("postgres", "sqlalchemy", "psycopg")
    else:
        _need("journal", "sqlalchemy")


def _need(extra: str, *packages: str) -> None:
    if not all(map(find_spec, packages)):
        raise ConfigError(
            f"journal=... needs an extra: python -m pip install 'foxapi-async[{extra}]'"
        )


def open_tables(location: AnyURL, *, create: bool) -> "JournalTables":
    """Open a journal and bring its tables up to date; ``JournalError`` says why it cannot."""
    # In the thread of the database, because SQLAlchemy takes its time to load.
    if isinstance(location, PostgresURL):
        from foxapi_async._journal.postgres_tables import PostgresTables

        return PostgresTables.open(location, create=create)
    from foxapi_async._journal.sqlite_tables import SQLiteTables

    return SQLiteTables.open(location, create=create)


def open_reader(location: AnyURL, *, is_checked: bool) -> "JournalTables":
    """Open a journal, whose tables are up to date, for reading only.

    ``is_checked`` says that the file was searched for damage.
    """
    if isinstance(location, PostgresURL):
        from foxapi_async._journal.postgres_tables import PostgresTables

        return PostgresTables.open_reader(location)
    from foxapi_async._journal.sqlite_tables import SQLiteTables

    return SQLiteTables.open_reader(location, is_checked=is_checked)
