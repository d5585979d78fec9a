"""One stored file and its link."""

import re
from typing import Final, Literal
from urllib.parse import quote, urlsplit

from msgspec import Struct

FILES: Final = "/files/"
"""What the paths of all links begin with."""

FileOrigin = Literal["upload", "result"]
"""Where a file comes from: a client, or a task."""

UPLOAD_LIFETIME: Final = 72 * 3600.0
"""How long the link of an upload is valid, in seconds (contract §11)."""

RESULT_LIFETIME: Final = 24 * 3600.0
"""How long the link of a result is valid, in seconds (contract §9)."""
SUNO_LIFETIME: Final = 72 * 3600.0
"""How long the link of a result of Suno is valid, in seconds (contract §9)."""

_LINK: Final = re.compile(r"/files/(?P<token>[0-9]{1,12}-[A-Za-z0-9_-]{16,64})/[^/?#]+")


class StoredFile(Struct, frozen=True, kw_only=True):
    """What is known of a file besides its bytes."""

    token: str
    """The secret part of the link. It begins with the Unix seconds at which the link expires."""
    id: str
    """The id that the service shows: ``file-`` and the time."""
    owner: str
    """The owner of the key that uploaded it, or that has its task."""
    origin: FileOrigin
    """Where it comes from."""
    name: str
    """The file name, safe on every file system."""
    content_type: str
    """The media type that the link answers with."""
    size: int
    """The number of bytes."""
    created: float
    """When it was stored, in Unix seconds."""
    expires: float
    """When the link stops to work, in Unix seconds."""

    @property
    def path(self) -> str:
        """The path of the link."""
        return f"/files/{self.token}/{quote(self.name, safe='')}"


def token_of(path: str) -> str | None:
    """Return the token in the path of a link; ``None`` for any other path."""
    found = _LINK.fullmatch(path)
    return found["token"] if found is not None else None


def token_of_url(url: str) -> str | None:
    """Return the token in a URL whose path is that of a link; ``None`` for any other URL."""
    try:
        return token_of(urlsplit(url).path)
    except ValueError:
        return None


def has_expired(token: str, now: float) -> bool:
    """Tell by its token alone whether a link has expired: its file may be forgotten."""
    return int(token.partition("-")[0]) <= now
