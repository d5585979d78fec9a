"""``fox.llm``: generations of language models."""
# pyright: reportPrivateUsage=false

from typing import Unpack, final

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from foxapi_async._catalog import MODELS
from foxapi_async._client.llm_handle import ChatStream, LLMHandle
from foxapi_async._client.params import (
    LLMParams,
    SubmitParams,
    build_request,
    encode_request,
    names_keywords,
    validate,
)
from foxapi_async._client.recover import UnknownSubmission
from foxapi_async._client.service import Service
from foxapi_async._client.streaming.delta_reader import DeltaReader
from foxapi_async._client.streaming.submit_once import SubmitOnce
from foxapi_async._client.submission import Submission, warn_unclaimed
from foxapi_async._client.submit_options import SubmitOptions
from foxapi_async._journal import Entry, EntryId
from foxapi_async._wire.completion import ChatCompletion
from foxapi_async._wire.request import GenerationRequest
from foxapi_async._wire.task import Task
from foxapi_async.config import (
    normalize_timeout,
    validate_reading_timeout,
    validate_timeout,
)
from foxapi_async.errors import ConfigError, FoxAPIError, TaskError


@final
class LLM:
    """Submits generations. Each accepted one is billed."""

    def __init__(self, service: Service) -> None:
        self._service = service

    @names_keywords(SubmitParams)
    async def submit(self, **params: Unpack[SubmitParams]) -> LLMHandle:
        """Submit a generation and return its handle as soon as the service has accepted it.

        Billed when it is accepted, and never sent twice: what provably never left is retried, and
        an answer that was lost raises ``SubmitOutcomeUnknownError``. Cancelling returns at once;
        if the generation is accepted all the same, its handle is in ``fox.unclaimed``.

        ``key`` ties the submission to your input: the same key again gives the same handle and
        sends nothing, for as long as the session lives, or for good with a journal. Raises
        ``RequestValidationError`` before anything is sent, ``TypeError`` for an unknown keyword,
        and the ``APIStatusError`` of a refusal. With a ``key``: ``RequestValidationError`` for one
        that stands for another request, ``SubmitOutcomeUnknownError`` for one whose first
        submission may have been accepted. ``JournalError`` before anything is sent when it cannot
        be written down. With ``retry_failed=True`` a key whose task failed or was cancelled is
        submitted anew, and billed, with the same request or another one; of several such calls at
        once, in any process, one is sent, and the others give its handle.
        """
        return await self._submit(build_request(params), SubmitOptions.from_params(params))

    async def resubmit(self, lost: UnknownSubmission) -> LLMHandle:
        """Submit again what ``fox.recover()`` lists as unknown, with its request and its key.

        The first submission may have been accepted, and then both are billed: look in your account
        before. Its entry is gone from the journal as soon as this one is written down. Of several
        calls for one entry, in any process, one is sent: the others give its handle if there is a
        key, or raise ``JournalError``. Raises what ``submit`` raises.
        """
        entry_id = EntryId.parse(lost.entry)
        if entry_id is None:
            raise ConfigError(f"{lost.entry[:80]!r} is no entry: pass one of fox.recover().unknown")
        return await self._submit(lost.request, SubmitOptions(key=lost.key, replaces=entry_id))

    @names_keywords(LLMParams)
    async def generate(
        self, *, timeout: float | None | UnsetType = UNSET, **params: Unpack[LLMParams]
    ) -> ChatCompletion:
        """Submit a generation and wait for its result: ``submit``, then ``handle.result``.

        ``timeout`` in seconds bounds the wait after the submit; ``Timeouts.wait`` holds where none
        is given, and ``None`` waits without end. Whatever ends the wait without a
        result, nothing paid for is lost: a ``TaskError``, such as ``TaskTimeoutError``, carries the
        task id; when the call is cancelled, the session closed or the key refused, the handle is in
        ``fox.unclaimed``, with a line in the log and the event ``SubmitUnclaimed``.
        """
        validate_timeout(timeout)
        request = build_request(params)
        model = MODELS.get(request.model)
        if model is not None and model.thinking:
            # Only a stream carries the thinking (contract Q1); awaiting the handle follows it.
            request = replace(request, stream=True)
        options = SubmitOptions.from_params(params)
        handle = await self._submit(request, options)
        try:
            return await handle.result(timeout=timeout)
        except BaseException as error:
            # The outcome of the task itself is no loss, even if it does not carry the id.
            is_outcome = handle.done() and isinstance(error, FoxAPIError)
            if not is_outcome and not isinstance(error, TaskError):
                self._service.add_orphan(
                    handle, task_id=handle.id, model=request.model, key=options.key
                )
            raise

    @names_keywords(LLMParams)
    def stream(self, *, timeout: float | None = None, **params: Unpack[LLMParams]) -> ChatStream:
        """Return a stream that submits the generation when it is entered or first read.

        Billed from then on; ``stream.handle`` is its handle. Raises at once for a bad request. A
        stream that is never started warns, because nothing was submitted. ``timeout`` bounds the
        reading in seconds, from the first read on, as in ``handle.stream(timeout=...)``.
        """
        validate_reading_timeout(timeout)
        request = replace(build_request(params), stream=True)
        self._check(request)
        options = SubmitOptions.from_params(params)
        submission = SubmitOnce(
            lambda: self._submit(request, options),
            lambda handle: self._on_orphaned(handle, request.model, options.key),
        )
        return ChatStream(
            DeltaReader(self._service, submission, timeout=normalize_timeout(timeout)), submission
        )

    def _on_orphaned(self, handle: LLMHandle, model: str, key: str | None) -> None:
        self._service.add_orphan(handle, task_id=handle.id, model=model, key=key)
        warn_unclaimed(handle.id)

    def _check(self, request: GenerationRequest) -> None:
        validate(request, self._service.options.validation)

    async def _submit(self, request: GenerationRequest, options: SubmitOptions) -> LLMHandle:
        service, key = self._service, options.key
        service.runtime.enter()
        self._check(request)

        def claim(task: Task) -> LLMHandle:
            handle = LLMHandle(service, task.id, task=task, key=key)
            if key is not None:
                service.handles[task.id] = handle
            return handle

        submission = Submission(service, request, encode_request(request), options)
        done = await submission.run(
            lambda task: service.add_orphan(
                claim(task), task_id=task.id, model=request.model, key=key
            )
        )
        return LLMHandle._from_journal(service, done) if isinstance(done, Entry) else claim(done)
