"""Laws of the bucketed schedule."""

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from foxapi_async._protocol.bucket_queue import MAX_LEAD, TICK, BucketQueue, next_tick, priority


class Item:
    """Something that can be due."""

    def __init__(self, due: float) -> None:
        self.due = due
        self.bucket: list[Any] | None = None


dues = st.floats(min_value=0, max_value=100)


@given(st.lists(dues), st.lists(dues))
def test_items_come_out_on_time(times: list[float], steps: list[float]) -> None:
    """An item comes out once, never before it is due, and at most one tick late."""
    schedule: BucketQueue[Item] = BucketQueue()
    for due in times:
        schedule.add(Item(due), due)
    out: list[Item] = []
    for now in [*sorted(steps), 101.0]:
        popped = schedule.pop_due(now)
        assert all(item.due <= now + 1e-6 for item in popped)
        out += popped
        still = [item for item in times if item > now]
        assert (
            len(schedule)
            == len(times) - len(out)
            <= len(still) + sum(now - TICK < due <= now for due in times)
        )
    assert sorted(item.due for item in out) == sorted(times)


@given(st.lists(dues, min_size=1))
def test_next_due_is_the_earliest(times: list[float]) -> None:
    """The next instant to look is that of the earliest item, rounded up to a tick."""
    schedule: BucketQueue[Item] = BucketQueue()
    for due in times:
        schedule.add(Item(due), due)
    instant = schedule.next_due()
    assert instant is not None
    assert min(times) - 1e-9 <= instant <= min(times) + TICK + 1e-9


@given(st.lists(st.tuples(dues, st.booleans()), min_size=1))
def test_a_discarded_item_never_comes_out(plan: list[tuple[float, bool]]) -> None:
    """What was taken out of the schedule does not come back, and the rest is undisturbed."""
    schedule: BucketQueue[Item] = BucketQueue()
    items = [(Item(due), keep) for due, keep in plan]
    for item, _ in items:
        schedule.add(item, item.due)
    for item, keep in items:
        if not keep:
            schedule.discard(item)
    assert set(schedule.pop_due(200.0)) == {item for item, keep in items if keep}
    assert len(schedule) == 0
    assert schedule.next_due() is None


def test_moving_an_item_forgets_its_old_place() -> None:
    """An item that is scheduled again is due at the new time alone."""
    schedule: BucketQueue[Item] = BucketQueue()
    item = Item(1.0)
    schedule.add(item, 1.0)
    schedule.add(item, 2.0)
    assert schedule.pop_due(1.5) == []
    assert schedule.pop_due(2.0) == [item]


def test_emptied_buckets_do_not_pile_up() -> None:
    """A hundred thousand far deadlines that are met early leave no more than a bounded rest."""
    schedule: BucketQueue[Item] = BucketQueue()
    for number in range(100_000):
        item = Item(0.0)
        schedule.add(item, 1000.0 + number)
        schedule.discard(item)
    assert len(schedule._keys) < 3000


@given(st.lists(st.tuples(dues, st.booleans()), min_size=1))
def test_the_first_come_out_first(plan: list[tuple[float, bool]]) -> None:
    """Taken one by one, due or not, the items come in the order of their buckets, each once."""
    schedule: BucketQueue[Item] = BucketQueue()
    items = [(Item(due), keep) for due, keep in plan]
    for item, _ in items:
        schedule.add(item, item.due)
    for item, keep in items:
        if not keep:
            schedule.discard(item)
    out: list[Item] = []
    while (first := schedule.pop_first()) is not None:
        out.append(first)
    assert set(out) == {item for item, keep in items if keep}
    assert len(out) == len(set(out))
    assert all(one.due <= other.due + TICK for one, other in pairwise(out))


@given(dues, st.none() | dues, dues)
def test_nobody_waits_longer_than_a_turn(now: float, deadline: float | None, later: float) -> None:
    """Whoever becomes ready a whole turn later never goes first, whatever his deadline."""
    mine = priority(now, deadline)
    assert mine <= now + MAX_LEAD
    his = now + MAX_LEAD + later
    assert mine <= priority(his, his + 0.001)


def test_the_nearest_deadline_goes_first() -> None:
    """Among those ready at once the nearest deadline has the first turn, none the last."""
    turns = [priority(5.0, deadline) for deadline in (6.0, 8.0, 30.0, None)]
    assert turns == sorted(turns)
    assert len(set(turns)) == 4


@given(dues)
def test_a_tick_ends_after_all_that_falls_into_it(now: float) -> None:
    """Its end is later than any instant in it, by a tick at most, and a whole number of ticks."""
    end = next_tick(now)
    assert now < end <= now + TICK + 1e-6
    assert abs(end / TICK - round(end / TICK)) < 1e-6
    assert next_tick(end) > end
