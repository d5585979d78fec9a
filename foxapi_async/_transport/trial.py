"""Whether the aiohttp at hand is made inside as what goes past its API expects."""

import logging
from collections.abc import Callable

import aiohttp

_log = logging.getLogger("foxapi_async")


def is_made_so(what: str, tried: Callable[[], object], expected: object) -> bool:
    """Tell whether trying ``what`` brings what is expected: no name inside is sure to stay."""
    try:
        seen = tried()
    except Exception as surprise:  # noqa: BLE001 whatever is missing, there is another way
        seen = surprise
    if seen != expected:
        _log.debug("no %s over aiohttp %s: %r", what, aiohttp.__version__, seen)
    return seen == expected
