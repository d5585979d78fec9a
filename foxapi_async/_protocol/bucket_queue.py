"""A queue of items by due time, in buckets of 10 ms, so that one timer serves them all."""

import heapq
from math import ceil
from typing import Any, Generic, Protocol, TypeVar

TICK = 0.01
# Upper bound on how long items with earlier deadlines can overtake an item.
MAX_LEAD = 30.0
_STALE = 1024
_ROUNDING = 1e-6


class Schedulable(Protocol):
    """An item of a `BucketQueue`; ``bucket`` is ``None`` while it is in no queue."""

    bucket: list[Any] | None


T = TypeVar("T", bound=Schedulable)


def next_tick(instant: float) -> float:
    """Return the end of the tick that ``instant`` falls into."""
    return (int(instant / TICK + _ROUNDING) + 1) * TICK


def priority(now: float, deadline: float | None) -> float:
    """Return the sort key of an item that is ready at ``now``; the nearest deadline comes first.

    An item without a deadline, or with a later one, counts as if it were due in ``MAX_LEAD``
    seconds. Items that become ready after that cannot overtake it, so no item starves.
    """
    latest = now + MAX_LEAD
    return latest if deadline is None else min(deadline, latest)


class BucketQueue(Generic[T]):
    """Holds items until they are due. An item is in one queue at a time.

    Adding and removing are O(1), except for the first item of a bucket, which costs a heap
    operation. An item is returned at most one tick after its due time, never before it.
    """

    __slots__ = ("_buckets", "_keys", "_live", "_stale")

    def __init__(self) -> None:
        # An item is live in the list that is its `bucket`; in any other list it is stale. Stale
        # entries are cheaper than a search, or a dictionary for each bucket.
        self._buckets: dict[int, list[T]] = {}
        self._keys: list[int] = []
        self._live = 0
        self._stale = 0

    def __len__(self) -> int:
        return self._live

    def add(self, item: T, due: float) -> float:
        """Add or move ``item``; return its due time, rounded up to whole ticks."""
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
        """Remove ``item`` if it is in the queue."""
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
        """Remove and return the items that are due at ``now``, earliest first."""
        # A timer may fire early by a rounding error.
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
        """Remove and return an item of the earliest bucket, due or not."""
        bucket = self._first()
        if bucket is None:
            return None
        # A bucket has no order, and removing its last item is cheapest.
        item = bucket.pop()
        item.bucket = None
        self._live -= 1
        return item

    def _first(self) -> list[T] | None:
        """Return the earliest bucket with a live item; its last item is live."""
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
        """Remove all stale entries; the cost is amortised over the `discard` calls."""
        for key, bucket in list(self._buckets.items()):
            # An item that returned to its bucket is in the list twice.
            bucket[:] = dict.fromkeys(item for item in bucket if item.bucket is bucket)
            if not bucket:
                del self._buckets[key]
        self._keys = sorted(self._buckets)
        self._stale = 0
