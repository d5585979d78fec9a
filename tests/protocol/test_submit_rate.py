"""Laws of the rate of submissions, for all calls and clocks."""

from hypothesis import given
from hypothesis import strategies as st

from foxapi_async import RetryPolicy
from foxapi_async._protocol.submit_rate import (
    BURST,
    Lease,
    PauseRule,
    RateCost,
    RateState,
    lease_size,
)

NOISE = 1e-6
RATES = st.floats(0.5, 500)
GAPS = st.floats(0, 3)
CALLS = st.lists(st.tuples(GAPS, st.integers(1, 10), st.integers(0, 400)), min_size=1, max_size=30)


class Reservations:
    """Reserves by a clock of its own, and keeps what was granted."""

    def __init__(self, rate: float, token_rate: float) -> None:
        self.rate, self.token_rate = rate, token_rate
        self.now, self.state = 1_000.0, RateState()
        self.granted: list[tuple[float, int, int]] = []

    def reserve(self, gap: float, submits: int, tokens: int) -> Lease:
        """Reserve ``gap`` seconds after the last call."""
        self.now += gap
        cost = RateCost(submits / self.rate, tokens / self.token_rate)
        self.state, at = self.state.reserve(self.now, cost)
        self.granted.append((at, submits, tokens))
        return Lease(at - self.now, self.state.submits_due, self.state.tokens_due)


@given(RATES, RATES, CALLS)
def test_no_window_has_more_than_the_rate(
    rate: float, token_rate: float, calls: list[tuple[float, int, int]]
) -> None:
    """In each window both rates hold, but for the burst and the reservation at its end."""
    made = Reservations(rate, token_rate)
    for call in calls:
        made.reserve(*call)
    for first in range(len(made.granted)):
        submits = tokens = 0
        begin = made.granted[first][0]
        for at, some, cost in made.granted[first:]:
            window = at - begin + BURST + NOISE
            assert submits <= rate * window
            assert tokens <= token_rate * window
            submits, tokens = submits + some, tokens + cost


@given(RATES, RATES, CALLS)
def test_reservations_are_granted_in_their_order(
    rate: float, token_rate: float, calls: list[tuple[float, int, int]]
) -> None:
    """None comes before an earlier one, or before its own call."""
    made = Reservations(rate, token_rate)
    for call in calls:
        assert made.reserve(*call).wait >= 0
    times = [at for at, _, _ in made.granted]
    assert times == sorted(times)


@given(RATES, RATES, CALLS)
def test_no_reservation_waits_for_more_than_what_came_before_it(
    rate: float, token_rate: float, calls: list[tuple[float, int, int]]
) -> None:
    """The wait is at most what the earlier reservations cost, so none waits for ever."""
    made = Reservations(rate, token_rate)
    submits = tokens = 0.0
    for call in calls:
        assert made.reserve(*call).wait <= submits + tokens + NOISE
        submits += call[1] / rate
        tokens += call[2] / token_rate


@given(RATES, st.integers(2, 500), st.floats(0, 0.9))
def test_calls_that_come_late_lose_nothing_of_the_rate(
    rate: float, count: int, lateness: float
) -> None:
    """Late calls, each by less than its share of the rate, are made up by the burst."""
    made = Reservations(rate, 1)
    begin = made.now
    for _ in range(count):
        lease = made.reserve(0, 1, 0)
        made.now += lease.wait + lateness * min(BURST, 1 / rate)
    at = made.granted[-1][0]
    assert at <= begin + (count - 1) / rate + BURST + NOISE * count


@given(st.floats(-20, 20), CALLS)
def test_a_correction_of_tokens_counts_at_once(
    correction: float, calls: list[tuple[float, int, int]]
) -> None:
    """The next submission waits as if the earlier ones had reserved what they have used."""
    made = Reservations(10, 10)
    for call in calls:
        made.reserve(*call)
    before = made.state
    made.state, at = before.reserve(made.now, RateCost(0, 5, correction))
    assert at == max(
        before.submits_due, before.tokens_due + correction, before.paused_until, made.now
    )
    # What is not used within the burst is lost.
    assert made.state.tokens_due >= at - BURST + 5


@given(CALLS, st.integers(1, 10), st.integers(0, 100))
def test_what_is_cancelled_was_never_reserved(
    calls: list[tuple[float, int, int]], submits: int, tokens: int
) -> None:
    """The state is that without the reservation, unless a later one counts on it."""
    made = Reservations(20, 1)
    for call in calls:
        made.reserve(*call)
    before = made.state
    lease = made.reserve(0, submits, tokens)
    cancelled = made.state.cancel(lease)
    assert cancelled is not None
    assert cancelled[:3] == before[:3]
    made.reserve(0, 1, 0)
    assert made.state.cancel(lease) is None


@given(CALLS, st.floats(0, 1_000))
def test_nothing_is_granted_in_a_pause(calls: list[tuple[float, int, int]], seconds: float) -> None:
    """A pause holds back all, for a minute at most, and is never shortened."""
    made = Reservations(10, 10)
    for call in calls:
        made.reserve(*call)
    made.state = made.state.pause(made.now, seconds)
    until = made.state.paused_until
    assert until == made.now + min(seconds, 60)
    made.state = made.state.pause(made.now, seconds / 2)
    made.reserve(0, 1, 0)
    assert made.granted[-1][0] >= until == made.state.paused_until


@given(st.floats(0.001, 100), st.integers(0, 30))
def test_a_lease_is_a_twentieth_of_a_second_and_ten_at_most(cost: float, waiting: int) -> None:
    """It is never empty, so that slow rates go on too."""
    size = lease_size([RateCost(cost)] * waiting)
    assert 1 <= size <= 10
    assert size == 1 or (size <= waiting and size * cost <= 0.05 + NOISE)
    assert size == lease_size([RateCost(0, cost)] * waiting)


def test_a_pause_grows_until_a_submission_is_accepted() -> None:
    """POSTs under way together count once; the service's own word counts as it is."""
    rule, policy = PauseRule(), RetryPolicy(initial=0.5, multiplier=2, max_delay=3)

    def limited(now: float, started_at: float, retry_after: float | None = None) -> float:
        return rule.rate_limited(now, started_at=started_at, retry_after=retry_after, policy=policy)

    assert [limited(1, 0), limited(1, 0.5), limited(1, 1)] == [0.5, 0, 0]
    assert [limited(3, 2), limited(5, 4), limited(9, 8), limited(20, 19)] == [1, 2, 3, 3]
    assert limited(20, 18, retry_after=7) == 7
    assert limited(30, 29, retry_after=700) == 60
    rule.accepted(29)
    assert limited(40, 39) == 3
    rule.accepted(41)
    assert limited(50, 49) == 0.5
