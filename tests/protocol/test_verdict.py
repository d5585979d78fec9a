"""Laws of what a snapshot, or a failed look, means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from foxapi_async._protocol.verdict import Sight, State, judge, judge_fault, task_error
from foxapi_async.errors import (
    APIConnectionError,
    APIStatusError,
    AuthenticationError,
    EmptyResultError,
    FoxAPIError,
    InternalServerError,
    InvalidResponseError,
    NotFoundError,
    RateLimitError,
    TaskCancelledError,
    TaskFailedError,
)
from foxapi_async.types import ErrorBody, Task

RESULT = (Raw(b"{}"),)
KNOWN = {"completed", "failed", "cancelled"}


@given(st.text().filter(lambda status: status.lower() not in KNOWN))
def test_an_unknown_status_is_no_end(status: str) -> None:
    """A status that nobody knows is neither success nor failure, whatever else the task holds."""
    assert judge(Task(id="t", status=status, results=RESULT)) is State.RUNNING


@pytest.mark.parametrize("results", [None, (), (Raw(b"null"),)])
def test_completed_without_results_is_hollow(results: tuple[Raw, ...] | None) -> None:
    """A completed task is an answer only once it holds results (CONTRACT Q2)."""
    task = Task(id="t", status="completed", results=results)
    assert judge(task) is State.HOLLOW
    assert not judge(task).is_final
    assert isinstance(task_error(task), EmptyResultError)


def test_ends_are_ends() -> None:
    """Completed with results, failed and cancelled are final, in any spelling of case."""
    assert judge(Task(id="t", status="Completed", results=RESULT)) is State.COMPLETED
    assert judge(Task(id="t", status="FAILED")) is State.FAILED
    assert judge(Task(id="t", status="cancelled")) is State.CANCELLED


def test_a_failed_task_tells_why() -> None:
    """The error of a failed task carries the service's code and message, and the task."""
    task = Task(id="t", status="failed", error=ErrorBody(code="timeout", message="too slow"))
    error = task_error(task)
    assert isinstance(error, TaskFailedError)
    assert (error.code, error.task_id, error.task) == ("timeout", "t", task)
    assert "too slow" in str(error)
    assert isinstance(task_error(Task(id="t", status="failed")), TaskFailedError)
    assert isinstance(task_error(Task(id="t", status="cancelled")), TaskCancelledError)


@pytest.mark.parametrize(
    ("fault", "sight"),
    [
        (APIConnectionError("reset"), Sight.NO_NEWS),
        (InvalidResponseError("html"), Sight.NO_NEWS),
        (RateLimitError("slow down", status=429), Sight.NO_NEWS),
        (APIStatusError("timeout", status=408), Sight.NO_NEWS),
        (APIStatusError("early", status=425), Sight.NO_NEWS),
        (InternalServerError("bad gateway", status=502), Sight.NO_NEWS),
        (NotFoundError("gone", status=404), Sight.MISSING),
        (AuthenticationError("who", status=401), Sight.FORBIDDEN),
        (APIStatusError("no", status=403), Sight.FORBIDDEN),
    ],
)
def test_a_failed_look_is_judged_by_what_it_proves(fault: FoxAPIError, sight: Sight) -> None:
    """Faults that pass are no news, a refusal ends the asking, a 404 counts as a miss."""
    assert judge_fault(fault) is sight
