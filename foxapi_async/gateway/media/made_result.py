"""What a media task makes, before it is stored."""

from typing import Any

from msgspec import Struct


class MadeFile(Struct, frozen=True, kw_only=True):
    """A file whose link is a member of a result."""

    member: str
    """The member of the result, ``url`` for most."""
    name: str
    """The file name."""
    content_type: str
    """The media type."""
    data: bytes
    """The bytes."""


class MadeResult(Struct, frozen=True, kw_only=True):
    """One element of ``results``."""

    members: dict[str, Any]
    """Its members, without links."""
    file: MadeFile | None = None
    """The file that it has a link to."""
