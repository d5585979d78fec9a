"""Laws of what a snapshot, or a failed look, means."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from foxapi_async._protocol.task_status import (
    PollFailure,
    TaskState,
    classify,
    classify_error,
    is_known_status,
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
def test_an_unknown_status_is_no_end(status: str) -> None:
    """A status that nobody knows is neither success nor failure, whatever else the task holds."""
    assert classify(Task(id="t", status=status, results=RESULT, error=REASON)) is TaskState.RUNNING


@pytest.mark.parametrize("spelt", [str.lower, str.upper, str.title, " {}\n".format])
@pytest.mark.parametrize("word", ENDS)
def test_an_end_is_known_in_every_spelling(word: str, spelt: Callable[[str], str]) -> None:
    """The words of services like this one mean the same in any case and with blanks around."""
    task = Task(id="t", status=spelt(word), results=RESULT)
    assert classify(task) is ENDS[word]
    assert is_known_status(task)
    if ENDS[word] is TaskState.COMPLETED:
        assert classify(Task(id="t", status=spelt(word))) is TaskState.EMPTY


@pytest.mark.parametrize("word", ["pending", "Processing", "queued", "IN_PROGRESS", "in progress"])
def test_a_task_that_runs_is_known_to_run(word: str) -> None:
    """What means that a task is not finished is no news that anybody need be warned of."""
    task = Task(id="t", status=word, results=RESULT)
    assert (classify(task), is_known_status(task)) == (TaskState.RUNNING, True)


@pytest.mark.parametrize("word", ["", "aborted", "expired", "done?", "error"])
def test_a_status_that_nobody_knows_is_told_apart(word: str) -> None:
    """A task of unknown status runs on, and whoever watches can tell; an error needs a reason."""
    task = Task(id="t", status=word, results=RESULT)
    assert (classify(task), is_known_status(task)) == (TaskState.RUNNING, False)
    assert classify(Task(id="t", status="error", error=REASON)) is TaskState.FAILED


@pytest.mark.parametrize("results", [None, (), (Raw(b"null"),)])
def test_completed_without_results_is_hollow(results: tuple[Raw, ...] | None) -> None:
    """A completed task is an answer only once it holds results (contract Q2)."""
    task = Task(id="t", status="completed", results=results)
    assert classify(task) is TaskState.EMPTY
    assert not classify(task).is_final
    assert isinstance(task_error(task), EmptyResultError)


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
def test_a_failed_task_tells_why_however_it_says_it(
    members: str, reason: str, code: str | None
) -> None:
    """A reason is found in every form and place in which it may come, and is in the text."""
    error = task_error(task_decoder.decode(f'{{"id":"t","status":"failed",{members}}}'.encode()))
    assert isinstance(error, TaskFailedError)
    assert reason in str(error)
    assert error.code == code


@pytest.mark.parametrize(
    ("fault", "sight"),
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
def test_a_failed_look_is_judged_by_what_it_proves(fault: FoxAPIError, sight: PollFailure) -> None:
    """Faults that pass are no news, a refusal ends the asking, a 404 counts as a miss."""
    assert classify_error(fault) is sight
