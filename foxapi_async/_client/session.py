"""The session: what users open, use and close, and the check of its settings."""
# pyright: reportPrivateUsage=false

import asyncio
import ssl as _ssl
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Sequence
from inspect import iscoroutinefunction
from os import PathLike
from types import TracebackType
from typing import Any, Final, Self, cast, final

import aiohttp

from foxapi_async._client.budget_meter import BudgetMeter, BudgetUse
from foxapi_async._client.files import Files
from foxapi_async._client.handle import TaskHandle
from foxapi_async._client.llm import LLM
from foxapi_async._client.media import Media
from foxapi_async._client.recover import Recovery, recover
from foxapi_async._client.runtime import Runtime
from foxapi_async._client.service_client import Options, ServiceClient
from foxapi_async._client.stats import Stats
from foxapi_async._client.tasks import Models, Tasks
from foxapi_async._client.uncopied import Uncopied
from foxapi_async._clock import Clock, LoopClock, is_clock
from foxapi_async._environment import environment
from foxapi_async._journal import make_journal
from foxapi_async._logging import configure_from_env
from foxapi_async._transport import Account, Transport
from foxapi_async.config import (
    Budget,
    Limits,
    PollPolicy,
    RetryPolicy,
    SecretString,
    StreamPolicy,
    Timeouts,
    URLObject,
    Validation,
)
from foxapi_async.errors import ConfigError
from foxapi_async.hooks import Hook

_ACCOUNT_OPTIONS = frozenset({"api_key", "base_url", "allow_http"})
_OPTIONS = (frozenset(Options.__struct_fields__) - {"budgets"}) | {"budget"}
_SHARED = frozenset({"limits", "http", "trust_env", "ssl", "clock"})


@final
class FoxSession(Uncopied):
    """One account at the service, with its connections and its poller.

    Use it as ``async with FoxSession() as fox``, or call ``aclose()``. It may be built outside an
    event loop, and belongs to the first loop that it is used in. Empty environment variables count
    as unset.

    Args:
        api_key: The API key, as a text or a ``SecretStr`` of pydantic; ``FOXAPI_API_KEY`` by
            default.
        base_url: The URL of the service, as a text or a URL object of yarl, httpx or pydantic;
            ``FOXAPI_BASE_URL`` by default. A ``/v1`` at its end is dropped.
        timeouts: The timeouts of requests and of waits.
        retry: How failed calls are retried.
        polling: How tasks are polled.
        streaming: How streams are followed.
        limits: What the session may use at a time.
        validation: How requests are checked before they are sent.
        journal: An SQLite file, such as ``"tasks.db"`` (extra ``journal``). Each submission is
            recorded there before it is sent, so that a killed process loses nothing that is paid
            for. ``"tasks.db?synchronous=full"`` survives a power failure too. Many machines share
            a database of a PostgreSQL server, such as ``"postgresql://user@host/database"`` (extra
            ``postgres``).
        budget: What the submissions may cost in all.
        hooks: Functions that get the events of the session.
        http: A borrowed ``aiohttp.ClientSession``, which stays yours to close.
        allow_http: Whether plain http is allowed to other machines; ``FOXAPI_ALLOW_HTTP`` by
            default.
        trust_env: Whether the proxies of the environment are used, as in aiohttp.
        ssl: The TLS settings, as in aiohttp.
        clock: The clock of all timeouts and delays.

    Raises:
        ConfigError: A setting has the wrong type or cannot work.
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
        budget: Budget | None = None,
        hooks: Sequence[Hook] = (),
        http: aiohttp.ClientSession | None = None,
        allow_http: bool | None = None,
        trust_env: bool = False,
        ssl: _ssl.SSLContext | None = None,
        clock: Clock | None = None,
    ) -> None:
        _check_settings(
            timeouts=timeouts,
            retry=retry,
            polling=polling,
            streaming=streaming,
            limits=limits,
            validation=validation,
            budget=budget,
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
            journal=make_journal(journal, clock),
            budgets=_meters_of(budget),
            hooks=_hooks_of(hooks),
        )
        self._owner = True
        self._created_at = _creation_stack() if _is_debug_mode() else ""
        self._adopt(ServiceClient(account, options, Runtime(transport, clock, limits)))

    def _adopt(self, service: ServiceClient) -> None:
        self._service = service
        self.llm: LLM = LLM(service)
        self.images: Media = Media(service, "image")
        self.videos: Media = Media(service, "video")
        self.audios: Media = Media(service, "audio")
        self.documents: Media = Media(service, "document")
        self.tasks: Tasks = Tasks(service)
        self.models: Models = Models(service)
        self.files: Files = Files(service)

    def with_options(self, **options: Any) -> Self:
        """Return a copy with other options, which shares the connections and the poller.

        Closing the copy closes nothing; closing the original closes both.

        Args:
            **options: Arguments of ``FoxSession``, except ``limits``, ``http``, ``trust_env``,
                ``ssl`` and ``clock``, which belong to the shared connections.

        Returns:
            The copy.

        Raises:
            TypeError: An option is unknown or belongs to the connections.
            ConfigError: An option has the wrong type or cannot work.
        """
        for name in options:
            if name in _SHARED:
                raise TypeError(
                    f"{name!r} belongs to the shared connections: build a new FoxSession"
                )
            if name not in _ACCOUNT_OPTIONS | _OPTIONS:
                raise TypeError(f"unknown option {name!r}")
        _check_settings(**options)
        named = {name: options.pop(name) for name in _ACCOUNT_OPTIONS & options.keys()}
        if "hooks" in options:
            options["hooks"] = _hooks_of(options["hooks"])
        if "budget" in options:
            options["budgets"] = _meters_of(options.pop("budget"))
        if "journal" in options:
            options["journal"] = make_journal(options["journal"], self._service.clock)
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
        """The handles of billed generations that no caller has got, the newest last.

        Await them, or keep their ids. ``submit`` adds one when it is cancelled and the generation
        is accepted nevertheless, ``generate`` also when its wait is cut short. A handle is removed
        when its outcome is known, and the oldest when there are more than 10,000. All ids are in
        the log, and in the journal if there is one.
        """
        return self._service.runtime.unclaimed.handles()

    async def recover(self, *, finished: bool = False) -> Recovery:
        """Return the submissions of earlier sessions that the journal holds. Sends nothing.

        Call it when a program starts again, before it submits. Only submissions to the ``base_url``
        of this session are returned, without those that another running process is sending.

        Args:
            finished: Whether the handles of finished tasks are returned too, whose results come
                from the journal, and of tasks that the service did not know at the last wait
                (``TaskLostError``), which are polled again.

        Returns:
            The handles, bound to this session, and the submissions that may have been accepted and
            billed.

        Raises:
            ConfigError: The session has no journal.
            JournalError: The journal cannot be read.
        """
        self._service.runtime.enter()
        return await recover(self._service, finished=finished)

    @property
    def budget(self) -> BudgetUse | None:
        """What the submissions under the budget of the session have cost; ``None`` without one.

        With a journal, its entries count from the first submission on.
        """
        return self._service.runtime.spending.use(self._service)

    def stats(self) -> Stats:
        """Return the counters of this session and its ``with_options`` copies."""
        return self._service.runtime.stats()

    async def aclose(self) -> None:
        """Close the session; further calls do nothing.

        Waiters get ``SessionClosedError``. POSTs under way have five seconds to complete, so that
        no task id is lost. After that, or when this call is cancelled, a POST of which a byte may
        have left raises ``SubmitOutcomeUnknownError``. Then the journal is written and closed.

        Raises:
            JournalError: The journal could not be written. Everything is closed nevertheless.
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


def _check_settings(**settings: object) -> None:
    """Raise ``ConfigError`` for the first setting of a wrong type; its text names the right one."""
    for name, value in settings.items():
        if name in _RULES:
            fits, wanted = _RULES[name]
            if not fits(value):
                raise ConfigError(f"{name} must be {wanted}, got {_shown(value)}")


def _meters_of(budget: Budget | None) -> tuple[BudgetMeter, ...]:
    return () if budget is None else (BudgetMeter(budget),)


def _hooks_of(hooks: object) -> tuple[Hook, ...]:
    """Return the hooks; ``ConfigError`` if one of them cannot be called with an event."""
    if callable(hooks) or not isinstance(hooks, Iterable):
        raise ConfigError(f"hooks must be a list of functions, got {_shown(hooks)}: pass [hook]")
    listed = tuple(cast("Iterable[object]", hooks))
    for number, hook in enumerate(listed):
        if not callable(hook):
            raise ConfigError(
                f"hooks[{number}] must be a function of one event, got {_shown(hook)}"
            )
        if iscoroutinefunction(hook):
            raise ConfigError(
                f"hooks[{number}] must not be a coroutine function, which would never be awaited: "
                "start a task in a plain function"
            )
    return cast("tuple[Hook, ...]", listed)


def _one_of(kind: type, *, optional: bool = False) -> Callable[[object], bool]:
    return lambda value: isinstance(value, kind) or (optional and value is None)


def _shown(value: object) -> str:
    # Never the value itself, because a misplaced argument may be the API key.
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__


_RULES: Final[dict[str, tuple[Callable[[Any], bool], str]]] = {
    "timeouts": (_one_of(Timeouts), "Timeouts(...), as in Timeouts(wait=60)"),
    "retry": (_one_of(RetryPolicy), "RetryPolicy(...), as in RetryPolicy(attempts=3)"),
    "polling": (_one_of(PollPolicy), "PollPolicy(...), as in PollPolicy(pacing=Fixed(5))"),
    "streaming": (_one_of(StreamPolicy), "StreamPolicy(...), as in StreamPolicy(idle_timeout=30)"),
    "budget": (_one_of(Budget, optional=True), "Budget(...) or None, as in Budget(credits=20)"),
    "limits": (_one_of(Limits), "Limits(...), as in Limits(max_unfinished=50)"),
    "validation": (
        lambda value: isinstance(value, str) and value in {"known", "strict", "off"},
        "'known', 'strict' or 'off'",
    ),
    "allow_http": (_one_of(bool, optional=True), "True, False or None"),
    "trust_env": (_one_of(bool), "True or False"),
    "ssl": (
        _one_of(_ssl.SSLContext, optional=True),
        "an ssl.SSLContext or None, as in ssl.create_default_context(cafile=...)",
    ),
    "clock": (
        lambda value: value is None or is_clock(value),
        "an object with time(), unix() and call_at(), or None",
    ),
}
