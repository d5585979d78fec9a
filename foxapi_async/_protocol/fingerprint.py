"""What a request asks for, in 32 characters: two that ask the same have the same fingerprint."""

from hashlib import blake2b
from typing import Any, Final

import msgspec

_SIZE: Final = 16
_DELIVERY: Final = "stream"

_read = msgspec.json.Decoder(dict[str, Any]).decode
_write = msgspec.json.Encoder(order="deterministic").encode


def fingerprint(body: bytes) -> str:
    """Return the fingerprint of a request's JSON.

    The order of members does not matter. Nor does ``stream``: it says how the answer is delivered
    and not what is asked, so ``submit`` and ``generate`` of one question have one fingerprint.
    """
    members = _read(body)
    members.pop(_DELIVERY, None)
    return blake2b(_write(members), digest_size=_SIZE).hexdigest()
