"""How deeply a JSON body may be nested and how many values it may have."""

import re
from typing import Final

from foxapi_async.gateway.api_errors import APIError

MOST_LEVELS: Final = 128
"""Arrays and objects inside each other. Writing JSON takes the stack of Python for each level."""
MOST_VALUES: Final = 100_000
"""A value of three bytes takes a hundred in memory."""

# An open string runs to the end, so that each byte is looked at once.
_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[{,]|[\]}]', re.DOTALL)


def check_bounds(body: bytes) -> None:
    """Refuse a body with 400 that is nested too deeply or has too many values.

    Whether it is JSON at all is for the decoder to say. Text in strings does not count.
    """
    levels = body.count(b"[") + body.count(b"{")
    if levels <= MOST_LEVELS and levels + body.count(b",") <= MOST_VALUES:
        return
    depth = values = 0
    for token in _TOKEN.finditer(body):
        sign = body[token.start()]
        if sign in b"[{":
            depth += 1
            values += 1
        elif sign in b"]}":
            depth -= 1
        elif sign in b",":
            values += 1
        if depth > MOST_LEVELS:
            raise APIError(400, f"the body is nested more than {MOST_LEVELS} levels deep")
        if values > MOST_VALUES:
            raise APIError(400, f"the body has more than {MOST_VALUES} values")
