"""A set of texts that takes little memory."""

from array import array
from hashlib import blake2b
from secrets import token_bytes
from typing import Final

_SHARDS: Final = 256
_FIRST_SLOTS: Final = 16
_DIGEST_BYTES: Final = 8


class DigestSet:
    """Remembers texts in 11 to 22 bytes each, and cannot list them.

    It keeps 64 bits of a keyed hash: among a million texts, one that was never added counts as
    known with a probability of 1 in 10 million million. Each of many small tables grows on its own,
    so no call takes long.
    """

    def __init__(self) -> None:
        self._secret = token_bytes(16)
        self._tables = [_table(_FIRST_SLOTS) for _ in range(_SHARDS)]
        self._counts = [0] * _SHARDS

    def __len__(self) -> int:
        return sum(self._counts)

    def __contains__(self, text: str) -> bool:
        digest = self._digest(text)
        table = self._tables[digest % _SHARDS]
        return table[_slot(table, digest)] == digest

    def add(self, text: str) -> None:
        """Add a text; one that is known changes nothing."""
        digest = self._digest(text)
        shard = digest % _SHARDS
        table = self._tables[shard]
        slot = _slot(table, digest)
        if table[slot] == digest:
            return
        table[slot] = digest
        self._counts[shard] += 1
        if 4 * self._counts[shard] > 3 * len(table):
            grown = _table(2 * len(table))
            for known in table:
                if known:
                    grown[_slot(grown, known)] = known
            self._tables[shard] = grown

    def _digest(self, text: str) -> int:
        data = text.encode("utf-8", "surrogatepass")
        digest = blake2b(data, digest_size=_DIGEST_BYTES, key=self._secret).digest()
        return int.from_bytes(digest) or 1  # 0 is an empty slot


def _table(slots: int) -> "array[int]":
    return array("Q", bytes(slots * _DIGEST_BYTES))


def _slot(table: "array[int]", digest: int) -> int:
    """Return the slot of a digest, or the empty one where it belongs."""
    size = len(table)
    slot = digest // _SHARDS % size
    while table[slot] not in {0, digest}:
        slot = (slot + 1) % size
    return slot
