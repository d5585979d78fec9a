"""Reads and writes msgspec's error texts. No other module depends on their English wording."""

import re
from typing import Final

from msgspec import Struct, ValidationError

_PATH: Final = re.compile(r" - at `\$\.?([^`]*)`$")
# Anchored: from each place of a long text, the search would take the square of its length.
_KEY_PATH: Final = re.compile(r"(?s)\A(.*) - at `key` in `(\$[^`]*)`$")
_MISSING: Final = re.compile(r"Object missing required field `([^`]*)`")
_UNKNOWN: Final = re.compile(r"Object contains unknown field `([^`]*)`")
_EXPECTED: Final = re.compile(r"Expected `([^`|]*?)(?: \|[^`]*)?`")


class Problem(Struct, frozen=True, kw_only=True):
    """What one ``msgspec.ValidationError`` says."""

    message: str
    """The text of msgspec without the path, such as "Expected `str`, got `int`"."""
    path: str
    """The path of the value, such as ``messages[0].role``; empty for the outermost value."""
    expected: str | None
    """The first expected type, if the value has another type."""
    missing: str | None
    """The name of the required member that is missing, if one is."""
    unknown: str | None
    """The name of the unknown member, if there is one that is forbidden."""

    @property
    def param(self) -> str:
        """The path of the wrong or missing member."""
        return ".".join(filter(None, (self.path, self.missing)))


def parse_error(error: ValidationError) -> Problem:
    """Return what ``error`` says. A text that is not msgspec's becomes the ``message``."""
    text = _KEY_PATH.sub(r"\1, as a member name - at `\2`", str(error))
    path = _PATH.search(text)
    message = _PATH.sub("", text)
    return Problem(
        message=message,
        path=path[1] if path else "",
        expected=_first_group(_EXPECTED, message),
        missing=_first_group(_MISSING, message),
        unknown=_first_group(_UNKNOWN, message),
    )


def _first_group(pattern: re.Pattern[str], message: str) -> str | None:
    found = pattern.match(message)
    return found[1] if found else None


def nested_error(error: ValidationError, place: str) -> ValidationError:
    """Return ``error`` with ``place``, such as ``.role`` or ``[0]``, in front of its path."""
    message, _, path = str(error).partition(" - at `$")
    return ValidationError(f"{message} - at `${place}{path or '`'}")


def wrong_type(expected: str, value: object) -> ValidationError:
    """Return the error for a value that is not of the ``expected`` type."""
    return ValidationError(f"Expected `{expected}`, got `{type(value).__name__}`")


def missing_member(name: str) -> ValidationError:
    """Return the error for an object without the required member ``name``."""
    return ValidationError(f"Object missing required field `{name}`")
