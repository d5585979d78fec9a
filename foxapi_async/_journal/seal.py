"""The checksums of a row, which show whether the disk has damaged it.

A checksum is the XOR of a checksum of each member. So an update needs only the old and the new
value of each member that it changes, and damage to other members still shows.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final
from zlib import crc32

RESEAL: Final = "foxapi_reseal"
"""The name of ``reseal`` in SQL."""

CONTENTS: Final = ("body", "task", "streamed_completion")
"""The members that may be large. They have a checksum of their own, because lists omit them."""

SEALS: Final = ("seal", "content_seal")


def sealed(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with the checksums of its members."""
    members = {name: value for name, value in row.items() if name not in SEALS}
    return members | dict(zip(SEALS, _seals(members), strict=True))


def is_whole(row: Mapping[str, Any]) -> bool:
    """Tell whether the checksums of a row match; without its contents, whether the first does."""
    seal, content_seal = _seals(row)
    if row["seal"] != seal:
        return False
    return not row.keys() >= {*CONTENTS} or row["content_seal"] == content_seal


def reseal(seal: object, *changes: Any) -> int | None:
    """Return a checksum after ``changes``: name, old value and new value of each member.

    SQLite calls this in the middle of a write, so it never raises.
    """
    if not isinstance(seal, int):
        return None
    for name, old, new in zip(changes[::3], changes[1::3], changes[2::3], strict=True):
        if old != new:
            seal ^= _sum(name, old) ^ _sum(name, new)
    return seal


def _seals(row: Mapping[str, Any]) -> tuple[int, int]:
    short = large = 0
    for name, value in row.items():
        if name in CONTENTS:
            large ^= _sum(name, value)
        elif name not in SEALS:
            short ^= _sum(name, value)
    return short, large


def _sum(name: str, value: object) -> int:
    if value is None:
        return 0
    if isinstance(value, int | float):
        # SQLite stores a truth as a number, and a whole number in a column of floats as a float.
        value = repr(float(value))
    data = value.encode(errors="surrogatepass") if isinstance(value, str) else value
    return crc32(data if isinstance(data, bytes) else b"?", _name_sum(name))


@cache
def _name_sum(name: str) -> int:
    return crc32(name.encode())
