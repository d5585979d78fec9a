"""The fingerprint of a request: 32 characters that are equal for equal requests."""

from hashlib import blake2b
from typing import Any, Final

import msgspec

from foxapi_async._wire.paths import SUBMIT_LLM

_SIZE: Final = 16
_DELIVERY: Final = "stream"

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder(order="deterministic").encode


def fingerprint(body: bytes, path: str = SUBMIT_LLM) -> str:
    """Return the fingerprint of the JSON of a request and of the path to which it is sent.

    The order of members does not matter. ``stream`` of a language model is left out, because it
    changes only the delivery: ``submit`` and ``generate`` of one request have the same fingerprint.
    """
    members = _decode(body)
    digest = blake2b(digest_size=_SIZE)
    if path == SUBMIT_LLM:
        members.pop(_DELIVERY, None)
    else:
        digest.update(f"{path}\n".encode())
    digest.update(_encode(members))
    return digest.hexdigest()
