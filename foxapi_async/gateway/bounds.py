"""Limits on the nesting and the size of a JSON body."""

import re
from typing import Final

from foxapi_async.gateway.api_errors import APIError

MAX_DEPTH: Final = 128
"""Arrays and objects inside each other. The JSON encoder uses C stack for each level."""
MAX_VALUES: Final = 100_000
"""A value of three bytes takes about a hundred bytes in memory."""

# An unterminated string matches to the end of the body, so the scan is linear.
_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[{,]|[\]}]', re.DOTALL)


def check_bounds(body: bytes) -> None:
    """Raise a 400 for a body that is nested too deeply or has too many values.

    The body may be invalid JSON; the decoder finds that. Brackets and commas inside strings do not
    count.
    """
    levels = body.count(b"[") + body.count(b"{")
    if levels <= MAX_DEPTH and levels + body.count(b",") <= MAX_VALUES:
        return
    depth = values = 0
    for token in _TOKEN.finditer(body):
        character = body[token.start()]
        if character in b"[{":
            depth += 1
            values += 1
        elif character in b"]}":
            depth -= 1
        elif character in b",":
            values += 1
        if depth > MAX_DEPTH:
            raise APIError(400, f"the body is nested more than {MAX_DEPTH} levels deep")
        if values > MAX_VALUES:
            raise APIError(400, f"the body has more than {MAX_VALUES} values")
