"""One thing that is wrong with a request, in the service's own words."""

from msgspec import Struct


class Violation(Struct, frozen=True, kw_only=True):
    """What a request breaks: the service's ``code``, the ``param`` it concerns and a sentence."""

    code: str
    param: str
    message: str
