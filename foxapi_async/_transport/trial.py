"""Whether the aiohttp at hand is made inside as what goes past its API expects."""

import logging
from collections.abc import Callable
from functools import cache

import aiohttp

_log = logging.getLogger("foxapi_async")


def probe(what: str, tried: Callable[[], object], expected: object) -> bool:
    """Tell whether trying ``what`` brings what is expected: no name inside is sure to stay."""
    try:
        seen = tried()
    except Exception as surprise:  # noqa: BLE001 whatever is missing, there is another way
        seen = surprise
    if seen != expected:
        warn(what, seen)
    return seen == expected


@cache
def _warn_once(what: str) -> None:
    _log.warning(
        "aiohttp %s is made otherwise inside than this version of foxapi-async knows: "
        "the %s is not used, which costs time and nothing else",
        aiohttp.__version__,
        what,
    )


def warn(what: str, why: object) -> None:
    """Say once that ``what`` is not used, and each time, to those who debug, why."""
    _warn_once(what)
    _log.debug("no %s over aiohttp %s: %r", what, aiohttp.__version__, why)
