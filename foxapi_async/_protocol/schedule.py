"""When things are due, in buckets of 10 ms, so that any number of them needs one timer."""

import heapq
from math import ceil
from typing import Generic, Protocol, TypeVar

TICK = 0.01
_STALE_KEYS = 1024


class Slotted(Protocol):
    """Something that can be due; ``slot`` is its bucket, ``None`` while it is not scheduled."""

    slot: int | None


T = TypeVar("T", bound=Slotted)


class Schedule(Generic[T]):
    """Holds items until they are due.

    Adding and removing are O(1) but for the first item of a bucket, which costs a heap operation.
    An item comes out never before its time and at most one tick after it.
    """

    __slots__ = ("_buckets", "_keys", "_live")

    def __init__(self) -> None:
        self._buckets: dict[int, dict[T, None]] = {}
        self._keys: list[int] = []
        self._live = 0

    def __len__(self) -> int:
        return self._live

    def add(self, item: T, due: float) -> None:
        """Schedule ``item`` for ``due``, wherever it was before."""
        self.discard(item)
        key = ceil(due / TICK)
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = {}
            heapq.heappush(self._keys, key)
        bucket[item] = None
        item.slot = key
        self._live += 1

    def discard(self, item: T) -> None:
        """Take ``item`` out if it is scheduled."""
        if item.slot is None:
            return
        del self._buckets[item.slot][item]
        item.slot = None
        self._live -= 1
        # An emptied bucket stays until its time comes; many of them are dropped together.
        if len(self._keys) > 2 * self._live + _STALE_KEYS:
            self._buckets = {key: bucket for key, bucket in self._buckets.items() if bucket}
            self._keys = sorted(self._buckets)

    def next_due(self) -> float | None:
        """Return when the next item is due."""
        while self._keys and not self._buckets[self._keys[0]]:
            del self._buckets[heapq.heappop(self._keys)]
        return self._keys[0] * TICK if self._keys else None

    def pop_due(self, now: float) -> list[T]:
        """Take out what is due at ``now``, earliest first."""
        # A timer for a bucket's instant may fire a rounding error early.
        last = int(now / TICK + 1e-6)
        items: list[T] = []
        while self._keys and self._keys[0] <= last:
            items.extend(self._buckets.pop(heapq.heappop(self._keys)))
        for item in items:
            item.slot = None
        self._live -= len(items)
        return items
