"""Every error is raised by a situation that happens, and keeps its promises there too."""

import asyncio
import copy
import pickle
import re
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from foxapi_async import (
    Budget,
    FoxSession,
    Limits,
    LLMHandle,
    PollPolicy,
    RetryPolicy,
    StreamPolicy,
    errors,
)
from foxapi_async.config import Exponential
from foxapi_async.gateway import Gateway
from foxapi_async.testing import CannedResponse, FaultProxy, ManualClock, Reset, Stall, settle

KEY: Final = "sk-secret-0123456789abcdef"
SECRET: Final = "a secret text"
PROMPT: Final = f"count 1 to 3, {SECRET}"
ONCE: Final = RetryPolicy(attempts=1)
PACING: Final = Exponential(initial=0.001, max_delay=0.002)


class Place:
    """A gateway, a line to it that can be cut, and sessions, all closed in the end."""

    def __init__(self, stack: AsyncExitStack, folder: Path) -> None:
        self._stack = stack
        self.folder = folder
        self.fault_proxy: FaultProxy
        self.clock = ManualClock()

    async def serve(self, *faults: str, **settings: Any) -> None:
        """Run the gateway, with its own faults or settings."""
        gateway = Gateway(queue_delay=0, token_delay=0, faults=faults, **settings)
        await self._stack.enter_async_context(gateway)
        self.fault_proxy = await self._stack.enter_async_context(FaultProxy(gateway.url))

    async def open(self, **options: Any) -> FoxSession:
        """Open a session that does not try again."""
        defaults: dict[str, Any] = {
            "base_url": self.fault_proxy.url,
            "retry": ONCE,
            "polling": PollPolicy(pacing=PACING),
            "streaming": StreamPolicy(initial=0.001, max_delay=0.002),
        }
        return await self._stack.enter_async_context(FoxSession(KEY, **(defaults | options)))

    async def fox(self, *faults: str, **options: Any) -> FoxSession:
        """Run a gateway with these faults and open a session."""
        await self.serve(*faults)
        return await self.open(**options)

    async def past(self, seconds: float, doing: Awaitable[object]) -> object:
        """Let what is stalled wait so long."""
        task = asyncio.ensure_future(doing)
        await self.fault_proxy.wait_for_stalls()
        await settle()
        await self.clock.advance(seconds)
        return await task


Situation = Callable[[Place], Awaitable[object]]
SITUATIONS: Final[dict[type[BaseException], Situation]] = {}


def raises(kind: type[BaseException]) -> Callable[[Situation], Situation]:
    """Note which class a situation raises."""

    def note(situation: Situation) -> Situation:
        assert kind not in SITUATIONS
        SITUATIONS[kind] = situation
        return situation

    return note


async def submit(fox: FoxSession, prompt: str = PROMPT, **params: Any) -> LLMHandle:
    """Submit the prompt."""
    request: Any = {"model": "gpt-5.5", "messages": prompt} | params
    handle: LLMHandle = await fox.llm.submit(**request)
    return handle


async def read(handle: LLMHandle, **position: Any) -> None:
    """Read the stream to its end."""
    async with handle.stream(**position) as stream:
        async for _ in stream:
            pass


# Before anything is sent.


@raises(errors.ConfigError)
async def _a_setting_that_cannot_work(_: Place) -> None:
    FoxSession(KEY, base_url="ftp://fox.example")


@raises(errors.RequestValidationError)
async def _a_request_that_the_catalog_refuses(place: Place) -> None:
    await submit(await place.fox(), max_tokens=1)


@raises(errors.BudgetExceededError)
async def _a_budget_that_is_used_up(place: Place) -> None:
    await submit(await place.fox(budget=Budget(tasks=0)))


@raises(errors.InvalidTaskIdError)
async def _a_task_id_that_is_a_path(place: Place) -> None:
    (await place.fox()).tasks.handle("../models")


@raises(errors.JournalError)
async def _a_journal_in_no_folder(place: Place) -> None:
    await place.fox(journal=place.folder / "missing" / "tasks.db")


@raises(errors.SessionClosedError)
async def _a_closed_session(place: Place) -> None:
    fox = await place.fox()
    await fox.aclose()
    await submit(fox)


@raises(errors.UnboundHandleError)
async def _a_handle_from_another_process(place: Place) -> None:
    await pickle.loads(pickle.dumps(await submit(await place.fox())))


# The network.


@raises(errors.APIConnectionError)
async def _nothing_listens(place: Place) -> None:
    fox = await place.fox()
    async with place.fault_proxy.unreachable():
        await submit(fox)


@raises(errors.APITimeoutError)
async def _nothing_responds(place: Place) -> None:
    fox = await place.fox(clock=place.clock)
    place.fault_proxy.on("GET", "*", Stall(response=0))
    await place.past(31, fox.models.list())


@raises(errors.SubmitOutcomeUnknownError)
async def _the_answer_to_a_submit_is_lost(place: Place) -> None:
    await submit(await place.fox("submit:reset:late"), key="row-17")


@raises(errors.InvalidResponseError)
async def _a_portal_answers(place: Place) -> None:
    await (await place.fox("models:html")).models.list()


# What the service refuses.


@raises(errors.APIStatusError)
async def _a_redirect(place: Place) -> None:
    fox = await place.fox()
    place.fault_proxy.on(
        "GET", "*", CannedResponse.http(307, headers={"Location": "http://fox.example"})
    )
    await fox.models.list()


@raises(errors.BadRequestError)
async def _broken_json(place: Place) -> None:
    await submit(await place.fox("submit:400"))


@raises(errors.AuthenticationError)
async def _a_key_that_is_not_known(place: Place) -> None:
    await place.serve(api_keys=["sk-another"])
    await submit(await place.open())


@raises(errors.InsufficientQuotaError)
async def _a_key_without_credits(place: Place) -> None:
    await place.serve(api_keys={KEY: 0})
    await submit(await place.open())


@raises(errors.PermissionDeniedError)
async def _a_proxy_that_refuses_the_client(place: Place) -> None:
    fox = await place.fox()
    place.fault_proxy.on(
        "POST", "*", CannedResponse.http(403, b"error code: 1010", content_type="text/plain")
    )
    await submit(fox)


@raises(errors.NotFoundError)
async def _a_task_that_was_not_submitted(place: Place) -> None:
    await (await place.fox()).tasks.get("task-llm-1776874565-yq3szvcu")


@raises(errors.ContentTooLargeError)
async def _a_request_that_is_too_large(place: Place) -> None:
    await place.serve(body_limit=1000)
    await submit(await place.open(), PROMPT * 1000)


@raises(errors.UnprocessableEntityError)
async def _a_refusal_with_a_code_of_its_own(place: Place) -> None:
    await submit(await place.fox("submit:422:code=unsupported_advanced_options"))


@raises(errors.ModelNotSupportedError)
async def _a_model_that_the_service_does_not_know(place: Place) -> None:
    await submit(await place.fox(), model="gpt-9")


@raises(errors.UnsupportedContentTypeError)
async def _a_block_that_the_model_does_not_take(place: Place) -> None:
    video = {"type": "video_url", "video_url": {"url": "https://fox.example/film.mp4"}}
    messages = [{"role": "user", "content": [{"type": "text", "text": PROMPT}, video]}]
    await submit(await place.fox(validation="off"), messages=messages)


@raises(errors.InvalidParameterError)
async def _a_value_that_the_model_does_not_take(place: Place) -> None:
    await submit(await place.fox(validation="off"), max_tokens=1)


@raises(errors.RateLimitError)
async def _too_many_requests(place: Place) -> None:
    await submit(await place.fox("submit:429:retry_after=7"))


@raises(errors.InternalServerError)
async def _a_gateway_fault(place: Place) -> None:
    await (await place.fox("models:502")).models.list()


@raises(errors.ServiceUnavailableError)
async def _no_capacity(place: Place) -> None:
    await (await place.fox("models:503")).models.list()


# What becomes of a task.


@raises(errors.TaskFailedError)
async def _moderation_refuses(place: Place) -> None:
    await (await submit(await place.fox(), f"[[fail:content_policy_violation]] {SECRET}"))


@raises(errors.TaskCancelledError)
async def _the_service_cancels(place: Place) -> None:
    handle = await submit(await place.fox())
    body = b'{"id":"%s","status":"cancelled"}' % handle.id.encode()
    place.fault_proxy.on(
        "GET", "*", CannedResponse.http(200, body, content_type="application/json")
    )
    await handle


@raises(errors.TaskTimeoutError)
async def _a_wait_that_runs_out(place: Place) -> None:
    fox = await place.fox(clock=place.clock)
    handle = await submit(fox)
    place.fault_proxy.on("GET", "*", Stall(response=0))
    waiting = asyncio.ensure_future(handle.result(timeout=10))
    await settle()
    await place.clock.advance(1)
    await place.past(9, waiting)


@raises(errors.TaskLostError)
async def _a_task_that_cannot_be_asked_for(place: Place) -> None:
    fox = await place.fox(polling=PollPolicy(pacing=PACING, give_up_after=0.02))
    handle = await submit(fox)
    place.fault_proxy.on("GET", "*", Reset(response=0))
    await handle


@raises(errors.EmptyResultError)
async def _completed_without_a_result(place: Place) -> None:
    polling = PollPolicy(pacing=PACING, empty_result_grace=0.02)
    await (await submit(await place.fox("query:empty-result:polls=9999", polling=polling)))


# Streams.


@raises(errors.StreamInterruptedError)
async def _a_line_that_stays_cut(place: Place) -> None:
    fox = await place.fox(
        streaming=StreamPolicy(initial=0.001, max_delay=0.002, give_up_after=0.02)
    )
    handle = await submit(fox, stream=True)
    place.fault_proxy.on("GET", "*", Reset(response=0))
    await read(handle)


@raises(errors.StreamExpiredError)
async def _chunks_that_are_no_longer_kept(place: Place) -> None:
    await place.serve(retention=0)
    fox = await place.open()
    handle = await submit(fox, stream=True)
    await handle
    await read(fox.tasks.handle(handle.id), offset=2)


@raises(errors.StreamUnavailableError)
async def _a_generation_without_a_stream(place: Place) -> None:
    (await submit(await place.fox())).stream()


@raises(errors.StreamConsumedError)
async def _a_stream_that_was_read(place: Place) -> None:
    stream = (await submit(await place.fox(), stream=True)).stream()
    await stream.completion()
    async for _ in stream:
        pass


# Answers that are not of the type.


async def parse(place: Place, **reply: Any) -> None:
    """Parse the scripted answer as a number."""
    await place.serve(replies=[reply])
    fox = await place.open()
    await fox.llm.parse(int, model="gpt-5.5", messages=PROMPT)


@raises(errors.OutputValidationError)
async def _an_answer_that_is_no_json(place: Place) -> None:
    await parse(place, text="a number")


@raises(errors.OutputTruncatedError)
async def _an_answer_that_was_cut(place: Place) -> None:
    await parse(place, text='{"value": 1', finish_reason="length")


@raises(errors.OutputRefusedError)
async def _an_answer_that_was_filtered(place: Place) -> None:
    await parse(place, text="no", finish_reason="content_filter")


# Files.


@raises(errors.UploadOutcomeUnknownError)
async def _the_answer_to_an_upload_is_lost(place: Place) -> None:
    await (await place.fox("upload:reset:late")).files.upload(SECRET.encode(), filename="a.txt")


@raises(errors.LinkExpiredError)
async def _a_link_to_no_file(place: Place) -> None:
    fox = await place.fox()
    await fox.files.download(f"{place.fault_proxy.url}/files/0/a.txt", place.folder)


@raises(errors.LinkRefusedError)
async def _a_link_that_is_no_web_page(place: Place) -> None:
    await (await place.fox()).files.download("ftp://fox.example/a.txt", place.folder)


@raises(errors.DownloadError)
async def _a_file_over_the_limit(place: Place) -> None:
    fox = await place.fox(limits=Limits(max_download_bytes=1))
    file = await fox.files.upload(SECRET.encode(), filename="a.txt")
    await fox.files.download(file, place.folder)


BRANCHES: Final = (
    errors.FoxAPIError,
    errors.InvalidRequestError,
    errors.FileTransferError,
    errors.OutputError,
    errors.TaskError,
    errors.StreamError,
)
"""Classes to catch by, of which no situation raises a bare one."""


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    """Prepare a place where something can go wrong."""
    async with AsyncExitStack() as stack:
        yield Place(stack, tmp_path)


def test_no_class_is_left_out() -> None:
    """Every class has its situation, but for those that others are caught by."""
    every = {getattr(errors, name) for name in errors.__all__}
    assert set(SITUATIONS) == every - set(BRANCHES)
    for branch in BRANCHES:
        assert any(issubclass(kind, branch) for kind in SITUATIONS)


@pytest.mark.parametrize("kind", SITUATIONS, ids=lambda kind: kind.__name__)
async def test_each_is_raised_and_keeps_its_promises(
    place: Place, kind: type[BaseException]
) -> None:
    """It is raised as itself, travels whole, prints what can be done, and shows no secret."""
    with pytest.raises(kind) as caught:
        await SITUATIONS[kind](place)
    error = caught.value
    assert type(error) is kind
    packed = pickle.dumps(error)
    for arrived in (pickle.loads(packed), copy.deepcopy(error)):
        assert type(arrived) is kind
        assert (str(arrived), repr(arrived)) == (str(error), repr(error))
        assert vars(arrived).keys() == vars(error).keys()
    printed = "".join(traceback.format_exception(error))
    assert vars(kind)["advice"]
    advice: str = getattr(error, "advice", vars(kind)["advice"])
    assert advice.rstrip(".")
    if isinstance(error, errors.FoxAPIError):
        assert printed.endswith(f"\n{advice}\n")
    assert KEY not in printed + repr(vars(error))
    assert KEY.encode() not in packed
    assert SECRET not in printed + repr(vars(error))
    # The request of a submission that may have been accepted is all that is left of it.
    assert (SECRET.encode() in packed) is (kind is errors.SubmitOutcomeUnknownError)
    for name in re.findall(r"(?<![\w.])\.([a-z_]\w+)", advice):
        assert hasattr(error, name), f"the advice speaks of .{name}"
