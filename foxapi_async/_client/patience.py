"""How long somebody is ready to wait."""

from typing import Final

from msgspec import UNSET, UnsetType

from foxapi_async.config import is_number
from foxapi_async.errors import ConfigError

_NO_TIMEOUT: Final = 1e9  # thirty years: no clock need be set for what is longer


def validate_timeout(timeout: float | None | UnsetType) -> None:
    """Refuse what no wait can last: before the generation is paid for that is to be awaited."""
    # A comparison with NaN is false, as the one with a negative number is.
    if timeout is not None and timeout is not UNSET and not (is_number(timeout) and timeout >= 0):
        raise ConfigError(f"timeout= must be seconds of at least 0 or None, got {timeout!r}")


def validate_reading_timeout(timeout: float | None) -> None:
    """Refuse a ``timeout=`` of a stream that is neither ``None`` nor seconds above 0."""
    if timeout is not None and not (is_number(timeout) and timeout > 0):
        raise ConfigError(f"stream(timeout=) must be seconds above 0 or None, got {timeout!r}")


def normalize_timeout(seconds: float | None) -> float | None:
    """Return ``None``, which is for ever, in the place of what is beyond all clocks."""
    return None if seconds is None or seconds > _NO_TIMEOUT else seconds
