"""Suggests the known name that is most like a misspelt one."""

from collections.abc import Iterable
from typing import Final

_LONGEST: Final = 100


def closest(name: str, known: Iterable[str], *, similarity: float = 0.6) -> str | None:
    """Return the known name that is most like ``name``; ``None`` if all are less like it.

    Args:
        name: The misspelt name.
        known: The known names.
        similarity: How alike two names must be, from 0 to 1.

    Returns:
        One of ``known``, or ``None``.
    """
    # Imported here, because only an error needs it.
    from difflib import get_close_matches

    # The time grows with the square of the length, and the name comes from anywhere.
    found = get_close_matches(name[:_LONGEST], list(known), n=1, cutoff=similarity)
    return found[0] if found else None


def suggestion(similar: str | None, otherwise: str) -> str:
    """Return "did you mean ...?" for a similar name, or ``otherwise`` if there is none."""
    return f"did you mean {similar!r}?" if similar else otherwise
