"""A violation of the rules for requests, with the codes of the service."""

from typing import Literal

from msgspec import Struct


class Violation(Struct, frozen=True, kw_only=True):
    """One violation of the rules for requests."""

    code: str
    """The code of the service, such as ``invalid_param``."""
    param: str
    """The path of the member, such as ``messages[0].content``."""
    message: str
    """What is wrong, and what to write instead."""
    level: Literal["error", "warning"] = "error"
    """``"error"``, or ``"warning"`` for a likely mistake that the service accepts and bills."""
