"""The fingerprint of a request: 32 characters that are equal for equal requests."""

from hashlib import blake2b
from typing import Any, Final

import msgspec

_SIZE: Final = 16
_DELIVERY: Final = "stream"

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder(order="deterministic").encode


def fingerprint(body: bytes) -> str:
    """Return the fingerprint of the JSON of a request.

    The order of members does not matter. ``stream`` is left out, because it changes only the
    delivery: ``submit`` and ``generate`` of one request have the same fingerprint.
    """
    members = _decode(body)
    members.pop(_DELIVERY, None)
    return blake2b(_encode(members), digest_size=_SIZE).hexdigest()
