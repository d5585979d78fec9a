"""Where a journal is: a path or a URL, as the user writes it."""

import os
from typing import Final, Literal, Self
from urllib.parse import parse_qsl

from msgspec import Struct

from foxapi_async.errors import ConfigError

# The second is how SQLAlchemy names the same file for an asynchronous engine.
_SCHEMES: Final = ("sqlite", "sqlite+aiosqlite")
_SYNCHRONOUS: Final = ("normal", "full")

Synchronous = Literal["normal", "full"]


class JournalURL(Struct, frozen=True):
    """The file of a journal, and how hard it is written.

    ``normal`` outlives a killed process, ``full`` a power cut as well, for one disk flush a commit.
    """

    path: str
    synchronous: Synchronous = "normal"

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.path

    @classmethod
    def parse(cls, journal: str | os.PathLike[str]) -> Self:
        """Read ``tasks.db``, ``tasks.db?synchronous=full`` or ``sqlite:///tasks.db``.

        A ``Path`` is taken as it is. ``ConfigError`` names what is wrong.
        """
        if isinstance(journal, os.PathLike):
            path = os.fspath(journal)
            if not isinstance(path, str):  # pyright: ignore[reportUnnecessaryIsInstance] bytes exist
                raise _refused("must be text, not bytes")
            return cls(_checked_path(path))
        if not isinstance(journal, str):  # pyright: ignore[reportUnnecessaryIsInstance] the caller's word
            raise _refused(f"must be a path or a URL, got {type(journal).__name__}")
        path, _, query = journal.partition("?")
        return cls(_checked_path(_without_scheme(path)), _synchronous(query))


def _without_scheme(path: str) -> str:
    scheme, separator, rest = path.partition("://")
    if not separator:
        return path
    if scheme not in _SCHEMES:
        raise _refused(
            "must be an SQLite file, as in sqlite:///tasks.db, or a database of a PostgreSQL "
            f"server, as in postgresql://user@host/database; got {scheme[:40]}://"
        )
    host, slash, path = rest.partition("/")
    if host or not slash:
        raise _refused("must be an SQLite URL without a host: sqlite:///tasks.db")
    return path


def _checked_path(path: str) -> str:
    if path in {"", ":memory:"}:
        raise _refused("needs a file: what is kept in memory is lost with the process")
    if "\0" in path or path.startswith("file:"):
        raise _refused("must be a plain path, as in tasks.db, or sqlite:///tasks.db")
    return path


def _synchronous(query: str) -> Synchronous:
    value: Synchronous = "normal"
    for name, text in parse_qsl(query, keep_blank_values=True):
        if name != "synchronous":
            raise _refused(f"takes ?synchronous=normal or full and no other option, got {name!r}")
        if text == "full":
            value = "full"
        elif text != "normal":
            raise _refused(f"takes ?synchronous=normal or full, got {text!r}")
    return value


def _refused(why: str) -> ConfigError:
    return ConfigError(f"journal=... {why}")
