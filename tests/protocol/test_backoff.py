"""The retry decision: never twice, never too late, never without end."""

import math
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from foxapi_async._protocol.retry import (
    Effect,
    FailureFacts,
    GiveUp,
    RetryIn,
    decide,
    is_ambiguous,
    parse_retry_after,
)
from foxapi_async.config import RetryPolicy

NOW = 1_776_874_565.0
POLICY = RetryPolicy()

seconds = st.floats(0, 1e6)
rolls = st.floats(0, 1)
effects = st.sampled_from(Effect)
statuses = st.none() | st.integers(100, 999)
outcomes = st.builds(
    FailureFacts,
    status=statuses,
    never_sent=st.booleans(),
    rate_limited=st.booleans(),
    retry_after=st.none() | seconds,
    unusable=st.booleans(),
    permanent=st.booleans(),
)
policies = st.builds(
    RetryPolicy,
    attempts=st.integers(1, 10),
    initial=st.floats(0, 100),
    multiplier=st.floats(1, 1e6),
    max_delay=st.floats(0, 1000),
    max_elapsed=seconds,
    max_retry_after=seconds,
    resubmit_on_429=st.sampled_from(["envelope", "always", "never"]),
)


def judge(
    effect: Effect,
    outcome: FailureFacts,
    *,
    attempt: int = 1,
    policy: RetryPolicy = POLICY,
    roll: float = 1.0,
    elapsed: float = 0.0,
    remaining: float | None = None,
) -> RetryIn | GiveUp:
    """Decide with nothing special about it but what the test says."""
    return decide(effect, attempt, outcome, policy, rand=roll, elapsed=elapsed, remaining=remaining)


class TestLaws:
    """What holds for every call, outcome and policy."""

    @given(
        effect=effects,
        attempt=st.integers(1, 12),
        outcome=outcomes,
        policy=policies,
        roll=rolls,
        elapsed=seconds,
        remaining=st.none() | st.floats(-10, 1e6),
    )
    def test_a_delay_is_within_every_bound(
        self,
        *,
        effect: Effect,
        attempt: int,
        outcome: FailureFacts,
        policy: RetryPolicy,
        roll: float,
        elapsed: float,
        remaining: float | None,
    ) -> None:
        """A further attempt comes in time, is counted, and keeps to the service's own wait."""
        verdict = decide(
            effect, attempt, outcome, policy, rand=roll, elapsed=elapsed, remaining=remaining
        )
        if isinstance(verdict, GiveUp):
            return
        wait = verdict.seconds
        assert math.isfinite(wait)
        assert wait >= 0
        assert attempt < policy.attempts
        assert elapsed + wait <= policy.max_elapsed
        assert remaining is None or wait < remaining
        assert not outcome.permanent
        if outcome.retry_after is None:
            assert wait <= policy.max_delay
        else:
            assert wait == outcome.retry_after <= policy.max_retry_after

    @given(outcome=outcomes, policy=policies, attempt=st.integers(1, 12), roll=rolls)
    def test_a_billed_call_goes_again_only_on_proof(
        self, outcome: FailureFacts, policy: RetryPolicy, attempt: int, roll: float
    ) -> None:
        """A billed call goes again only if it never left, or by a 429 that the policy trusts."""
        verdict = judge(Effect.BILLED, outcome, attempt=attempt, policy=policy, roll=roll)
        if isinstance(verdict, RetryIn):
            trusted = {"always": True, "envelope": outcome.rate_limited, "never": False}
            assert outcome.never_sent or (outcome.status == 429 and trusted[policy.resubmit_on_429])
            assert not is_ambiguous(Effect.BILLED, outcome)

    @given(outcome=outcomes, policy=policies)
    def test_ambiguous_stops_are_ambiguous(
        self, outcome: FailureFacts, policy: RetryPolicy
    ) -> None:
        """The reason "ambiguous" and the predicate say the same."""
        for effect in Effect:
            verdict = judge(effect, outcome, policy=policy)
            said = isinstance(verdict, GiveUp) and verdict.reason == "ambiguous"
            assert said is is_ambiguous(effect, outcome)

    @given(outcome=outcomes, policy=policies, elapsed=seconds)
    def test_every_call_ends(
        self, outcome: FailureFacts, policy: RetryPolicy, elapsed: float
    ) -> None:
        """Whatever happens, the last attempt is the last."""
        for effect in Effect:
            verdict = judge(
                effect, outcome, attempt=policy.attempts, policy=policy, elapsed=elapsed
            )
            assert isinstance(verdict, GiveUp)

    @given(outcome=outcomes)
    def test_reads_are_never_ambiguous(self, outcome: FailureFacts) -> None:
        """A read costs nothing, so nothing about it is uncertain."""
        assert not is_ambiguous(Effect.READ, outcome)

    @given(attempt=st.integers(1, 10**6), roll=rolls, policy=policies)
    def test_jitter_is_equal(self, attempt: int, roll: float, policy: RetryPolicy) -> None:
        """Half of each wait is fixed and half is drawn, however many attempts there were."""
        endless = replace(policy, attempts=10**7, elapsed=1e9)
        longest, drawn = (
            judge(Effect.READ, FailureFacts(), attempt=attempt, policy=endless, roll=each)
            for each in (1.0, roll)
        )
        assert isinstance(longest, RetryIn)
        assert isinstance(drawn, RetryIn)
        assert longest.seconds / 2 <= drawn.seconds <= longest.seconds


class TestTable:
    """contract §8.2, row by row."""

    @pytest.mark.parametrize("status", [200, 301, 400, 401, 402, 403, 404, 409, 413, 422])
    def test_refusals_are_final(self, status: int) -> None:
        """A refusal is final for every call."""
        for effect in Effect:
            assert judge(effect, FailureFacts(status=status)) == GiveUp("final")

    @pytest.mark.parametrize("status", [408, 425, 500, 502, 503, 504, 524, None])
    def test_transient_faults(self, status: int | None) -> None:
        """A transient fault is tried again by a read, and leaves a billed call open."""
        assert judge(Effect.READ, FailureFacts(status=status)) == RetryIn(0.5)
        assert judge(Effect.BILLED, FailureFacts(status=status)) == GiveUp("ambiguous")
        assert judge(Effect.BILLED, FailureFacts(status=status, never_sent=True)) == RetryIn(0.5)

    def test_unusable_successes(self) -> None:
        """A success that cannot be read is tried again by a read, and leaves a billed call open."""
        outcome = FailureFacts(status=200, unusable=True)
        assert judge(Effect.READ, outcome) == RetryIn(0.5)
        assert judge(Effect.BILLED, outcome) == GiveUp("ambiguous")

    @pytest.mark.parametrize(
        ("policy", "rate_limited", "repeats"),
        [
            ("envelope", True, True),
            ("envelope", False, False),
            ("always", False, True),
            ("never", True, False),
        ],
    )
    def test_rate_limits(self, policy: str, *, rate_limited: bool, repeats: bool) -> None:
        """A 429 of a billed call is a setting, and never ambiguous."""
        outcome = FailureFacts(status=429, rate_limited=rate_limited)
        retry = RetryPolicy(resubmit_on_429=policy)  # type: ignore[arg-type]
        assert judge(Effect.READ, outcome, policy=retry) == RetryIn(0.5)
        expected = RetryIn(0.5) if repeats else GiveUp("final")
        assert judge(Effect.BILLED, outcome, policy=retry) == expected

    def test_what_never_gets_better(self) -> None:
        """A certificate that is not trusted stops every call, and nothing about it is ambiguous."""
        outcome = FailureFacts(never_sent=True, permanent=True)
        assert judge(Effect.READ, outcome) == GiveUp("final")
        assert judge(Effect.BILLED, outcome) == GiveUp("final")


class TestStops:
    """Why there is no further attempt."""

    def test_reasons(self) -> None:
        """Each bound has its reason."""
        lost = FailureFacts()
        hint = FailureFacts(status=503, retry_after=61.0)
        assert judge(Effect.READ, lost, attempt=4) == GiveUp("attempts")
        assert judge(Effect.READ, hint) == GiveUp("retry-after", 61.0)
        assert judge(Effect.READ, lost, remaining=0.5) == GiveUp("deadline")
        assert judge(Effect.READ, lost, elapsed=59.6) == GiveUp("elapsed")

    def test_backoff_grows_to_its_cap(self) -> None:
        """The wait doubles until the cap, and no exponent is too large."""
        policy = RetryPolicy(attempts=10**7, max_elapsed=1e9)
        waits = [
            judge(Effect.READ, FailureFacts(), attempt=n, policy=policy, roll=roll)
            for n, roll in [(1, 1), (2, 1), (3, 1), (5, 1), (6, 1), (10**6, 1), (1, 0)]
        ]
        assert waits == [RetryIn(s) for s in (0.5, 1.0, 2.0, 8.0, 8.0, 8.0, 0.25)]


class TestRetryAfter:
    """What the service asks to wait."""

    @given(st.none() | st.text(), st.none() | st.text(), st.floats(allow_nan=False))
    def test_any_text(self, plain: str | None, fine: str | None, now: float) -> None:
        """Any header gives a finite wait or none, and never raises."""
        wait = parse_retry_after(plain, fine, now)
        assert wait is None or (math.isfinite(wait) and wait >= 0)

    @given(st.floats())
    def test_any_number(self, number: float) -> None:
        """However a number is written, none becomes negative, infinite or NaN."""
        for text in (str(number), f"{number:f}", repr(number)):
            wait = parse_retry_after(text, text, NOW)
            assert wait is None or (math.isfinite(wait) and wait >= 0)

    @given(st.integers(0, 10**9))
    def test_any_date(self, offset: int) -> None:
        """A date is the wait until then."""
        date = datetime.fromtimestamp(NOW + offset, UTC)
        assert parse_retry_after(format_datetime(date, usegmt=True), None, NOW) == offset

    @pytest.mark.parametrize(
        ("text", "wait"),
        [
            ("0", 0.0),
            (" 7 ", 7.0),
            ("1.25", 1.25),
            ("Wed, 22 Apr 2026 16:16:06 GMT", 1.0),
            ("Wed, 22 Apr 2026 16:16:06", 1.0),
            ("Wednesday, 22-Apr-26 16:16:06 GMT", 1.0),
            ("Wed, 22 Apr 2026 18:16:06 +0200", 1.0),
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
            ("", None),
            ("-1", None),
            ("nan", None),
            ("inf", None),
            ("1e3", None),
            ("1_0", None),
            ("٣", None),
            ("9" * 400, None),
            ("Wed, 99 Apr 2026 16:16:06 GMT", None),
            ("Wed, 22 Apr 99999 16:16:06 GMT", None),
            ("soon", None),
        ],
    )
    def test_examples(self, text: str, wait: float | None) -> None:
        """Seconds and dates count, anything else does not."""
        assert parse_retry_after(text, None, NOW) == wait

    def test_milliseconds_win(self) -> None:
        """The finer header wins if it can be read."""
        assert parse_retry_after("9", "1500", NOW) == 1.5
        assert parse_retry_after("9", "soon", NOW) == 9.0
