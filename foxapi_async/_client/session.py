"""The session: what you open, use and close."""
# pyright: reportPrivateUsage=false

import asyncio
import ssl as _ssl
import sys
import traceback
import warnings
from collections.abc import Sequence
from os import PathLike
from types import TracebackType
from typing import Any, Self, final

import aiohttp

from foxapi_async._client.handle import TaskHandle
from foxapi_async._client.recover import Recovery, recover
from foxapi_async._client.resources import LLM, Models, Tasks
from foxapi_async._client.runtime import Runtime
from foxapi_async._client.service import Options, Service
from foxapi_async._client.settings import check_settings, hooks_of
from foxapi_async._client.stats import Stats
from foxapi_async._client.uncopied import Uncopied
from foxapi_async._clock import Clock, LoopClock
from foxapi_async._journal import make_recorder
from foxapi_async._logging import configure_from_env
from foxapi_async._transport import Account, Transport
from foxapi_async.config import (
    Limits,
    PollPolicy,
    RetryPolicy,
    SecretString,
    StreamPolicy,
    Timeouts,
    URLObject,
    Validation,
    environment,
)
from foxapi_async.hooks import Hook

_ACCOUNT_OPTIONS = frozenset({"api_key", "base_url", "allow_http"})
_OPTIONS = frozenset(Options.__struct_fields__)
_SHARED = frozenset({"limits", "http", "trust_env", "ssl", "clock"})


@final
class FoxSession(Uncopied):
    """One account at the service, with its connections and its poller.

    Use it as ``async with FoxSession() as fox`` or call ``aclose()``. It may be built outside an
    event loop; it belongs to the first loop that it is used in.

    ``api_key`` and ``base_url`` default to ``FOXAPI_API_KEY`` and ``FOXAPI_BASE_URL``; empty
    variables count as unset. The key may be a ``SecretStr`` of pydantic, the URL an object of
    yarl, httpx or pydantic; a ``/v1`` at its end is dropped. Plain http is refused but to this
    machine, unless ``allow_http`` or ``FOXAPI_ALLOW_HTTP=1``. A setting of a wrong type is a
    ``ConfigError``.

    ``validation`` says how requests are checked before they are sent. ``hooks`` are told what
    happens. ``http`` lends an ``aiohttp.ClientSession``, which stays yours to close; ``trust_env``
    and ``ssl`` are aiohttp's.

    ``journal`` names an SQLite file, such as ``"tasks.db"``: each submission is written down before
    it is sent, so that a killed process loses nothing that was paid for (extra ``journal``).
    ``"tasks.db?synchronous=full"`` outlives a power cut too.
    """

    _instead = "use with_options() for other settings, or build one in each process"

    def __init__(
        self,
        api_key: str | SecretString | None = None,
        *,
        base_url: str | URLObject | None = None,
        timeouts: Timeouts = Timeouts(),  # noqa: B008 frozen
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008 frozen
        polling: PollPolicy = PollPolicy(),  # noqa: B008 frozen
        streaming: StreamPolicy = StreamPolicy(),  # noqa: B008 frozen
        limits: Limits = Limits(),  # noqa: B008 frozen
        validation: Validation = "known",
        journal: str | PathLike[str] | None = None,
        hooks: Sequence[Hook] = (),
        http: aiohttp.ClientSession | None = None,
        allow_http: bool | None = None,
        trust_env: bool = False,
        ssl: _ssl.SSLContext | None = None,
        clock: Clock | None = None,
    ) -> None:
        check_settings(
            timeouts=timeouts,
            retry=retry,
            polling=polling,
            streaming=streaming,
            limits=limits,
            validation=validation,
            allow_http=allow_http,
            trust_env=trust_env,
            ssl=ssl,
            clock=clock,
        )
        configure_from_env()
        account = Account.resolve(api_key, base_url, allow_http)
        clock = clock or LoopClock()
        transport = Transport(
            timeouts=timeouts, limits=limits, http=http, trust_env=trust_env, ssl=ssl, clock=clock
        )
        options = Options(
            timeouts=timeouts,
            retry=retry,
            polling=polling,
            streaming=streaming,
            validation=validation,
            journal=make_recorder(journal, clock),
            hooks=hooks_of(hooks),
        )
        self._owner = True
        self._created_at = _creation_stack() if _is_debug_mode() else ""
        self._adopt(Service(account, options, Runtime(transport, clock, limits)))

    def _adopt(self, service: Service) -> None:
        self._service = service
        self.llm: LLM = LLM(service)
        self.tasks: Tasks = Tasks(service)
        self.models: Models = Models(service)

    def with_options(self, **options: Any) -> Self:
        """Return a copy with other ``options``, which shares the connections and the poller.

        Takes the names of the constructor, but for those of the connections themselves (``limits``,
        ``http``, ``trust_env``, ``ssl``, ``clock``). Closing the copy closes nothing; closing the
        original closes both.
        """
        for name in options:
            if name in _SHARED:
                raise TypeError(
                    f"{name!r} belongs to the shared connections: build a new FoxSession"
                )
            if name not in _ACCOUNT_OPTIONS | _OPTIONS:
                raise TypeError(f"unknown option {name!r}")
        check_settings(**options)
        named = {name: options.pop(name) for name in _ACCOUNT_OPTIONS & options.keys()}
        if "hooks" in options:
            options["hooks"] = hooks_of(options["hooks"])
        if "journal" in options:
            options["journal"] = make_recorder(options["journal"], self._service.clock)
        account = self._service.account
        if named:
            account = account.replace(
                api_key=named.get("api_key"),
                base_url=named.get("base_url"),
                allow_http=named.get("allow_http"),
            )
        copy = object.__new__(type(self))
        copy._owner = False
        copy._adopt(self._service.replace(account, **options))
        return copy

    @property
    def unclaimed(self) -> Sequence[TaskHandle[Any]]:
        """Handles of generations whose caller had gone before it got one, or its result.

        They are billed; await them, or keep their ids. ``submit`` leaves one here when it was
        cancelled and the generation was accepted all the same, ``generate`` also when its wait was
        cut short. One that has been awaited to its end is dropped, and so are the oldest of more
        than 10,000: their ids were in the log, and are in the journal if there is one.
        """
        return self._service.runtime.unclaimed.handles()

    async def recover(self, *, finished: bool = False) -> Recovery:
        """Return what earlier sessions left in the journal: handles, and what nobody can know.

        Call it when a script starts again, before it submits. ``handles`` are bound to this session
        and await like any other; with ``finished`` those of finished tasks come too, and answer
        from the journal, and those of tasks that the service did not know at the last wait
        (``TaskLostError``), which are asked for again. ``unknown`` lists the submissions that may
        have been accepted and billed. Only what was submitted to this session's ``base_url`` is
        returned, and nothing that another living process is just submitting. Sends nothing.
        ``ConfigError`` without a journal, ``JournalError`` if it cannot be read.
        """
        self._service.runtime.enter()
        return await recover(self._service, finished=finished)

    def stats(self) -> Stats:
        """Return what this session has done so far and what it is doing now."""
        return self._service.runtime.stats()

    async def aclose(self) -> None:
        """Close the session; further calls do nothing.

        Whoever still waits gets ``SessionClosedError``. POSTs under way get five seconds to land,
        so that their task ids are not lost; after that, or when this is cancelled, those of which a
        byte may have left raise ``SubmitOutcomeUnknownError``. Then the journal writes down what it
        still holds: ``JournalError`` if it cannot; everything is closed all the same.
        """
        if self._owner:
            await self._service.runtime.aclose()

    async def __aenter__(self) -> Self:
        self._service.runtime.enter()
        try:
            await self._service.options.journal.open()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        state = " closed" if self._service.runtime.closed else ""
        return f"<FoxSession {self._service.account.origin}{state}>"

    def __del__(self) -> None:
        # Modules may be gone at interpreter exit; `_service` is missing if `__init__` raised.
        service = getattr(self, "_service", None)
        if service is None or sys.is_finalizing() or not self._owner:
            return
        runtime = service.runtime
        if runtime.loop is not None and not runtime.closed:
            warnings.warn(
                f"unclosed {self!r}: use `async with` or call aclose(){self._created_at}",
                ResourceWarning,
                stacklevel=1,
                source=self,
            )


def _is_debug_mode() -> bool:
    """Tell whether asyncio's debug mode is on, which is also known outside a loop."""
    try:
        return asyncio.get_running_loop().get_debug()
    except RuntimeError:
        return sys.flags.dev_mode or environment("PYTHONASYNCIODEBUG") is not None


def _creation_stack() -> str:
    """Return the stack of the code that builds a session, for the warning of an unclosed one."""
    stack = traceback.extract_stack(sys._getframe(2))
    return "\nIt was created at (most recent call last):\n" + "".join(stack.format()).rstrip()
