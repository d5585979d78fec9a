"""One thing that is wrong with a request, in the service's own words."""

from typing import Literal

from msgspec import Struct


class Violation(Struct, frozen=True, kw_only=True):
    """One thing that is wrong with a request."""

    code: str
    """The code of the service, such as ``invalid_param``."""
    param: str
    """The path of the member, such as ``messages[0].content``."""
    message: str
    """What is wrong, and what to write."""
    level: Literal["error", "warning"] = "error"
    """``"error"``, or ``"warning"`` for a likely mistake that the service would accept and bill."""
