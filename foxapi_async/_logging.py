"""The package's logger ``foxapi_async``: silent until a program, or ``FOXAPI_LOG``, listens."""

import logging
from typing import TYPE_CHECKING, Final, TextIO

from foxapi_async.config import environment
from foxapi_async.errors import ConfigError

_LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO}

logging.getLogger("foxapi_async").addHandler(logging.NullHandler())

if TYPE_CHECKING:
    _Handler = logging.StreamHandler[TextIO]
else:
    _Handler = logging.StreamHandler


class StderrHandler(_Handler):
    """Writes the package's log to standard error."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))


def configure_from_env() -> None:
    """Write the log to standard error if ``FOXAPI_LOG`` is ``debug`` or ``info``; once.

    ``ConfigError`` for any other value. Who logs in their own way leaves the variable alone.
    """
    name = environment("FOXAPI_LOG")
    if name is None:
        return
    level = _LEVELS.get(name.lower())
    if level is None:
        raise ConfigError(f"FOXAPI_LOG must be debug or info, got {name[:40]!r}")
    logger = logging.getLogger("foxapi_async")
    logger.setLevel(level)
    if not any(isinstance(handler, StderrHandler) for handler in logger.handlers):
        logger.addHandler(StderrHandler())
