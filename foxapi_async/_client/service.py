"""The service as one session sees it: whose account, which policies, which connections."""

import asyncio
import logging
import os
from collections.abc import Callable
from contextlib import AsyncExitStack
from contextvars import Context
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from msgspec import Struct
from msgspec.structs import replace

from foxapi_async._client.admission import AdmissionControl
from foxapi_async._client.polling.poller import Poller
from foxapi_async._client.streaming.idle_watchdog import IdleWatchdog
from foxapi_async._client.submitter import Submitter
from foxapi_async._client.unclaimed import SupportsDone, Unclaimed
from foxapi_async._clock import Clock
from foxapi_async._journal import JournalBackend
from foxapi_async._protocol.pacing import Pacer, create_pacer
from foxapi_async._protocol.retry import Effect
from foxapi_async._transport import Account, OnRetry, RequestSpec, StreamBody, Transport, decode
from foxapi_async._wire.base import Decoder, WireStruct
from foxapi_async._wire.paths import (
    LLM_MODELS,
    SUBMIT_LLM,
    is_task_id,
    stream_path,
    task_path,
)
from foxapi_async._wire.results import ModelInfo, model_list_decoder
from foxapi_async._wire.task import Task, query_decoder, submit_decoder, with_pending_status
from foxapi_async.config import (
    Limits,
    PollPolicy,
    RetryPolicy,
    StreamPolicy,
    Timeouts,
    Validation,
)
from foxapi_async.errors import (
    InvalidResponseError,
    InvalidTaskIdError,
    RateLimitError,
    SessionClosedError,
)
from foxapi_async.hooks import Event, Hook, SubmitUnclaimed

_log = logging.getLogger("foxapi_async")

_CLOSED = "the session is closed; build a new FoxSession"

S = TypeVar("S", bound=WireStruct)

_UPSTREAM = {"sync_upstream": "true"}


class Options(Struct, frozen=True, kw_only=True):
    """What a session and its ``with_options`` copies may each have of their own."""

    timeouts: Timeouts
    retry: RetryPolicy
    polling: PollPolicy
    streaming: StreamPolicy
    validation: Validation
    hooks: tuple[Hook, ...]
    journal: JournalBackend


class Runtime:
    """What a session shares with its copies: connections, the poller, the submissions, the loop."""

    def __init__(self, transport: Transport, clock: Clock, limits: Limits) -> None:
        self.transport = transport
        self.clock = clock
        self.limits = limits
        self.poller: Poller = Poller(clock, limits)
        self.room: AdmissionControl = AdmissionControl(clock, limits, self.poller)
        self.submitter: Submitter = Submitter(self.room, clock)
        self.loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0
        self.closed: bool = False
        self.streams: IdleWatchdog = IdleWatchdog(clock)
        self.unclaimed: Unclaimed = Unclaimed()
        self.journals: list[JournalBackend] = []

    def enter(self) -> None:
        """Bind to the running loop at the first use; refuse another loop, and a closed session."""
        loop = asyncio.get_running_loop()
        if self.closed:
            raise SessionClosedError(_CLOSED)
        if self.loop is None:
            self.loop = loop
            self._pid = os.getpid()
        elif self.loop is not loop:
            if self._is_forked:
                raise RuntimeError(
                    "this FoxSession belongs to the process that this one was forked from: build "
                    "one FoxSession in each process"
                )
            raise RuntimeError(
                "this FoxSession belongs to another event loop: its connections live there; "
                "build one FoxSession for each asyncio.run()"
            )

    async def aclose(self) -> None:
        """Wake the waiters, let POSTs under way land, close the journals and the connections."""
        self.closed = True
        # What a fork has inherited is still in use: it can close nothing without harm.
        if self.loop is None or self._is_forked:
            return
        self.streams.stop(SessionClosedError(_CLOSED))
        self.room.close()
        async with AsyncExitStack() as stack:
            # The last comes first, and none is left out should another fail or be cancelled.
            stack.push_async_callback(self.transport.aclose)
            # Only when no POST is under way is all known that is to be written down.
            for journal in self.journals:
                stack.push_async_callback(journal.aclose)
            stack.push_async_callback(self.submitter.aclose)
            stack.push_async_callback(self.poller.aclose)

    @property
    def _is_forked(self) -> bool:
        return self._pid != os.getpid()


class Service:
    """Calls of the service, with the policies of one session."""

    __slots__ = ("account", "core", "handles", "options", "pacer")

    def __init__(
        self, account: Account, options: Options, core: Runtime, learnt: Pacer | None = None
    ) -> None:
        self.account: Account = account
        self.options: Options = options
        self.core: Runtime = core
        # The handles of what has an entry in the journal, by their ids: one key, one handle.
        self.handles: WeakValueDictionary[str, Any] = WeakValueDictionary()
        if options.journal not in core.journals:
            core.journals.append(options.journal)
        self.pacer: Pacer = create_pacer(options.polling.pacing) if learnt is None else learnt

    def with_(self, account: Account, **changes: Any) -> "Service":
        """Return the same service under another account or other options.

        While its pacing is the same, it shares what was learnt of the models' durations.
        """
        options = replace(self.options, **changes)
        same = options.polling.pacing == self.options.polling.pacing
        return Service(account, options, self.core, self.pacer if same else None)

    @property
    def polling(self) -> PollPolicy:
        """How patient the poller is."""
        return self.options.polling

    @property
    def clock(self) -> Clock:
        """The session's time."""
        return self.core.clock

    async def look(
        self, task_id: str, *, hollow: bool = False, context: Context | None = None
    ) -> tuple[Task, float | None]:
        """Ask for a task once: a failed look is the poller's to judge."""
        query = _UPSTREAM if self.options.polling.sync_upstream and not hollow else None
        # The id was checked, so it cannot leave its segment.
        answer = await self.core.transport.poll(
            self.account,
            task_path(task_id),
            query,
            timeouts=self.options.timeouts,
            emit=self.ear_in(context),
        )
        return _same_task(decode(query_decoder, answer), task_id), answer.retry_after

    async def fetch_task(self, task_id: str) -> Task:
        """Ask for a task, with the retries of a read."""
        return _same_task(await self._fetch(task_path(task_id), query_decoder), task_id)

    async def fetch_models(self) -> tuple[ModelInfo, ...]:
        """Ask for the models that this key may use."""
        return (await self._fetch(LLM_MODELS, model_list_decoder)).data

    async def submit(self, body: bytes) -> Task:
        """Make the billed POST; ``Ambiguous`` when the service may have accepted it unheard."""
        call = RequestSpec(effect=Effect.BILLED, method="POST", path=SUBMIT_LLM, body=body)
        try:
            task = with_pending_status(await self._send(call, submit_decoder, self._retrying))
        except RateLimitError as limited:
            self.core.room.pause(limited.retry_after)
            raise
        if is_task_id(task.id) and task.status:
            self.core.room.accepted(task, self)
        return task

    def _retrying(self, _attempt: int, delay: float, reason: str) -> None:
        """Let no other submission start until the one that was told to slow down goes on."""
        if reason == RateLimitError.__name__:
            self.core.room.pause(delay)

    async def open_stream(self, task_id: str, offset: int) -> StreamBody:
        """Open the task's event stream at ``offset`` by one single attempt."""
        query = {"offset": str(offset)} if offset else None
        return await self.core.transport.open_stream(
            self.account,
            stream_path(task_id),
            query,
            timeouts=self.options.timeouts,
            emit=self.ear,
        )

    def disown(self, handle: SupportsDone, *, task_id: str, model: str, key: str | None) -> None:
        """Keep the handle of a billed task that has lost its caller, and tell everybody of it."""
        if self.core.unclaimed.add(handle):
            _log.warning("task %s is billed and its caller has gone: see fox.unclaimed", task_id)
            self.emit(SubmitUnclaimed(task_id=task_id, model=model, key=key))

    def emit(self, event: Event) -> None:
        """Tell every hook, and the log at DEBUG; one that raises is logged and breaks nothing."""
        _log.debug("%r", event)
        for hook in self.options.hooks:
            try:
                hook(event)
            except Exception:  # noqa: BLE001 logged: a watcher must not break what it watches
                _log.exception("a hook raised on %s", type(event).__name__)

    @property
    def ear(self) -> Callable[[Event], None] | None:
        """What takes an event, or ``None`` while nobody listens: then none need be built."""
        if self.options.hooks or _log.isEnabledFor(logging.DEBUG):
            return self.emit
        return None

    def ear_in(self, context: Context | None) -> Callable[[Event], None] | None:
        """Return what tells the hooks in ``context``, such as that of a task's submit."""
        ear = self.ear
        if ear is None or context is None:
            return ear
        return lambda event: context.run(ear, event)

    def tell(self, event: Event, context: Context | None) -> None:
        """Tell the hooks of ``event`` in ``context``."""
        if (ear := self.ear_in(context)) is not None:
            ear(event)

    async def _fetch(self, path: str, reader: Decoder[S]) -> S:
        self.core.enter()
        return await self._send(RequestSpec(effect=Effect.READ, method="GET", path=path), reader)

    async def _send(
        self, call: RequestSpec, reader: Decoder[S], on_retry: OnRetry | None = None
    ) -> S:
        options = self.options
        return await self.core.transport.fetch(
            self.account,
            call,
            reader,
            retry=options.retry,
            timeouts=options.timeouts,
            emit=self.ear,
            on_retry=on_retry,
        )


def check_task_id(task_id: object) -> str:
    """Return ``task_id``, or raise ``InvalidTaskIdError`` if it must not enter a path."""
    # Ids come from files and databases too, where a missing one is no text.
    if isinstance(task_id, str) and is_task_id(task_id):
        return str.__str__(task_id)
    raise InvalidTaskIdError(
        f"{str(task_id)[:80]!r} is not a task id: "
        "1 to 256 letters, digits and . _ : - as the service gave it"
        + ("" if isinstance(task_id, str) else f", got {type(task_id).__name__}")
    )


def _same_task(task: Task, task_id: str) -> Task:
    """Return ``task``, which need not repeat its id; an answer with another one is refused."""
    if task.id == task_id:
        return task
    said = task.id or task.extra.get("id")
    if said:
        raise InvalidResponseError(
            f"asked for task {task_id}, the service answered with {str(said)[:80]!r}"
        )
    return replace(task, id=task_id)
