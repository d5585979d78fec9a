"""One thing that is wrong with a request, in the service's own words."""

from typing import Literal

from msgspec import Struct


class Violation(Struct, frozen=True, kw_only=True):
    """What a request breaks: the service's ``code``, the ``param`` it concerns and a sentence.

    A ``"warning"`` is a likely mistake that the service would accept, and bill.
    """

    code: str
    param: str
    message: str
    level: Literal["error", "warning"] = "error"
