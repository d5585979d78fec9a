"""The logger ``foxapi_async``: silent until the program or ``FOXAPI_LOG`` configures it."""

import logging
from typing import TYPE_CHECKING, Final, TextIO

from foxapi_async._environment import environment
from foxapi_async.errors import ConfigError

_LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO}

logging.getLogger("foxapi_async").addHandler(logging.NullHandler())

if TYPE_CHECKING:
    _Handler = logging.StreamHandler[TextIO]
else:
    _Handler = logging.StreamHandler


class StderrHandler(_Handler):
    """Writes the log of the package to standard error."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))


def configure_from_env() -> None:
    """Add a handler for standard error if ``FOXAPI_LOG`` is ``debug`` or ``info``.

    Further calls add no second handler.

    Raises:
        ConfigError: ``FOXAPI_LOG`` has another value.
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
