"""Laws of exit codes and error messages."""

from typing import Any

import pytest

from foxapi_async import errors
from foxapi_async.cli.errors import EXIT_CODES, ExitCode, UsageError, exit_code
from foxapi_async.gateway import Gateway

EXPECTED = {
    ExitCode.FAILED: {
        "TaskError",
        "TaskFailedError",
        "TaskCancelledError",
        "EmptyResultError",
        "OutputError",
        "OutputRefusedError",
        "OutputTruncatedError",
        "OutputValidationError",
    },
    ExitCode.REFUSED: {
        "BudgetExceededError",
        "APIStatusError",
        "AuthenticationError",
        "BadRequestError",
        "ConfigError",
        "ContentTooLargeError",
        "InsufficientQuotaError",
        "InvalidParameterError",
        "InvalidRequestError",
        "InvalidTaskIdError",
        "JournalError",
        "LinkExpiredError",
        "LinkRefusedError",
        "ModelNotSupportedError",
        "NotFoundError",
        "PermissionDeniedError",
        "RequestValidationError",
        "StreamExpiredError",
        "StreamUnavailableError",
        "UnprocessableEntityError",
        "UnsupportedContentTypeError",
    },
    ExitCode.UNREACHABLE: {
        "APIConnectionError",
        "APITimeoutError",
        "DownloadError",
        "FileTransferError",
        "FoxAPIError",
        "InternalServerError",
        "InvalidResponseError",
        "RateLimitError",
        "ServiceUnavailableError",
        "SessionClosedError",
        "StreamConsumedError",
        "StreamError",
        "StreamInterruptedError",
        "TaskLostError",
        "UnboundHandleError",
    },
    ExitCode.UNKNOWN: {"SubmitOutcomeUnknownError", "UploadOutcomeUnknownError"},
    ExitCode.TIMEOUT: {"TaskTimeoutError"},
}


def test_every_error_has_its_exit_code() -> None:
    """Each class of ``errors`` has an entry in the table of exit codes."""
    assert set().union(*EXPECTED.values()) == set(errors.__all__)
    for code, names in EXPECTED.items():
        for name in names:
            kind = getattr(errors, name)
            assert issubclass(kind, Exception)
            assert exit_code(kind.__new__(kind)) is code, name


def test_an_unexpected_error_has_no_exit_code() -> None:
    """An unexpected error has no exit code of a refusal or a failed task."""
    assert exit_code(TypeError("a bug")) is None
    assert exit_code(UsageError("--image is missing")) is ExitCode.REFUSED
    assert all(issubclass(kind, Exception) for kind in EXIT_CODES)


async def test_a_failed_task_is_1(gateway: Gateway, foxapi: Any) -> None:
    """A failed task ends with 1; the line of JSON and the message give the reason."""
    done = await foxapi("submit", "gpt-5.5", "[[fail:content_policy_violation]]", "--wait")
    assert done.code == 1
    [record] = done.records
    assert record["status"] == "failed"
    assert record["error"]["type"] == "TaskFailedError"
    assert record["error"]["code"] == "content_policy_violation"
    assert "content_policy_violation" in done.err
    assert gateway.stats.failed == 1


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["submit", "claude-opus-4-7", "hello"], "--max-tokens"),
        (["submit", "gpt-5.5", "hello", "--max-tokens", "3"], "--max-tokens"),
        (["submit", "gpt-5.5", "hello", "--max-tokens", "many"], "--max-tokens"),
        (["submit", "gpt-5.5", "hello", "--max-token", "64"], "--max-tokens"),
        (["submit", "gpt-6", "hello"], "foxapi models"),
        (["submit", "gpt-5.5", "hello", "--video", "https://x.test/v.mp4"], "foxapi models"),
        (["submit", "gpt-5.5", "hello", "--image", "no/such.png"], "--image no/such.png"),
        (["submit", "gpt-5.5", "hello", "--param", "top_p"], "NAME=JSON"),
        (["submit", "gpt-5.5", "hello", "--param", "user=me"], "--param user"),
        (["submit", "gpt-5.5", "hello", "--param", "model=1"], "MODEL"),
        (["submit", "gpt-5.5", "hello", "--param", 'top_p="x"'], "top_p"),
        (["submit", "gpt-5.5", "hello", "--param", 'messages="x"'], "PROMPT"),
        (["submit", "gpt-5.5", "hello", "--param", 'prompt="x"'], "PROMPT"),
        (["submit", "gpt-5.5", "hello", "--param", 'image_urls=["x"]'], "--image"),
        (["submit", "gpt-5.5", ""], "PROMPT"),
        (["submit", "gpt-5.5"], "PROMPT"),
        (["submit"], "MODEL"),
        (["stream"], "MODEL"),
        (["stream", "gpt-5.5", "hello", "--task", "task-llm-1-abcdefgh"], "--task"),
        (["stream", "gpt-5.5", "hello", "--resume", "x"], "--task"),
        (["stream", "--task", "task-llm-1-abcdefgh", "--resume", "x"], "--resume"),
        (["wait"], "ID"),
        (["wait", "no/id"], "no/id"),
        (["wait", "task-llm-1-abcdefgh", "--timeout", "-1"], "--timeout"),
        (["task", "task-llm-1-abcdefgh"], "FOXAPI_BASE_URL"),
        (["serve", "--host", "0.0.0.0"], "--api-key"),
        (["serve", "--port", "70000"], "--port"),
        (["dmeo"], "'demo'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
async def test_what_is_refused_is_2(
    gateway: Gateway, foxapi: Any, arguments: list[str], named: str
) -> None:
    """Bad usage and refused requests end with 2, bill nothing, and name the option and the fix."""
    done = await foxapi(*arguments)
    assert done.code == 2, done
    assert named in done.err
    assert len(done.err.splitlines()) <= 2
    assert "Traceback" not in done.err
    assert not done.out
    assert gateway.stats.tasks == 0


async def test_two_mistakes_are_two_lines(gateway: Gateway, foxapi: Any) -> None:
    """All violations of a request are shown at once, a line each."""
    done = await foxapi(
        "submit", "gpt-5.5", "hello", "--max-tokens", "1", "--audio", "https://x.test/a.wav"
    )
    assert done.code == 2
    assert len(done.err.splitlines()) == 2
    assert gateway.stats.submits == 0


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 413, 422])
async def test_a_4xx_is_2(serve: Any, foxapi: Any, answering: Any, status: int) -> None:
    """Every 4xx response but 429 ends with 2."""
    await serve(answering(status))
    done = await foxapi("submit", "gpt-5.5", "hello")
    assert done.code == 2, done


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_the_service_in_trouble_is_3(
    serve: Any, foxapi: Any, answering: Any, status: int
) -> None:
    """Temporary errors end with 3; a ``Retry-After`` above the limit ends the command at once."""
    await serve(answering(status, {"Retry-After": "3600"}))
    done = await foxapi("models")
    assert done.code == 3, done
    assert str(status) in done.err


async def test_an_unknown_task_is_2(gateway: Gateway, foxapi: Any) -> None:
    """A task that the service does not know ends with 2, not with 1."""
    done = await foxapi("task", "task-llm-1-abcdefgh")
    assert done.code == 2
    assert "task-llm-1-abcdefgh" in done.err
    assert gateway.stats.tasks == 0


async def test_a_lost_answer_is_4(serve: Any, foxapi: Any, losing_answers: Any) -> None:
    """A submit without a response ends with 4 and warns against a second submit."""
    gateway = await serve(losing_answers)
    done = await foxapi("submit", "gpt-5.5", "a prompt that stays here")
    assert done.code == 4, done
    assert "do not resubmit blindly" in done.err
    assert "a prompt that stays here" not in done.err
    assert gateway.stats.submits == 1


async def test_an_ended_patience_is_124(serve: Any, foxapi: Any) -> None:
    """A wait that times out ends with 124 and names the command to wait again; the task goes on."""
    await serve(queue_delay=60)
    [task] = (await foxapi("submit", "gpt-5.5", "hello")).records
    done = await foxapi("wait", task["id"], "--timeout", "0.05")
    assert done.code == 124, done
    assert f"foxapi wait {task['id']}" in done.err
    [record] = done.records
    assert record["id"] == task["id"]
    assert record["error"]["type"] == "TaskTimeoutError"
    [task] = (await foxapi("task", task["id"])).records
    assert task["status"] == "pending"


async def test_no_account_is_2_and_says_where_to_go(
    foxapi: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an API key the message names the variable and the commands that need none."""
    monkeypatch.setenv("FOXAPI_API_KEY", "")
    done = await foxapi("models")
    assert done.code == 2
    assert "FOXAPI_API_KEY" in done.err
    assert "foxapi demo" in done.err


async def test_no_message_shows_the_key_or_the_prompt(
    serve: Any, foxapi: Any, answering: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error message has no secret, even if the service repeats it."""
    key = "sk-of-an-account-0123456789"
    gateway = await serve(answering(401, message=f"the key {key} is unknown"))
    monkeypatch.setenv("FOXAPI_API_KEY", key)
    done = await foxapi("submit", "gpt-5.5", "my secret prompt", "--system", "my secret role")
    assert done.code == 2
    assert key not in done.err
    assert "my secret" not in done.err
    assert gateway.url not in done.out


async def test_an_unexpected_error_is_one_line(
    gateway: Gateway, foxapi: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unexpected error shows its class and how to get the traceback, but not its text."""

    def broken(*_: object) -> None:
        raise KeyError("my secret prompt")

    monkeypatch.setattr("foxapi_async.cli.submit._is_thinking", broken)
    done = await foxapi("submit", "gpt-5.5", "my secret prompt", "--wait")
    assert done.code == 3
    assert "KeyError" in done.err
    assert "my secret" not in done.err
    assert "Traceback" not in done.err
    assert gateway.stats.submits == 0
