"""Laws of classifying snapshots of tasks and failures of polls."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from foxapi_async._protocol.task_status import (
    FailureTracker,
    PollFailure,
    TaskState,
    classify,
    classify_error,
    task_error,
)
from foxapi_async._wire.task import task_decoder
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
ENDS = {
    "completed": TaskState.COMPLETED,
    "complete": TaskState.COMPLETED,
    "success": TaskState.COMPLETED,
    "succeeded": TaskState.COMPLETED,
    "failed": TaskState.FAILED,
    "failure": TaskState.FAILED,
    "cancelled": TaskState.CANCELLED,
    "canceled": TaskState.CANCELLED,
}
REASON = ErrorBody(message="boom")


@given(st.text().filter(lambda status: status.strip().lower() not in {*ENDS, "error", "errored"}))
def test_an_unknown_status_is_not_final(status: str) -> None:
    """A status that is no known end is not final, whatever other members the task has."""
    state = classify(Task(id="t", status=status, results=RESULT, error=REASON))
    assert state in {TaskState.RUNNING, TaskState.UNKNOWN}
    assert not state.is_final


@pytest.mark.parametrize("spelling", [str.lower, str.upper, str.title, " {}\n".format])
@pytest.mark.parametrize("status", ENDS)
def test_a_final_status_is_known_in_every_spelling(
    status: str, spelling: Callable[[str], str]
) -> None:
    """The statuses of compatible services count, in any case and with spaces around them."""
    task = Task(id="t", status=spelling(status), results=RESULT)
    assert classify(task) is ENDS[status]
    if ENDS[status] is TaskState.COMPLETED:
        assert classify(Task(id="t", status=spelling(status))) is TaskState.EMPTY


@pytest.mark.parametrize(
    "status", ["pending", "Processing", "queued", "IN_PROGRESS", "in progress"]
)
def test_a_running_status_is_known_in_every_spelling(status: str) -> None:
    """A status that means "not finished" is a known status."""
    task = Task(id="t", status=status, results=RESULT)
    assert classify(task) is TaskState.RUNNING


@pytest.mark.parametrize("status", ["", "aborted", "expired", "done?", "error"])
def test_an_unknown_status_can_be_detected(status: str) -> None:
    """An unknown status has a state of its own, which is not final; "error" needs a reason."""
    task = Task(id="t", status=status, results=RESULT)
    assert classify(task) is TaskState.UNKNOWN
    assert not classify(task).is_final
    assert classify(Task(id="t", status="error", error=REASON)) is TaskState.FAILED


@pytest.mark.parametrize("results", [None, (), (Raw(b"null"),)])
def test_completed_without_results_is_empty(results: tuple[Raw, ...] | None) -> None:
    """A completed task is final only if it has results (contract Q2)."""
    task = Task(id="t", status="completed", results=results)
    assert classify(task) is TaskState.EMPTY
    assert not classify(task).is_final
    assert isinstance(task_error(task), EmptyResultError)


def test_the_error_of_a_failed_task_has_its_code() -> None:
    """The error of a failed task has the code and the message of the service, and the task."""
    task = Task(id="t", status="failed", error=ErrorBody(code="timeout", message="too slow"))
    error = task_error(task)
    assert isinstance(error, TaskFailedError)
    assert (error.code, error.task_id, error.task) == ("timeout", "t", task)
    assert "too slow" in str(error)
    assert isinstance(task_error(Task(id="t", status="failed")), TaskFailedError)
    assert isinstance(task_error(Task(id="t", status="cancelled")), TaskCancelledError)


@pytest.mark.parametrize(
    ("members", "reason", "code"),
    [
        ('"error":"boom"', "boom", None),
        ('"error":["boom",{"message":"twice"}]', "boom; twice", None),
        ('"error":{"code":500,"message":"boom"}', "boom", "500"),
        ('"error":{"code":"timeout"}', "no reason", "timeout"),
        ('"error":{"error":{"message":"boom","code":"x"}}', "boom", "x"),
        ('"error":{"message":{"text":"boom"}}', "no reason", None),
        ('"error":{"why":"boom"}', "no reason", None),
        ('"error":42', "42", None),
        ('"error":null,"fail_reason":"boom"', "boom", None),
        ('"detail":[{"loc":["body","prompt"],"msg":"boom"}]', "body.prompt: boom", None),
    ],
)
def test_the_reason_of_a_failed_task_is_found_in_every_form(
    members: str, reason: str, code: str | None
) -> None:
    """The reason is found in every known form and member, and is in the text of the error."""
    error = task_error(task_decoder.decode(f'{{"id":"t","status":"failed",{members}}}'.encode()))
    assert isinstance(error, TaskFailedError)
    assert reason in str(error)
    assert error.code == code


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (APIConnectionError("reset"), PollFailure.TRANSIENT),
        (InvalidResponseError("html"), PollFailure.TRANSIENT),
        (RateLimitError("slow down", status=429), PollFailure.TRANSIENT),
        (APIStatusError("timeout", status=408), PollFailure.TRANSIENT),
        (APIStatusError("early", status=425), PollFailure.TRANSIENT),
        (InternalServerError("bad gateway", status=502), PollFailure.TRANSIENT),
        (NotFoundError("gone", status=404), PollFailure.NOT_FOUND),
        (AuthenticationError("who", status=401), PollFailure.FATAL),
        (APIStatusError("no", status=403), PollFailure.FATAL),
    ],
)
def test_the_error_of_a_poll_is_classified(error: FoxAPIError, failure: PollFailure) -> None:
    """Temporary failures are transient, a 404 is "not found", other rejections are fatal."""
    assert classify_error(error) is failure


def test_consecutive_failures_count_from_the_first() -> None:
    """A task is lost after ``timeout`` seconds of nothing but failures."""
    tracker = FailureTracker()
    assert [
        tracker.record_failure(PollFailure.TRANSIENT, now, 10) for now in (5.0, 14.9, 15.0)
    ] == [
        False,
        False,
        True,
    ]


def test_not_found_counts_only_in_a_row() -> None:
    """Another failure between two 404s restarts their count."""
    tracker = FailureTracker()
    failures = [
        PollFailure.NOT_FOUND,
        PollFailure.NOT_FOUND,
        PollFailure.TRANSIENT,
        PollFailure.NOT_FOUND,
        PollFailure.NOT_FOUND,
    ]
    assert not any(tracker.record_failure(failure, 0.0, 100) for failure in failures)
    assert not tracker.is_not_found
    assert tracker.record_failure(PollFailure.NOT_FOUND, 0.0, 100)
    assert tracker.is_not_found


@pytest.mark.parametrize("grace", [0.0, 3.0])
def test_an_empty_result_has_its_own_grace(grace: float) -> None:
    """A task without results is final after ``grace`` seconds; it ends a series of failures."""
    tracker = FailureTracker()
    tracker.record_failure(PollFailure.TRANSIENT, 0.0, 10)
    assert tracker.record_empty_result(1.0, grace) is (grace == 0)
    assert tracker.has_empty_result
    assert not tracker.record_failure(PollFailure.TRANSIENT, 10.5, 10)
    assert tracker.record_empty_result(1.0 + grace, grace)
