# Written by `python docs/generate.py` from the asynchronous classes. Do not edit.
"""The types of the blocking session, which are those of the asynchronous one without `async`."""

import os
import ssl as _ssl
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from foxapi_async._client.budget_meter import BudgetUse
from foxapi_async._client.files import UploadSource
from foxapi_async._client.params import (
    AudioParams,
    LLMParams,
    ParseParams,
    PromptParams,
    SubmitParams,
    VideoParams,
    VisionParams,
)
from foxapi_async._client.recover import UnknownSubmission, UnreadableEntry
from foxapi_async._client.row_map import InFlight, OnRowProgress, Unknown
from foxapi_async._client.stats import Stats
from foxapi_async._client.uploads import Via
from foxapi_async._clock import Clock
from foxapi_async._wire.chunk import Delta
from foxapi_async._wire.completion import ChatCompletion
from foxapi_async._wire.media_request import Kind, MediaKind
from foxapi_async._wire.media_results import MediaResult, MediaResults
from foxapi_async._wire.model_list import ModelInfo
from foxapi_async._wire.task import Task
from foxapi_async._wire.transfer_progress import OnTransfer
from foxapi_async._wire.type_adapter import TypeAdapterLike
from foxapi_async._wire.uploaded_file import UploadedFile
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
from foxapi_async.hooks import Hook
from msgspec import UNSET, Struct, UnsetType
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeAlias, TypeVar, Unpack, final, overload

T = TypeVar('T')
R = TypeVar('R')
H = TypeVar('H', bound=TaskHandle[Any])
OnProgress: TypeAlias = Callable[[CompletionProgress], object]

__all__ = ["LLM", "ByteStream", "ChatStream", "CompletionProgress", "Files", "FoxSession", "LLMHandle", "Media", "Models", "Recovery", "RowMap", "RowOutcome", "TaskHandle", "Tasks", "as_completed"]

@final
class LLM:
    """``fox.llm``: submits generations of language models. Each accepted one is billed."""
    @overload
    def submit(self, **params: Unpack[SubmitParams]) -> LLMHandle:
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
    @overload
    def submit(self, *, stream: bool = ..., **params: Unpack[PromptParams]) -> LLMHandle: ...
    @overload
    def submit(self, *, stream: bool = ..., **params: Unpack[VisionParams]) -> LLMHandle: ...
    @overload
    def submit(self, *, stream: bool = ..., **params: Unpack[VideoParams]) -> LLMHandle: ...
    @overload
    def submit(self, *, stream: bool = ..., **params: Unpack[AudioParams]) -> LLMHandle: ...
    def resubmit(self, submission: UnknownSubmission) -> LLMHandle:
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
    @overload
    def generate(
        self,
        *,
        timeout: float | None | UnsetType = ...,
        **params: Unpack[LLMParams],
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
    @overload
    def generate(
        self,
        *,
        timeout: float | None | UnsetType = ...,
        **params: Unpack[PromptParams],
    ) -> ChatCompletion: ...
    @overload
    def generate(
        self,
        *,
        timeout: float | None | UnsetType = ...,
        **params: Unpack[VisionParams],
    ) -> ChatCompletion: ...
    @overload
    def generate(
        self,
        *,
        timeout: float | None | UnsetType = ...,
        **params: Unpack[VideoParams],
    ) -> ChatCompletion: ...
    @overload
    def generate(
        self,
        *,
        timeout: float | None | UnsetType = ...,
        **params: Unpack[AudioParams],
    ) -> ChatCompletion: ...
    @overload
    def parse(
        self,
        type: type[T],
        /,
        *,
        reasks: int = ...,
        timeout: float | None | UnsetType = ...,
        **params: Unpack[ParseParams],
    ) -> T:
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
    @overload
    def parse(
        self,
        type: TypeAdapterLike[T],
        /,
        *,
        reasks: int = ...,
        timeout: float | None | UnsetType = ...,
        **params: Unpack[ParseParams],
    ) -> T: ...
    @overload
    def parse(
        self,
        type: Any,
        /,
        *,
        reasks: int = ...,
        timeout: float | None | UnsetType = ...,
        **params: Unpack[ParseParams],
    ) -> Any: ...
    @overload
    def stream(self, *, timeout: float | None = ..., **params: Unpack[LLMParams]) -> ChatStream:
        """Return a stream that submits the generation when it is entered or first read.

        It is billed from then on; ``stream.handle`` is its handle. A stream that is never started
        submits nothing, and warns of that.

        Args:
            timeout: Seconds that reading may take, from the first read on, as in
                ``handle.stream(timeout=...)``. ``None`` is no limit.
            **params: The keywords of ``submit``, without ``stream``.

        Returns:
            The stream, to be used in ``with``.

        Raises:
            TypeError: A keyword is unknown, or belongs to another form.
            RequestValidationError: The request is invalid.
            ConfigError: ``timeout`` is not above 0.
        """
    @overload
    def stream(self, *, timeout: float | None = ..., **params: Unpack[PromptParams]) -> ChatStream: ...
    @overload
    def stream(self, *, timeout: float | None = ..., **params: Unpack[VisionParams]) -> ChatStream: ...
    @overload
    def stream(self, *, timeout: float | None = ..., **params: Unpack[VideoParams]) -> ChatStream: ...
    @overload
    def stream(self, *, timeout: float | None = ..., **params: Unpack[AudioParams]) -> ChatStream: ...
    def map(
        self,
        rows: Iterable[R],
        *,
        model: str | Callable[[R], str],
        key: Callable[[R], str] | None = None,
        in_flight: InFlight = 256,
        ordered: bool = False,
        raise_errors: bool = False,
        attempts: int = 1,
        unknown: Unknown = 'error',
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
            rows: The rows. Reading them must not block, because it happens in the loop thread.
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

@final
class Files:
    """``fox.files``: uploads and downloads files. Neither is billed."""
    def upload(
        self,
        source: UploadSource,
        *,
        filename: str | None = None,
        auto_cleanup: bool = True,
        via: Via | None = None,
        reuse: bool = True,
        progress: OnTransfer | None = None,
        timeout: float | None | UnsetType = UNSET,
    ) -> UploadedFile:
        """Upload a file and return its link, which is valid for 72 hours.

        A file is read while it is sent, so memory does not grow with its size. It is sent once:
        the same content under the same name gives the same link until six hours before that ends,
        while the session is open, or in every session with the same journal. What can be read once
        only, such as an iterator, is always sent.

        An upload is a write without an idempotency key: it is sent again only if no byte of it was
        sent. Cancelling closes the connection; the service may have stored the file.

        Args:
            source: A path, bytes, a file that is open for reading bytes, an iterator of bytes for
                ``for``, or an http(s) URL, which the service fetches itself. An open file is
                read from its start if it can be rewound.
            filename: The name of the file; that of the path by default.
            auto_cleanup: Whether the service deletes the oldest files when its storage is full.
                Otherwise it then refuses the upload.
            via: How it is sent: ``"stream"`` as it is read, which is the default, ``"base64"`` as
                JSON, with all of it in memory, or ``"url"``, the default for a URL.
            reuse: Whether the link of an earlier upload may be returned, and this one kept. Without
                it the file is not hashed.
            progress: Called with a ``TransferProgress`` about once for each megabyte that is sent.
            timeout: Seconds of all attempts; ``Timeouts.call`` by default. ``None``: no limit. An
                attempt ends also when nothing is sent or answered for ``Timeouts.submit``.

        Returns:
            The file.

        Raises:
            UploadOutcomeUnknownError: The response was lost: the file may be stored.
            PermissionDeniedError: The storage is full and ``auto_cleanup`` is false.
            ContentTooLargeError: The service accepts no file of this size.
            APIStatusError: The service refused it for another reason.
            APIConnectionError: The service was not reached. Nothing was sent.
            ValueError: The file is empty, or a text is no URL.
            OSError: The file cannot be read.
        """
    def download(
        self,
        file: str | UploadedFile | MediaResult | URLObject,
        path: str | os.PathLike[str] = '.',
        *,
        filename: str | None = None,
        overwrite: bool = False,
        progress: OnTransfer | None = None,
        timeout: float | None = None,
    ) -> Path:
        """Download a link to a file, and return its path.

        The file has its name only when it is whole; until then it is a hidden file with the ending
        ``.part`` beside it, which is deleted on every way out. After a cut the download goes on
        where it was if a strong ``ETag`` or an old ``Last-Modified`` proves that the file is the
        same, and begins anew otherwise. The API key is not sent.

        Args:
            file: The link, what ``upload`` returned, or a result of a media task: its first link.
            path: A folder, or the path of the file. A folder that does not exist ends with ``/``.
            filename: The name for a file in a folder; by default that of the result, the response
                or the link. It is made safe for every file system, and numbered if it is in use.
            overwrite: Whether a file of that name is replaced.
            progress: Called with a ``TransferProgress`` every two megabytes or so.
            timeout: Seconds of the whole download. ``None``: no limit.

        Returns:
            The path.

        Raises:
            FileExistsError: The path exists and ``overwrite`` is false.
            LinkExpiredError: 403, 404 or 410: the service no longer has the file.
            LinkRefusedError: The link leads to a private address, or to no http(s) URL.
            DownloadError: The file cannot be had, is larger than ``Limits.max_download_bytes`` or
                than the room on the disk.
            ValueError: The result has no link.
            APITimeoutError: ``timeout`` ran out.
            OSError: The file cannot be written.
        """
    def save(
        self,
        files: Iterable[str | UploadedFile | MediaResult | URLObject],
        folder: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        progress: OnTransfer | None = None,
    ) -> list[Path]:
        """Download several files into a folder, and return their paths in the same order.

        ``Limits.transfers`` are under way at a time. If some fail, the others are stored
        nevertheless, and then the first error is raised. A result without a link is left out.

        Args:
            files: The ``MediaResults`` of a task, or links and results of any.
            folder: The folder, which is made if it does not exist.
            overwrite: Whether files of the same names are replaced; otherwise the new ones get
                numbers.
            progress: Called with a ``TransferProgress`` of one of the files at a time.

        Returns:
            The paths.

        Raises:
            FoxAPIError: The errors of ``download``.
            OSError: A file cannot be written.
        """
    def iter_bytes(self, file: str | UploadedFile | MediaResult | URLObject) -> ByteStream:
        """Return the bytes behind a link, as ``for chunk in fox.files.iter_bytes(url)``.

        The link is opened by the first step, and read on after a cut as in ``download``. It counts
        for no limit but ``Limits.max_download_bytes``.

        Args:
            file: The link, what ``upload`` returned, or a result of a media task: its first link.

        Returns:
            An iterator of bytes for ``for``, each chunk of at most some hundred kilobytes. It
            raises the errors of ``download``, and ``DownloadError`` for a file that has changed
            after bytes of it were delivered.
        """

@final
class Media:
    """``fox.images``, ``fox.videos``, ``fox.audios`` or ``fox.documents``: submits media tasks.

    Each accepted one is billed. The parameters depend on the model, and the service refuses others:
    ``foxapi models --media MODEL`` and ``media_catalog()`` have those of the known models.
    """
    kind: MediaKind
    def submit(
        self,
        *,
        model: str,
        prompt: str | None | UnsetType = UNSET,
        key: str | None = None,
        retry_failed: bool = False,
        extra_headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
        **params: Any,
    ) -> TaskHandle[MediaResults]:
        """Submit a media task and return its handle as soon as the service has accepted it.

        It is billed when it is accepted. The POST is sent again only if no byte of it was sent. A
        cancelled call returns at once; if the task is accepted afterwards, its handle is in
        ``fox.unclaimed``. There is no stream: wait for the handle, or iterate over its ``updates()``.

        Args:
            model: The id of the model.
            prompt: The text of the prompt; not every model takes one. ``None`` is sent as null.
            key: Your own name of the input, 1 to 512 characters, as in ``fox.llm.submit``: a second
                submission with the same key returns the same handle and is not billed.
            retry_failed: Whether a key whose task failed or was cancelled is submitted again, which
                is billed.
            extra_headers: Headers of the POST, in addition to the SDK's own.
            extra: Parameters that have the name of a keyword of this function.
            **params: The parameters of the model, such as ``image_urls`` or ``duration``. One that
                is ``msgspec.UNSET`` is not sent; ``None`` is sent as null.

        Returns:
            The handle of the task.

        Raises:
            TypeError: A parameter is given twice. Nothing was sent.
            RequestValidationError: The request breaks the known rules of its model, or ``key``
                stands for another request. Nothing was sent.
            SubmitOutcomeUnknownError: The service may have accepted the task, now or when ``key``
                was first submitted, but its response was lost.
            APIStatusError: The service rejected the task, which is not billed.
            APIConnectionError: The service was not reached. Nothing was sent.
            BudgetExceededError: A budget has too little left. Nothing was sent.
            JournalError: The submission could not be recorded, or the entry of ``key`` cannot be
                read. Nothing was sent.
        """
    def generate(
        self,
        *,
        model: str,
        prompt: str | None | UnsetType = UNSET,
        key: str | None = None,
        retry_failed: bool = False,
        extra_headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
        timeout: float | None | UnsetType = UNSET,
        **params: Any,
    ) -> MediaResults:
        """Submit a media task and wait for its results: ``submit``, then ``handle.result``.

        Each error after the submit leads to the billed task: a ``TaskError``, such as
        ``TaskTimeoutError``, has the task id. When the call is cancelled, the session is closed or
        the key is rejected, the handle is in ``fox.unclaimed``, a warning is logged and the event
        ``SubmitUnclaimed`` is emitted.

        Args:
            model: The id of the model.
            prompt: The text of the prompt; not every model takes one.
            key: As in ``submit``.
            retry_failed: As in ``submit``.
            extra_headers: As in ``submit``.
            extra: As in ``submit``.
            timeout: Seconds of the wait after the submit; ``Timeouts.wait`` by default. ``None``
                waits without a limit, 0 polls once.
            **params: The parameters of the model, as in ``submit``.

        Returns:
            The results.

        Raises:
            FoxAPIError: Any error of ``submit`` or of ``handle.result``.
        """
    def resubmit(self, submission: UnknownSubmission) -> TaskHandle[MediaResults]:
        """Submit a task of unknown outcome again, with its request and its key.

        The first submission may have been accepted, and then both are billed: look in your account
        first. The entry of the first is removed from the journal when the second is recorded.

        Args:
            submission: One of ``fox.recover().unknown``, of this kind.

        Returns:
            The handle of the new task. Of several calls for one entry, in any process, one is sent:
            the others return its handle if there is a key, and raise ``JournalError`` otherwise.

        Raises:
            ConfigError: ``submission`` names no entry, or is of another kind.
            FoxAPIError: Any error of ``submit``.
        """

@final
class Models:
    """``fox.models``: the models of the service."""
    def list(self) -> tuple[ModelInfo, ...]:
        """Return the models that this key may use (unbilled). Failed attempts are retried.

        Returns:
            The models.

        Raises:
            FoxAPIError: The error of the last attempt.
        """

@final
class Tasks:
    """``fox.tasks``: finds tasks by their ids."""
    def get(self, task_id: str) -> Task:
        """Return the current snapshot of a task (unbilled). Failed attempts are retried.

        Args:
            task_id: The id of the task.

        Returns:
            The snapshot.

        Raises:
            InvalidTaskIdError: The text cannot be a task id. Nothing was sent.
            NotFoundError: The service does not know the task.
            FoxAPIError: The error of the last attempt.
        """
    @overload
    def handle(self, task: str, kind: Literal['llm'] = 'llm') -> LLMHandle:
        """Return a handle of a task that was submitted anywhere, at any time. Sends nothing.

        Args:
            task: The id of the task, or a ``Task``. A final ``Task`` gives a handle whose result is
                known.
            kind: What the task makes, which decides the type of the result. By default that of the
                ``Task``, and ``"llm"`` for an id.

        Returns:
            The handle.

        Raises:
            InvalidTaskIdError: The text cannot be a task id.
            ConfigError: ``kind`` is not one of the five, or differs from that of the ``Task``.
        """
    @overload
    def handle(self, task: Task, kind: Literal['llm']) -> LLMHandle: ...
    @overload
    def handle(self, task: str | Task, kind: MediaKind) -> TaskHandle[MediaResults]: ...
    @overload
    def handle(self, task: Task, kind: None = None) -> LLMHandle | TaskHandle[MediaResults]: ...

@final
class ByteStream:
    """The bytes of a file, as ``for chunk in stream``.

    Leave it by ``with``, read it to its end, or call ``close()``. It can be read once.
    """
    @property
    def size(self) -> int | None:
        """The size of the file in bytes; ``None`` before the first chunk, or if it is not known."""
    def __iter__(self) -> Self: ...
    def __next__(self) -> bytes: ...
    def close(self) -> None:
        """Close the connection; further calls do nothing."""
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

@final
class ChatStream:
    """The chunks of a generation while it runs: each exactly once, in order, to the end.

    ``for delta in stream`` ends after the last chunk. When a connection is lost, the stream
    is opened again at the next chunk. Leaving the loop closes the connection at once. So does
    cancelling a read, which loses nothing: the next read continues. Use ``with`` for a stream
    that has a name; one that is dropped half-read warns. A loop over a temporary stream closes it
    by the reference counts of CPython.

    Raises:
        TaskFailedError: On reading: the task has failed.
        TaskCancelledError: On reading: the task was cancelled.
        StreamInterruptedError: On reading: the stream was lost, and the stored result does not
            continue it. ``.cursor`` and ``.partial`` have the position and the text.
        StreamExpiredError: On reading: the service has dropped the chunks, and the text before the
            position is not known here.
        StreamUnavailableError: On reading: the task has no stream.
        StreamConsumedError: On reading: the stream was closed.
        TaskTimeoutError: On reading: ``timeout`` has expired. The task continues.
        TaskLostError: On reading: the service does not know the task.
        SessionClosedError: On reading: the session was closed.
        APIStatusError: On reading: the service refuses the key.
    """
    @property
    def handle(self) -> LLMHandle:
        """The handle of the generation; ``fox.llm.stream`` has it once it is entered or read."""
    @property
    def offset(self) -> int:
        """The number of chunks that were read, including those before ``stream(offset=…)``."""
    @property
    def cursor(self) -> str:
        """The position as a short opaque text, for ``handle.stream(resume=cursor)``."""
    @property
    def reasoning_complete(self) -> bool:
        """Whether all reasoning was delivered. False if the stored result had to replace chunks."""
    @property
    def parsed(self) -> Any:
        """The value of the type of ``partials``, once its iteration has ended."""
    def partials(self, type: Any, /) -> Iterator[Any]:
        """Read the stream, and yield the answer as plain data while it is written.

        Each item is new data: dicts, lists, texts, numbers, booleans and ``None``. Texts grow,
        and a member or an item is there once it has begun; the answer is checked at its end only.
        Until then, ``None`` may stand for a member that is not given, and a dict for a tuple. There
        is one item for each read from the network at most, and fewer where an answer is long.

        Args:
            type: The type, as in ``completion.parse``. Submit the generation with
                ``response_format=`` of the same type.

        Returns:
            An iterator. Its last item is the data of the whole answer, and ``parsed`` is then
            the value of the type.

        Raises:
            ConfigError: The extra ``partials`` is not installed.
            TypeError: The type is not supported.
            OutputError: On reading: at the end, the answer is not a value of the type.
            FoxAPIError: On reading: an error of reading the stream, or of ``completion``.
        """
    def snapshot(self) -> ChatCompletion:
        """Return the completion that the chunks read so far add up to.

        After ``stream(resume=…)`` or ``stream(offset=…)`` it includes the chunks before the
        position once the first chunk after it was read, unless the stream was lost by then.

        Returns:
            The completion so far; ``source`` is ``"stream"``.
        """
    def completion(self) -> ChatCompletion:
        """Read the rest of the stream and return the whole completion, as waiting for the handle does.

        Returns:
            The result of the task, with the reasoning of the stream.

        Raises:
            StreamConsumedError: The stream was closed before its end.
            StreamInterruptedError: Nothing proves that the text is whole.
            FoxAPIError: What reading the stream or waiting for the handle raises.
        """
    def close(self) -> None:
        """Close the stream. The task continues, and its handle can still be waited for.

        A read that waits raises ``StreamConsumedError``. Closing twice does nothing.
        """
    def __iter__(self) -> Iterator[Delta]: ...
    def __next__(self) -> Delta: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

@final
class FoxSession:
    """One account at the service, with its connections and its poller.

    Use it as ``with FoxSession() as fox``, or call ``close()``. Several threads may share it. Empty environment variables count
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
    llm: LLM
    images: Media
    videos: Media
    audios: Media
    documents: Media
    tasks: Tasks
    models: Models
    files: Files
    def __init__(
        self,
        api_key: str | SecretString | None = None,
        *,
        base_url: str | URLObject | None = None,
        timeouts: Timeouts = ...,
        retry: RetryPolicy = ...,
        polling: PollPolicy = ...,
        streaming: StreamPolicy = ...,
        limits: Limits = ...,
        validation: Validation = 'known',
        journal: str | PathLike[str] | None = None,
        budget: Budget | None = None,
        hooks: Sequence[Hook] = ...,
        allow_http: bool | None = None,
        trust_env: bool = False,
        ssl: _ssl.SSLContext | None = None,
        clock: Clock | None = None,
    ) -> None: ...
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
    @property
    def unclaimed(self) -> Sequence[TaskHandle[Any]]:
        """The handles of billed generations that no caller has got, the newest last.

        Wait for them, or keep their ids. ``submit`` adds one when it is cancelled and the generation
        is accepted nevertheless, ``generate`` also when its wait is cut short. A handle is removed
        when its outcome is known, and the oldest when there are more than 10,000. All ids are in
        the log, and in the journal if there is one.
        """
    def recover(self, *, finished: bool = False) -> Recovery:
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
    @property
    def budget(self) -> BudgetUse | None:
        """What the submissions under the budget of the session have cost; ``None`` without one.

        With a journal, its entries count from the first submission on.
        """
    def stats(self) -> Stats:
        """Return the counters of this session and its ``with_options`` copies."""
    def close(self) -> None:
        """Close the session; further calls do nothing.

        Waiters get ``SessionClosedError``. POSTs under way have five seconds to complete, so that
        no task id is lost. After that, or when this call is cancelled, a POST of which a byte may
        have left raises ``SubmitOutcomeUnknownError``. Then the journal is written and closed.

        Raises:
            JournalError: The journal could not be written. Everything is closed nevertheless.
        """
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

class TaskHandle(Generic[R]):
    """One task at the service, which can be waited for anywhere and any number of times.

    ``handle.result()`` is ``handle.result()``. The task is polled only while something waits for
    it. A wait that is cancelled or times out does not stop the task, which stays billed. All
    handles of a task in a session share its snapshot and its outcome. A handle is pickled as its id
    and kind; bind the copy to a session before you use it. ``copy`` returns the handle itself.
    """
    @property
    def id(self) -> str:
        """The id of the task. With it, any process can wait for the result."""
    @property
    def kind(self) -> Kind:
        """What the task makes."""
    @property
    def key(self) -> str | None:
        """The ``key`` of the submission, or ``None``."""
    @property
    def task(self) -> Task | None:
        """The last snapshot of the task in this session; ``None`` before the first."""
    @property
    def model(self) -> str | None:
        """The model, or ``None`` if no snapshot has it."""
    @property
    def created(self) -> int | None:
        """When the service accepted the task, in Unix seconds; ``None`` if no snapshot has it."""
    @property
    def request_id(self) -> str | None:
        """The id of the HTTP request that submitted the task, for support questions.

        ``None`` for a task submitted elsewhere, and where the service sent no ``x-request-id``.
        """
    @property
    def status(self) -> str | None:
        """The status in the last snapshot; ``Status`` has the documented ones."""
    @property
    def progress(self) -> int:
        """The progress in the last snapshot, 0 to 100."""
    def done(self) -> bool:
        """Return whether the outcome is known in this session, so that waiting for returns at once."""
    def result(self, timeout: float | None | UnsetType = UNSET) -> R:
        """Wait for the end of the task and return its result, by polling (unbilled).

        Args:
            timeout: Seconds to wait; ``Timeouts.wait`` by default. ``None`` waits without a limit.
                0 polls once, for as long as that poll takes.

        Returns:
            The result, at once if the outcome is known.

        Raises:
            TaskFailedError: The task failed.
            TaskCancelledError: The service cancelled the task.
            TaskTimeoutError: The timeout expired. The task goes on: wait for it again.
            TaskLostError: The service did not know the task at several polls, or all polls failed
                for ``PollPolicy.give_up_after``.
            EmptyResultError: The task is completed without results (contract Q2).
            InvalidResponseError: The results cannot be decoded.
            StreamInterruptedError: The stream was cut, and the stored completion lacks text of it.
            APIStatusError: The service rejects the key or the query.
            SessionClosedError: The session is closed.
            UnboundHandleError: The handle was unpickled and not bound.
        """
    def updates(self) -> Iterator[Task]:
        """Yield a snapshot at each change of status or progress, the final one last.

        The task is polled only while you wait for the next snapshot. The end of a failed task ends
        the iteration too: see the last snapshot, or wait for the handle.

        Yields:
            The snapshots, the known one first.

        Raises:
            TaskTimeoutError: No change came within ``Timeouts.wait``.
            FoxAPIError: An error of ``result`` that is not the outcome of the task.
        """
    def refresh(self) -> Task:
        """Return the current snapshot of the task (unbilled). Failed attempts are retried.

        Returns:
            The snapshot, which all handles of the task then have.

        Raises:
            NotFoundError: The service does not know the task.
            FoxAPIError: The error of the last attempt.
        """
    def bind(self, fox: FoxSession) -> Self:
        """Bind an unpickled handle to a session. Sends nothing.

        Args:
            fox: The session that the handle is to use.

        Returns:
            The handle itself.
        """

@final
class LLMHandle(TaskHandle[ChatCompletion]):
    """A generation at the service; its result is a ``ChatCompletion``."""
    @property
    def is_streamed(self) -> bool | None:
        """Whether the task has a stream; ``None`` if that is not known yet."""
    def stream(
        self,
        *,
        offset: int = 0,
        resume: str | None = None,
        timeout: float | None = None,
    ) -> ChatStream:
        """Stream the generation from its first chunk on (unbilled).

        Args:
            offset: The number of chunks to skip. Their content is not known then, so the stream
                cannot be completed from the stored result.
            resume: The ``cursor`` of an earlier stream, of any process: the stream goes on after
                the last chunk that was read there.
            timeout: The seconds that the reading may take. Without it, there is no limit.

        Returns:
            A stream that connects at the first read.

        Raises:
            StreamUnavailableError: The generation was not submitted with ``stream=True``.
            ConfigError: ``offset``, ``resume`` or ``timeout`` is invalid.
            TypeError: Both ``offset`` and ``resume`` are given.
        """
    @overload
    def parse(self, type: type[T], /, *, timeout: float | None | UnsetType = ...) -> T:
        """Wait for the result, and return the value of ``type`` that the answer is.

        Args:
            type: The type, as in ``completion.parse``. Submit the generation with
                ``response_format=`` of the same type.
            timeout: Seconds to wait, as in ``result``.

        Returns:
            The value.

        Raises:
            OutputError: The answer is not a value of the type: one of its three subclasses.
            TypeError: The type is not supported.
            FoxAPIError: Any error of ``result``.
        """
    @overload
    def parse(self, type: TypeAdapterLike[T], /, *, timeout: float | None | UnsetType = ...) -> T: ...
    @overload
    def parse(self, type: Any, /, *, timeout: float | None | UnsetType = ...) -> Any: ...

@final
class RowMap(Generic[R]):
    """An iterator of the outcomes of ``fox.llm.map``.

    Rows are read as their outcomes are taken: at most ``in_flight`` rows are between the source and
    the caller. Leaving the loop, or ``close``, stops reading rows. The tasks that are accepted go
    on and are billed: their handles are in ``fox.unclaimed``.
    """
    def __iter__(self) -> Self: ...
    def __next__(self) -> RowOutcome[R]: ...
    def close(self) -> None:
        """Stop reading rows and end the waits; further calls do nothing."""

class CompletionProgress(Struct, frozen=True, kw_only=True):
    """How far ``as_completed`` has come."""
    done: int
    """Handles whose wait has ended."""
    total: int | None
    """All handles; ``None`` if they come from an iterator, whose length is not known."""
    handle: TaskHandle[Any]
    """The handle whose wait ended last."""
    error: Exception | None
    """What ended its wait without an outcome, such as ``TaskTimeoutError``; ``None`` for a task
    that ended, failed ones included.
    """

class Recovery(Struct, frozen=True, kw_only=True):
    """The result of ``fox.recover()``; each tuple is in the order of submission."""
    handles: tuple[LLMHandle | TaskHandle[MediaResults], ...]
    """Handles of the tasks that are not finished, bound to this session."""
    unknown: tuple[UnknownSubmission, ...]
    """Submissions that may have been accepted and billed."""
    unreadable: tuple[UnreadableEntry, ...] = ...
    """Entries whose rows are damaged."""

class RowOutcome(Struct, Generic[R], frozen=True, kw_only=True):
    """How the generation of one row has ended: with a completion or an error."""
    input: R
    """The row, as the source gave it."""
    index: int
    """The position of the row in the source, from 0."""
    key: str | None
    """The key of the submission, or ``None``."""
    completion: ChatCompletion | None
    """The completion; ``None`` if there is an error."""
    error: Exception | None
    """Why there is no completion, or ``None``."""
    handle: LLMHandle | None
    """The handle of the last task of the row; ``None`` if none is known. After a
    ``TaskTimeoutError`` it still leads to the result.
    """
    attempts: int
    """How many generations were submitted for the row, each of which is billed; 0 if the row was
    refused before it was sent.
    """
    seconds: float
    """Seconds from reading the row to its outcome."""

def as_completed(
    handles: Iterable[H],
    *,
    in_flight: int = 256,
    progress: OnProgress | bool | None = None,
) -> Iterator[H]:
    """Iterate over ``handles`` as their tasks finish, failed ones included.

    Wait for each handle for its result or its error: it returns at once. A handle whose wait ended
    without an outcome, such as by ``TaskTimeoutError``, is yielded too. No task of the loop thread
    is created for a handle, so a hundred thousand of them are fine. Several tasks may iterate at
    once; each handle goes to one of them. Leaving the loop ends the remaining waits; the tasks go
    on at the service.

    All handles of a list, or of another collection, are waited for from the first step on. An
    iterator is read as its handles are yielded, so it may be of any length, and
    a generator may submit what it yields. Handles that are yielded are forgotten. If
    reading fails, the error is raised after the handles that were read. If the loop is left, those
    of an iterator that this session has submitted are in ``fox.unclaimed``.

    Args:
        handles: The handles; repeated ones are yielded once.
        in_flight: How many handles of an iterator may be between it and the
            caller.
        progress: Called for each handle as soon as it is done, even while the body of the loop
            runs. An error that it raises is raised by the loop. ``True`` shows a bar, in a terminal
            or a notebook (extra ``notebook``).

    Raises:
        TypeError: ``handles`` is no source of handles; while iterating, an item is no handle.
        ConfigError: ``in_flight`` is not at least 1, or tqdm is missing for ``progress=True``.
    """
