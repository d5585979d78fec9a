"""When things are due, in buckets of 10 ms, so that any number of them needs one timer."""

import heapq
from math import ceil
from typing import Any, Generic, Protocol, TypeVar

TICK = 0.01
# So long at most may others go first because their deadlines are nearer.
MAX_LEAD = 30.0
_STALE = 1024
_ROUNDING = 1e-6


class Schedulable(Protocol):
    """Something that can be due; ``bucket`` is its bucket, ``None`` while it is not scheduled."""

    bucket: list[Any] | None


T = TypeVar("T", bound=Schedulable)


def next_tick(instant: float) -> float:
    """Return when the tick that ``instant`` falls into is over: what is due in it goes together."""
    return (int(instant / TICK + _ROUNDING) + 1) * TICK


def priority(now: float, deadline: float | None) -> float:
    """Return the rank of what is ready at ``now`` among all that is: the nearest deadline first.

    Whoever has no deadline, or a far one, ranks as if it were ``MAX_LEAD`` away. So nothing
    that becomes ready later than that goes before him, and nobody starves.
    """
    latest = now + MAX_LEAD
    return latest if deadline is None else min(deadline, latest)


class BucketQueue(Generic[T]):
    """Holds items until they are due. An item is in one schedule at a time.

    Adding and removing are O(1) but for the first item of a bucket, which costs a heap operation.
    An item comes out never before its time and at most one tick after it.
    """

    __slots__ = ("_buckets", "_keys", "_live", "_stale")

    def __init__(self) -> None:
        # An item is live in the bucket that is its slot. Any other mention of it is stale: removing
        # would mean searching, or a dictionary for each bucket.
        self._buckets: dict[int, list[T]] = {}
        self._keys: list[int] = []
        self._live = 0
        self._stale = 0

    def __len__(self) -> int:
        return self._live

    def add(self, item: T, due: float) -> float:
        """Schedule ``item`` for ``due``, wherever it was in this schedule before.

        Returns the instant at which it comes out: ``due`` by whole ticks.
        """
        if item.bucket is not None:
            self.discard(item)
        key = ceil(due / TICK)
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = [item]
            heapq.heappush(self._keys, key)
        else:
            bucket.append(item)
        item.bucket = bucket
        self._live += 1
        return key * TICK

    def discard(self, item: T) -> None:
        """Take ``item`` out if it is scheduled."""
        if item.bucket is None:
            return
        item.bucket = None
        self._live -= 1
        self._stale += 1
        if self._stale > self._live + _STALE:
            self._prune()

    def next_due(self) -> float | None:
        """Return when the next item is due."""
        bucket = self._first()
        return None if bucket is None else self._keys[0] * TICK

    def pop_due(self, now: float) -> list[T]:
        """Take out what is due at ``now``, earliest first."""
        # A timer for a bucket's instant may fire a rounding error early.
        last = int(now / TICK + _ROUNDING)
        items: list[T] = []
        while self._keys and self._keys[0] <= last:
            bucket = self._buckets.pop(heapq.heappop(self._keys))
            before = len(items)
            for item in bucket:
                if item.bucket is bucket:
                    item.bucket = None
                    items.append(item)
            self._stale -= len(bucket) - (len(items) - before)
        self._live -= len(items)
        return items

    def pop_first(self) -> T | None:
        """Take out an item of the earliest bucket, due or not."""
        bucket = self._first()
        if bucket is None:
            return None
        # The last is as good as any: within a bucket there is no order, and this one is free.
        item = bucket.pop()
        item.bucket = None
        self._live -= 1
        return item

    def _first(self) -> list[T] | None:
        """Return the earliest bucket that has a live item, with one at its end."""
        while self._keys:
            bucket = self._buckets[self._keys[0]]
            while bucket:
                if bucket[-1].bucket is bucket:
                    return bucket
                bucket.pop()
                self._stale -= 1
            del self._buckets[heapq.heappop(self._keys)]
        return None

    def _prune(self) -> None:
        """Forget all that is stale, at a cost that the discarding has paid for."""
        for key, bucket in list(self._buckets.items()):
            # One that came back into its bucket is mentioned twice.
            bucket[:] = dict.fromkeys(item for item in bucket if item.bucket is bucket)
            if not bucket:
                del self._buckets[key]
        self._keys = sorted(self._buckets)
        self._stale = 0
