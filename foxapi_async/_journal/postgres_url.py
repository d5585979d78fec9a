"""A PostgreSQL server as the place of a journal, as the user writes it."""

from typing import Final, Self
from urllib.parse import unquote

from msgspec import Struct

from foxapi_async.errors import ConfigError

# The last is how SQLAlchemy names the same driver.
SCHEMES: Final = ("postgresql", "postgres", "postgresql+psycopg")
_EXAMPLE: Final = "postgresql://user@host/database"


class PostgresURL(Struct, frozen=True, repr_omit_defaults=True):
    """A database of a server. Its ``repr`` and ``name`` do not have the password."""

    name: str
    """The URL without password and options, for messages."""
    url: str = ""
    """The URL for the driver, password included."""
    password: str = ""

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read a URL; ``ConfigError`` says what is wrong and quotes nothing of it.

        Only what decides where the password ends is read here: the driver reads the rest.
        """
        _, _, rest = url.partition("://")
        place, _, query = rest.partition("?")
        place, slash, database = place.partition("/")
        login, at, hosts = place.rpartition("@")
        user, _, password = login.partition(":")
        if "@" in login or "@" in database or "@" in query or "/" in database or "\0" in url:
            raise _refused(
                "must have %40 for @, %2F for / and %3F for ? in the user, password and options"
            )
        if not all(map(_is_host, hosts.split(","))):
            raise _refused("must have a port of digits after each host, and %2F and %3F in a word")
        options = dict(_option(text) for text in query.split("&") if text)
        secret = password or options.get("password", "")
        shown = f"{user}:***{at}" if password else f"{user}{at}"
        return cls(
            f"postgresql://{shown}{hosts}{slash}{database}",
            f"postgresql://{rest}",
            unquote(secret),
        )

    def __repr__(self) -> str:
        """Return the URL without the password."""
        return f"PostgresURL({self.name!r})"


def _is_host(text: str) -> bool:
    host, colon, port = text.rpartition(":")
    if text.endswith("]") or not colon:
        return True
    is_bare = ":" not in host or host.startswith("[")
    return is_bare and (not port or (port.isascii() and port.isdecimal()))


def _option(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.replace("_", "").isalnum():
        raise _refused("must have options of the form name=value after the question mark")
    return name, value


def _refused(why: str) -> ConfigError:
    return ConfigError(f"journal=... {why}, as in {_EXAMPLE}")
