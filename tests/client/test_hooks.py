"""Laws of the events and the log of a session, and of what neither contains."""

import asyncio
import logging
from collections.abc import Iterator
from contextvars import Context, ContextVar

import pytest

from foxapi_async import (
    CompletionProgress,
    ConfigError,
    Exponential,
    FoxSession,
    Limits,
    LLMHandle,
    PollPolicy,
    as_completed,
)
from foxapi_async._clock import LoopClock
from foxapi_async.gateway import Gateway
from foxapi_async.hooks import (
    Event,
    RequestFinished,
    RequestStarted,
    StreamFinished,
    StreamOpened,
    StreamResumed,
    TaskFinished,
    TaskSubmitted,
    TaskUpdated,
)
from foxapi_async.testing import FaultProxy, Reset

KEY = "sk-secret-0123456789abcdef"
QUICK = PollPolicy(pacing=Exponential(initial=0.01, multiplier=1.2, max_delay=0.05))
REQUESTS = (RequestStarted, RequestFinished)
USER: ContextVar[str | None] = ContextVar("USER", default=None)


class Witness:
    """A hook that notes on whose behalf it was called."""

    def __init__(self) -> None:
        self.heard: list[tuple[Event, str | None]] = []

    def __call__(self, event: Event, /) -> None:
        """Note the event and the user of the context."""
        self.heard.append((event, USER.get()))

    def users_of(self, task_id: str) -> set[str | None]:
        """Return the users in whose context an event of the task was emitted."""
        return {user for event, user in self.heard if task_id in repr(event)}


@pytest.fixture
def quiet_after() -> Iterator[None]:
    """Put the package's logger back as it was."""
    logger = logging.getLogger("foxapi_async")
    level, handlers = logger.level, list(logger.handlers)
    yield
    logger.setLevel(level)
    logger.handlers[:] = handlers


async def test_the_events_of_a_task_are_emitted(gateway: Gateway) -> None:
    """Submitted, updated, finished: each with the task's id, and requests around them."""
    events: list[Event] = []
    async with FoxSession(KEY, base_url=gateway.url, polling=QUICK, hooks=[events.append]) as fox:
        handle = await fox.llm.submit(model="gpt-5.5", messages="count 1 to 3", key="row-17")
        await handle
    emitted = [event for event in events if not isinstance(event, REQUESTS)]
    assert emitted[0] == TaskSubmitted(task_id=handle.id, model="gpt-5.5", key="row-17")
    assert isinstance(emitted[-1], TaskFinished)
    assert (emitted[-1].status, emitted[-1].error) == ("completed", None)
    assert all(isinstance(event, TaskUpdated) for event in emitted[1:-1])
    assert sum(isinstance(event, RequestFinished) for event in events) == sum(
        isinstance(event, RequestStarted) for event in events
    )
    assert "count 1 to 3" not in repr(events)


async def submitted_by(fox: FoxSession, user: str, *, stream: bool = False) -> LLMHandle:
    """Submit on behalf of a user, as a web server does in the task of a request."""

    async def submit() -> LLMHandle:
        USER.set(user)
        return await fox.llm.submit(model="gpt-5.5", messages="count 1 to 9", stream=stream)

    return await asyncio.create_task(submit())


@pytest.mark.parametrize("stream", [False, True], ids=["polled", "followed"])
@pytest.mark.parametrize("limits", [Limits(), Limits(max_unfinished=2, polls_in_flight=1)])
async def test_the_events_of_a_task_have_the_context_of_its_submit(
    gateway: Gateway, limits: Limits, stream: bool
) -> None:
    """The events of a task are emitted in the context of its submitter, whatever polls it."""
    witness, users = Witness(), ["ann", "bob", "eve", "joe"]
    async with FoxSession(
        KEY, base_url=gateway.url, polling=QUICK, limits=limits, hooks=[witness]
    ) as fox:
        handles = await asyncio.gather(*(submitted_by(fox, user, stream=stream) for user in users))
        await asyncio.gather(*handles)
    for handle, user in zip(handles, users, strict=True):
        assert witness.users_of(handle.id) == {user}
    finished = [user for event, user in witness.heard if isinstance(event, TaskFinished)]
    assert sorted(map(str, finished)) == users


async def test_events_of_a_handle_by_id_have_the_context_that_made_it(gateway: Gateway) -> None:
    """The events of an earlier task are emitted in the context of ``tasks.handle``."""
    witness = Witness()
    async with FoxSession(KEY, base_url=gateway.url, polling=QUICK, hooks=[witness]) as fox:
        task_id = (await submitted_by(fox, "ann")).id
        await asyncio.sleep(0)  # the loop drops the finished task, and so its handle
        witness.heard.clear()
        context = Context()
        context.run(USER.set, "bob")
        again = context.run(fox.tasks.handle, task_id)
        await again
    assert witness.users_of(task_id) == {"bob"}


async def test_handles_of_one_task_share_its_outcome_and_its_events(gateway: Gateway) -> None:
    """However many handles a task has, each session's hooks and journal learn its end once."""
    first, second = Witness(), Witness()
    async with FoxSession(KEY, base_url=gateway.url, polling=QUICK, hooks=[first]) as fox:
        copy = fox.with_options(hooks=[second])
        handle = await submitted_by(fox, "ann")
        same, other = fox.tasks.handle(handle.id), copy.tasks.handle(handle.id)
        assert (same.status, other.status) == (handle.status, handle.status)
        completion = await handle
        assert await same is await other is completion
        late = fox.with_options(hooks=[second]).tasks.handle(handle.id)
        assert late.done()
    assert [user for event, user in first.heard if isinstance(event, TaskFinished)] == ["ann"]
    assert sum(isinstance(event, TaskFinished) for event, _ in second.heard) == 2


async def test_progress_is_called_in_the_context_of_its_loop(gateway: Gateway) -> None:
    """The ``progress`` of ``as_completed`` runs in the context of the iteration."""
    emitted: list[str | None] = []

    def progress(_: CompletionProgress) -> None:
        emitted.append(USER.get())

    async with FoxSession(KEY, base_url=gateway.url, polling=QUICK) as fox:
        handles = [await submitted_by(fox, user) for user in ("ann", "bob")]
        context = Context()
        context.run(USER.set, "eve")

        async def iterate() -> None:
            async for _ in as_completed(handles, progress=progress):
                pass

        await asyncio.create_task(iterate(), context=context)
    assert emitted == ["eve", "eve"]


async def test_a_timer_runs_in_an_empty_context() -> None:
    """What a clock calls serves all who use a session, so it finds none of their variables."""
    USER.set("ann")
    rung: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
    clock = LoopClock()
    clock.call_at(clock.time(), lambda: rung.set_result(USER.get()))
    assert await rung is None


async def test_the_events_of_a_stream_are_emitted(fault_proxy: FaultProxy) -> None:
    """Opened, resumed after its cut with the error's class, finished at its length."""
    events: list[Event] = []
    async with FoxSession(KEY, base_url=fault_proxy.url, hooks=[events.append]) as fox:
        handle = await fox.llm.submit(model="gpt-5.5", messages="count 1 to 3", stream=True)
        fault_proxy.on("GET", "/v1/llm/generations/*/stream", Reset(body=600), times=1)
        async with handle.stream() as stream:
            text = "".join([delta.text async for delta in stream])
    assert text == "1, 2, 3"
    opened, resumed, finished = (
        event
        for event in events
        if isinstance(event, StreamOpened | StreamResumed | StreamFinished)
    )
    assert opened == StreamOpened(task_id=handle.id, offset=0)
    assert isinstance(resumed, StreamResumed)
    assert resumed.reason == "APIConnectionError"
    assert isinstance(finished, StreamFinished)
    assert finished.error is None
    assert finished.offset >= resumed.offset > 0


async def test_no_event_is_built_without_a_hook(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a hook and without a log at DEBUG, requests and polls make no event."""

    def refuse(**_: object) -> None:
        message = "an event was built"
        raise AssertionError(message)

    for module, name in (
        ("foxapi_async._transport.attempt_trace", "RequestStarted"),
        ("foxapi_async._transport.attempt_trace", "RequestFinished"),
        ("foxapi_async._client.service_client", "TaskUpdated"),
        ("foxapi_async._client.service_client", "TaskFinished"),
        ("foxapi_async._client.streaming.report", "StreamOpened"),
        ("foxapi_async._client.streaming.report", "StreamFinished"),
    ):
        monkeypatch.setattr(f"{module}.{name}", refuse)
    async with FoxSession(KEY, base_url=gateway.url, polling=QUICK) as fox:
        await fox.llm.generate(model="gpt-5.5", messages="count 1 to 3")
        async for _ in fox.llm.stream(model="gpt-5.5", messages="count 1 to 3"):
            pass


@pytest.mark.usefixtures("quiet_after")
@pytest.mark.parametrize("level", ["info", "DEBUG"])
async def test_the_log_can_be_turned_on(
    gateway: Gateway,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    level: str,
) -> None:
    """``FOXAPI_LOG`` writes accepted ids to standard error, once, and events at debug."""
    monkeypatch.setenv("FOXAPI_LOG", level)
    FoxSession(KEY, base_url=gateway.url)
    async with FoxSession(KEY, base_url=gateway.url, polling=QUICK) as fox:
        handle = await fox.llm.submit(model="gpt-5.5", messages="count 1 to 3")
    written = capsys.readouterr().err
    assert written.count(f"INFO foxapi_async: accepted: task {handle.id}") == 1
    assert ("RequestFinished(" in written) is (level == "DEBUG")
    assert KEY not in written
    assert "count 1" not in written


def test_a_level_that_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """An invalid ``FOXAPI_LOG`` raises an error when the session is built."""
    monkeypatch.setenv("FOXAPI_LOG", "loud")
    with pytest.raises(ConfigError, match="FOXAPI_LOG must be debug or info"):
        FoxSession(KEY)


def test_the_logger_is_silent_unasked() -> None:
    """The package's logger has a handler that does nothing, so that Python adds none."""
    handlers = logging.getLogger("foxapi_async").handlers
    assert any(isinstance(handler, logging.NullHandler) for handler in handlers)
