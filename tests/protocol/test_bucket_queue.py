"""Laws of the bucket queue."""

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from foxapi_async._protocol.bucket_queue import MAX_LEAD, TICK, BucketQueue, next_tick, priority


class Item:
    """An item of a queue."""

    def __init__(self, due: float) -> None:
        self.due = due
        self.bucket: list[Any] | None = None


dues = st.floats(min_value=0, max_value=100)


@given(st.lists(dues), st.lists(dues))
def test_items_come_out_on_time(times: list[float], steps: list[float]) -> None:
    """An item is returned once, never before its due time, and at most one tick late."""
    queue: BucketQueue[Item] = BucketQueue()
    for due in times:
        queue.add(Item(due), due)
    out: list[Item] = []
    for now in [*sorted(steps), 101.0]:
        popped = queue.pop_due(now)
        assert all(item.due <= now + 1e-6 for item in popped)
        out += popped
        still = [item for item in times if item > now]
        assert (
            len(queue)
            == len(times) - len(out)
            <= len(still) + sum(now - TICK < due <= now for due in times)
        )
    assert sorted(item.due for item in out) == sorted(times)


@given(st.lists(dues, min_size=1))
def test_next_due_is_the_earliest(times: list[float]) -> None:
    """``next_due`` is the due time of the earliest item, rounded up to a tick."""
    queue: BucketQueue[Item] = BucketQueue()
    for due in times:
        queue.add(Item(due), due)
    instant = queue.next_due()
    assert instant is not None
    assert min(times) - 1e-9 <= instant <= min(times) + TICK + 1e-9


@given(st.lists(st.tuples(dues, st.booleans()), min_size=1))
def test_a_discarded_item_never_comes_out(plan: list[tuple[float, bool]]) -> None:
    """A discarded item is not returned, and the other items are."""
    queue: BucketQueue[Item] = BucketQueue()
    items = [(Item(due), keep) for due, keep in plan]
    for item, _ in items:
        queue.add(item, item.due)
    for item, keep in items:
        if not keep:
            queue.discard(item)
    assert set(queue.pop_due(200.0)) == {item for item, keep in items if keep}
    assert len(queue) == 0
    assert queue.next_due() is None


def test_moving_an_item_forgets_its_old_place() -> None:
    """An item that is added again is due at the new time only."""
    queue: BucketQueue[Item] = BucketQueue()
    item = Item(1.0)
    queue.add(item, 1.0)
    queue.add(item, 2.0)
    assert queue.pop_due(1.5) == []
    assert queue.pop_due(2.0) == [item]


def test_emptied_buckets_do_not_pile_up() -> None:
    """A hundred thousand discarded items leave a bounded number of buckets."""
    queue: BucketQueue[Item] = BucketQueue()
    for number in range(100_000):
        item = Item(0.0)
        queue.add(item, 1000.0 + number)
        queue.discard(item)
    assert len(queue._keys) < 3000


@given(st.lists(st.tuples(dues, st.booleans()), min_size=1))
def test_the_first_come_out_first(plan: list[tuple[float, bool]]) -> None:
    """``pop_first`` returns the items in the order of their buckets, each once."""
    queue: BucketQueue[Item] = BucketQueue()
    items = [(Item(due), keep) for due, keep in plan]
    for item, _ in items:
        queue.add(item, item.due)
    for item, keep in items:
        if not keep:
            queue.discard(item)
    out: list[Item] = []
    while (first := queue.pop_first()) is not None:
        out.append(first)
    assert set(out) == {item for item, keep in items if keep}
    assert len(out) == len(set(out))
    assert all(one.due <= other.due + TICK for one, other in pairwise(out))


@given(dues, st.none() | dues, dues)
def test_no_item_starves(now: float, deadline: float | None, later: float) -> None:
    """An item that becomes ready ``MAX_LEAD`` seconds later never comes first."""
    mine = priority(now, deadline)
    assert mine <= now + MAX_LEAD
    other = now + MAX_LEAD + later
    assert mine <= priority(other, other + 0.001)


def test_the_nearest_deadline_goes_first() -> None:
    """Of items that are ready together the nearest deadline is first; no deadline is last."""
    priorities = [priority(5.0, deadline) for deadline in (6.0, 8.0, 30.0, None)]
    assert priorities == sorted(priorities)
    assert len(set(priorities)) == 4


@given(dues)
def test_a_tick_ends_after_every_instant_in_it(now: float) -> None:
    """The end is a whole number of ticks, and at most one tick after any instant in it."""
    end = next_tick(now)
    assert now < end <= now + TICK + 1e-6
    assert abs(end / TICK - round(end / TICK)) < 1e-6
    assert next_tick(end) > end
