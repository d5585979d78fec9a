"""``fox.llm``: generations of language models."""
# pyright: reportPrivateUsage=false

from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sized
from typing import Any, TypeVar, Unpack, final, overload

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from foxapi_async._catalog import MODELS
from foxapi_async._client.billed_tasks import BilledTasks
from foxapi_async._client.budget_meter import BudgetMeter
from foxapi_async._client.llm_handle import ChatStream, LLMHandle
from foxapi_async._client.params import (
    PROMPT_FORMS,
    AudioParams,
    LLMParams,
    ParseParams,
    PromptParams,
    SubmitParams,
    VideoParams,
    VisionParams,
    build_request,
    check_keywords,
    names_keywords,
    validate,
)
from foxapi_async._client.progress_bar import ProgressBar
from foxapi_async._client.reask import Reask
from foxapi_async._client.recover import UnknownSubmission
from foxapi_async._client.row_generation import (
    RowGeneration,
    RowSettings,
    check_map_settings,
    check_rows,
)
from foxapi_async._client.row_map import InFlight, MapEngine, OnRowProgress, RowMap, Unknown
from foxapi_async._client.service_client import ServiceClient
from foxapi_async._client.streaming.delta_reader import DeltaReader
from foxapi_async._client.streaming.submit_once import SubmitOnce
from foxapi_async._client.submission import warn_unclaimed
from foxapi_async._client.submit_options import SubmitOptions
from foxapi_async._journal import EntryId
from foxapi_async._output.output_type import is_type
from foxapi_async._output.parse import parse_completion
from foxapi_async._wire.completion import ChatCompletion
from foxapi_async._wire.request import LLMRequest
from foxapi_async._wire.task import Task
from foxapi_async._wire.type_adapter import TypeAdapterLike
from foxapi_async.config import (
    Budget,
    normalize_timeout,
    validate_reading_timeout,
    validate_timeout,
)
from foxapi_async.errors import OutputError

R = TypeVar("R")
T = TypeVar("T")


@final
class LLM:
    """``fox.llm``: submits generations of language models. Each accepted one is billed."""

    def __init__(self, service: ServiceClient) -> None:
        self._service = service
        self._tasks = BilledTasks(service, _new_handle, LLMHandle._from_journal)

    @overload
    async def submit(self, **params: Unpack[SubmitParams]) -> LLMHandle: ...
    @overload
    async def submit(self, *, stream: bool = ..., **params: Unpack[PromptParams]) -> LLMHandle: ...
    @overload
    async def submit(self, *, stream: bool = ..., **params: Unpack[VisionParams]) -> LLMHandle: ...
    @overload
    async def submit(self, *, stream: bool = ..., **params: Unpack[VideoParams]) -> LLMHandle: ...
    @overload
    async def submit(self, *, stream: bool = ..., **params: Unpack[AudioParams]) -> LLMHandle: ...
    @names_keywords(SubmitParams, *PROMPT_FORMS)
    async def submit(self, **params: Any) -> LLMHandle:
        """Submit a generation and return its handle as soon as the service has accepted it.

        A request has ``messages``, or one of four simpler forms: ``prompt``, ``prompt`` with
        ``image_urls`` or ``video_urls``, or ``audio_url`` with or without ``prompt``.

        It is billed when it is accepted. The POST is sent again only if no byte of it was sent. A
        cancelled call returns at once; if the generation is accepted afterwards, its handle is in
        ``fox.unclaimed``.

        ``key`` names the input of the submission. A second call with the same key returns the same
        handle and sends nothing, while the session is open, or permanently with a journal. Without
        a journal, a key whose task has ended before those of 10,000 later keys is refused. With
        ``retry_failed=True``, a key whose task failed or was cancelled is submitted again, with the
        same request or another one, and billed. Of several such calls at the same
        time, in any process, one sends its request, and the others return the same handle.

        Returns:
            The handle of the task.

        Raises:
            TypeError: A keyword is unknown, or belongs to another form. Nothing was sent.
            RequestValidationError: The request is invalid, or ``key`` stands for another request.
                Nothing was sent.
            SubmitOutcomeUnknownError: The service may have accepted the generation, now or when
                ``key`` was first submitted, but its response was lost.
            APIStatusError: The service rejected the generation, which is not billed.
            APIConnectionError: The service was not reached. Nothing was sent.
            JournalError: The submission could not be recorded, or the entry of ``key`` cannot be
                read. Nothing was sent.
        """
        return await self._tasks.submit(build_request(params), SubmitOptions.from_params(params))

    async def resubmit(self, submission: UnknownSubmission) -> LLMHandle:
        """Submit a generation of unknown outcome again, with its request and its key.

        The first submission may have been accepted, and then both are billed: look in your account
        first. The entry of the first is removed from the journal when the second is recorded.

        Args:
            submission: One of ``fox.recover().unknown``.

        Returns:
            The handle of the new task. Of several calls for one entry, in any process, one is sent:
            the others return its handle if there is a key, and raise ``JournalError`` otherwise.

        Raises:
            ConfigError: ``submission`` names no entry, or is of a media task.
            FoxAPIError: Any error of ``submit``.
        """
        return await self._tasks.resubmit(submission, resource="llm")

    @overload
    async def generate(
        self, *, timeout: float | None | UnsetType = ..., **params: Unpack[LLMParams]
    ) -> ChatCompletion: ...
    @overload
    async def generate(
        self, *, timeout: float | None | UnsetType = ..., **params: Unpack[PromptParams]
    ) -> ChatCompletion: ...
    @overload
    async def generate(
        self, *, timeout: float | None | UnsetType = ..., **params: Unpack[VisionParams]
    ) -> ChatCompletion: ...
    @overload
    async def generate(
        self, *, timeout: float | None | UnsetType = ..., **params: Unpack[VideoParams]
    ) -> ChatCompletion: ...
    @overload
    async def generate(
        self, *, timeout: float | None | UnsetType = ..., **params: Unpack[AudioParams]
    ) -> ChatCompletion: ...
    @names_keywords(LLMParams, *PROMPT_FORMS)
    async def generate(
        self, *, timeout: float | None | UnsetType = UNSET, **params: Any
    ) -> ChatCompletion:
        """Submit a generation and wait for its result: ``submit``, then ``handle.result``.

        Each error after the submit leads to the billed task: a ``TaskError``, such as
        ``TaskTimeoutError``, has the task id. When the call is cancelled, the session is closed or
        the key is rejected, the handle is in ``fox.unclaimed``, a warning is logged and the event
        ``SubmitUnclaimed`` is emitted.

        Args:
            timeout: Seconds of the wait after the submit; ``Timeouts.wait`` by default. ``None``
                waits without a limit, 0 polls once.
            **params: The keywords of ``submit``, without ``stream``.

        Returns:
            The completion.

        Raises:
            FoxAPIError: Any error of ``submit`` or of ``handle.result``.
        """
        validate_timeout(timeout)
        request = build_request(params)
        return await self._generate(request, SubmitOptions.from_params(params), timeout)

    async def _generate(
        self, request: LLMRequest, options: SubmitOptions, timeout: float | None | UnsetType
    ) -> ChatCompletion:
        completion: ChatCompletion = await self._tasks.generate(
            _with_reasoning(request), options, timeout
        )
        return completion

    @overload
    async def parse(
        self,
        type: type[T],
        /,
        *,
        reasks: int = ...,
        timeout: float | None | UnsetType = ...,
        **params: Unpack[ParseParams],
    ) -> T: ...
    @overload
    async def parse(
        self,
        type: TypeAdapterLike[T],
        /,
        *,
        reasks: int = ...,
        timeout: float | None | UnsetType = ...,
        **params: Unpack[ParseParams],
    ) -> T: ...
    @overload
    async def parse(
        self,
        type: Any,
        /,
        *,
        reasks: int = ...,
        timeout: float | None | UnsetType = ...,
        **params: Unpack[ParseParams],
    ) -> Any: ...
    @names_keywords(ParseParams)
    async def parse(
        self,
        type: Any,
        /,
        *,
        reasks: int = 0,
        timeout: float | None | UnsetType = UNSET,
        **params: Any,
    ) -> Any:
        """Submit a generation whose answer is JSON of ``type``, and return it as a value of it.

        It is ``generate(response_format=type, ...)`` and ``completion.parse(type)``. Who wants the
        completion too, such as its usage, uses these two.

        With ``reasks``, an answer that is not of the type is sent back to the model with what is
        wrong. Each of these generations is billed. A refused or truncated answer is not asked for
        again. With ``key``, the second generation has the key ``key#2``, the third ``key#3``, so
        that a journal pays none of them twice. A line of the log at INFO says that one is made.

        Args:
            type: A msgspec struct, dataclass, ``TypedDict``, ``NamedTuple``, attrs class, enum,
                pydantic model or ``TypeAdapter``, or a container or union of them.
            reasks: How many further generations, each of them billed, may be made.
            timeout: Seconds of the wait after each submit, as in ``generate``.
            **params: The keywords of ``submit``, without ``stream`` and ``response_format``.

        Returns:
            The value.

        Raises:
            OutputValidationError: The answer is not a value of the type.
            OutputTruncatedError: The answer ends at the limit of tokens.
            OutputRefusedError: The model refused, or a filter held the answer back.
            RequestValidationError: The request is invalid, or a model cannot be asked for the type.
                Nothing was sent.
            TypeError: ``type`` is a value and no type. Nothing was sent.
            FoxAPIError: Any error of ``generate``.
        """
        if "response_format" in params:
            raise TypeError("parse() has its response_format from the type: leave the keyword out")
        if not is_type(type):
            raise TypeError(
                "parse() needs a type itself, such as a dataclass or list[int]: pass a JSON "
                "schema to generate(response_format=...) instead"
            )
        validate_timeout(timeout)
        reask = Reask.from_params(reasks, params)
        request = build_request({**params, "response_format": type})
        options = SubmitOptions.from_params(params)
        while True:
            completion = await self._generate(request, options, timeout)
            try:
                return parse_completion(completion, type)
            except OutputError as error:
                if not reask.count(error):
                    raise
                request, options = reask.next(request, options, error)

    @overload
    def stream(self, *, timeout: float | None = ..., **params: Unpack[LLMParams]) -> ChatStream: ...
    @overload
    def stream(
        self, *, timeout: float | None = ..., **params: Unpack[PromptParams]
    ) -> ChatStream: ...
    @overload
    def stream(
        self, *, timeout: float | None = ..., **params: Unpack[VisionParams]
    ) -> ChatStream: ...
    @overload
    def stream(
        self, *, timeout: float | None = ..., **params: Unpack[VideoParams]
    ) -> ChatStream: ...
    @overload
    def stream(
        self, *, timeout: float | None = ..., **params: Unpack[AudioParams]
    ) -> ChatStream: ...
    @names_keywords(LLMParams, *PROMPT_FORMS)
    def stream(self, *, timeout: float | None = None, **params: Any) -> ChatStream:
        """Return a stream that submits the generation when it is entered or first read.

        It is billed from then on; ``stream.handle`` is its handle. A stream that is never started
        submits nothing, and warns of that.

        Args:
            timeout: Seconds that reading may take, from the first read on, as in
                ``handle.stream(timeout=...)``. ``None`` is no limit.
            **params: The keywords of ``submit``, without ``stream``.

        Returns:
            The stream, to be used in ``async with``.

        Raises:
            TypeError: A keyword is unknown, or belongs to another form.
            RequestValidationError: The request is invalid.
            ConfigError: ``timeout`` is not above 0.
        """
        validate_reading_timeout(timeout)
        request = replace(build_request(params), stream=True)
        validate(request, self._service.options.validation)
        options = SubmitOptions.from_params(params)

        def on_unclaimed(handle: LLMHandle) -> None:
            self._tasks.add_unclaimed(handle, request, options)
            warn_unclaimed(handle.id)

        submission = SubmitOnce(lambda: self._tasks.submit(request, options), on_unclaimed)
        reader = DeltaReader(self._service, submission, timeout=normalize_timeout(timeout))
        return ChatStream(reader, submission)

    def map(
        self,
        rows: Iterable[R] | AsyncIterable[R],
        *,
        model: str | Callable[[R], str],
        key: Callable[[R], str] | None = None,
        in_flight: InFlight = 256,
        ordered: bool = False,
        raise_errors: bool = False,
        attempts: int = 1,
        unknown: Unknown = "error",
        retry_failed: bool = False,
        budget: Budget | None = None,
        timeout: float | None | UnsetType = UNSET,
        progress: OnRowProgress | bool | None = None,
        **params: Any,
    ) -> RowMap[R]:
        """Generate a completion for each row of a source of any length, many at a time.

        Each row is a ``generate``, and is billed like one. Rows are read as their outcomes are
        taken, so memory is that of what is in flight, and a slow loop slows the source down. The
        error of a row is its outcome. These end the whole map, and are raised after the outcomes of
        the rows in flight: an error of the source or of ``progress``, a budget that is used up, an
        API key that is rejected, a balance that is used up, a journal that cannot be written, and
        a closed session.

        Leaving the loop stops reading rows. Tasks that are accepted go on: their handles are in
        ``fox.unclaimed``, and with ``key`` a second map finds them.

        Args:
            rows: The rows. Reading them must not block, because it happens in the event loop.
            model: The id of the model, or a function of the row.
            key: A function of the row that names its input, as ``key`` of ``submit`` does. Rows
                with one key have one task. With a journal, a second run submits only what is
                missing.
            in_flight: How many rows may be between the source and the caller. ``"auto"`` finds the
                number: it rises while results come faster, and is halved after a 429 and when rows
                queue at the service.
            ordered: Whether outcomes come in the order of the rows. A slow row then holds back
                those behind it, and at most ``in_flight`` rows wait.
            raise_errors: Whether the error of a row is raised. That leaves the loop.
            attempts: How many generations a row may take if its task fails for a reason that does
                not lie in the request. Each is billed. With ``key``, the second has the key
                ``key#2``: rows with one key, and later runs, go on with the attempt that is due.
            unknown: What is done with a row whose submission in an earlier run may have been
                accepted: ``"error"`` makes it an outcome with ``SubmitOutcomeUnknownError``,
                ``"skip"`` leaves it out, ``"resubmit"`` submits it again, which may bill it twice.
            retry_failed: Whether a key whose task failed in an earlier run is submitted again.
            budget: What the rows may cost in all, beside the budget of the session.
            timeout: Seconds of the wait for each task; ``Timeouts.wait`` by default. ``None``
                waits without a limit.
            progress: Called after each outcome with a ``RowProgress``. ``True`` shows a bar, in a
                terminal or a notebook (extra ``notebook``).
            **params: The keywords of ``generate``, each a value or a function of the row. A
                function that returns ``msgspec.UNSET`` leaves its keyword out.

        Returns:
            An iterator of the outcomes; nothing is read before its first step.

        Raises:
            TypeError: A keyword is unknown or missing.
            ConfigError: A setting has a wrong value, or tqdm is missing for ``progress=True``.
        """
        validate_timeout(timeout)
        check_rows(rows)
        check_map_settings(
            in_flight=in_flight,
            attempts=attempts,
            unknown=unknown,
            key=key,
            budget=budget,
            progress=progress,
        )
        params["model"] = model
        check_keywords(params)
        settings = RowSettings(
            params=params,
            key=key,
            attempts=attempts,
            unknown=unknown,
            retry_failed=retry_failed,
            timeout=timeout,
        )
        service = self._service
        if budget is not None:
            budgets = (*service.options.budgets, BudgetMeter(budget))
            service = service.replace(service.account, budgets=budgets)
        bar = None
        if progress is True:
            bar = ProgressBar(len(rows) if isinstance(rows, Sized) else None, "row")
        engine = MapEngine(
            rows,
            RowGeneration(service, LLM(service)._submit_row, settings),
            in_flight=in_flight,
            ordered=ordered,
            raise_errors=raise_errors,
            progress=bar if isinstance(progress, bool) else progress,
            on_end=bar.close if bar is not None else None,
        )
        service.runtime.maps.add(engine)
        return RowMap(engine)

    async def _submit_row(
        self, params: Mapping[str, Any], *, replaces: EntryId | None
    ) -> tuple[LLMHandle, bool]:
        options = SubmitOptions.from_params(params)
        if replaces is not None:
            options = replace(options, replaces=replaces)
        return await self._tasks.submit_or_find(_with_reasoning(build_request(params)), options)


def _new_handle(service: ServiceClient, task: Task, key: str | None) -> LLMHandle:
    return LLMHandle(service, task.id, task=task, key=key)


def _with_reasoning(request: LLMRequest) -> LLMRequest:
    """Ask for a stream if only that has the reasoning (contract Q1); a wait follows it."""
    model = MODELS.get(request.model)
    return replace(request, stream=True) if model is not None and model.thinking else request
