"""The progress of one file."""

from collections.abc import Callable
from typing import TypeAlias

from msgspec import Struct


class TransferProgress(Struct, frozen=True, kw_only=True):
    """How far an upload or a download has come."""

    name: str
    """The name of the file."""
    done: int
    """The bytes that were transferred. It falls if the file has changed and is read again."""
    total: int | None
    """The size of the file in bytes, or ``None`` if it is not known."""


OnTransfer: TypeAlias = Callable[[TransferProgress], object]
"""Called in the event loop every few megabytes, and at the end."""
