"""``fox.images``, ``fox.videos``, ``fox.audios`` and ``fox.documents``: media tasks."""
# pyright: reportPrivateUsage=false

from collections.abc import Mapping
from typing import Any, Final, final

from msgspec import UNSET, UnsetType

from foxapi_async._client.billed_tasks import BilledTasks
from foxapi_async._client.handle import MediaHandle, TaskHandle
from foxapi_async._client.recover import UnknownSubmission, resource_of
from foxapi_async._client.service_client import ServiceClient
from foxapi_async._client.submit_options import SubmitOptions
from foxapi_async._wire.base import Extra
from foxapi_async._wire.jsonable import NotJSONError, to_jsonable
from foxapi_async._wire.media_request import MediaKind, MediaRequest
from foxapi_async._wire.media_results import MediaResults
from foxapi_async._wire.task import Task
from foxapi_async._wire.violation import Violation
from foxapi_async.config import validate_timeout
from foxapi_async.errors import RequestValidationError


@final
class Media:
    """``fox.images``, ``fox.videos``, ``fox.audios`` or ``fox.documents``: submits media tasks.

    Each accepted one is billed. The parameters depend on the model, and the service refuses others:
    ``foxapi models --media MODEL`` and ``media_catalog()`` have those of the known models.
    """

    def __init__(self, service: ServiceClient, kind: MediaKind) -> None:
        self.kind: MediaKind = kind
        """What the tasks make: ``image``, ``video``, ``audio`` or ``document``."""
        self._tasks = BilledTasks(service, self._new_handle, MediaHandle._from_journal)

    async def submit(
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
        ``fox.unclaimed``. There is no stream: await the handle, or iterate over its ``updates()``.

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
        request = build_media_request(self.kind, model, prompt, params, extra)
        options = _options(key, retry_failed=retry_failed, extra_headers=extra_headers)
        return await self._tasks.submit(request, options)

    async def generate(
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
        validate_timeout(timeout)
        request = build_media_request(self.kind, model, prompt, params, extra)
        options = _options(key, retry_failed=retry_failed, extra_headers=extra_headers)
        results: MediaResults = await self._tasks.generate(request, options, timeout)
        return results

    async def resubmit(self, submission: UnknownSubmission) -> TaskHandle[MediaResults]:
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
        return await self._tasks.resubmit(submission, resource=resource_of(self.kind))

    def _new_handle(self, service: ServiceClient, task: Task, key: str | None) -> MediaHandle:
        return MediaHandle(service, task.id, self.kind, submitted=task, key=key)


# What the service would answer without a task id, or with a stream that media tasks do not have.
_REFUSED: Final = {
    "sync": "must not be true: the response would have no task id",
    "stream": "is not known to media tasks, which have no stream",
}


def build_media_request(
    kind: MediaKind,
    model: str,
    prompt: str | None | UnsetType,
    params: Mapping[str, Any],
    extra: Mapping[str, Any] | None = None,
) -> MediaRequest:
    """Build the request from the keywords of a submit.

    Raises:
        TypeError: A parameter is given twice.
        RequestValidationError: A value has no JSON form, or is refused for every model.
    """
    extra = {} if extra is None else extra
    if not isinstance(model, str):  # pyright: ignore[reportUnnecessaryIsInstance] not checked at runtime
        raise _rejected("model", f"must be a text, got {type(model).__name__}")
    if not isinstance(extra, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] not checked at runtime
        raise _rejected("extra", f"must be a dict of parameters, got {type(extra).__name__}")
    members = {**({} if prompt is UNSET else {"prompt": prompt}), **params}
    if twice := extra.keys() & {"model", *members}:
        raise TypeError(f"{min(twice)!r} is given twice: as a keyword and in extra=...")
    members |= extra
    for name, reason in _REFUSED.items():
        if members.get(name):
            raise _rejected(name, reason)
    try:
        value: Any = to_jsonable({"model": model, **members})
    except NotJSONError as error:
        raise _rejected(error.path or "request", error.reason) from None
    except RecursionError:
        raise _rejected("request", "is nested too deep, or contains itself") from None
    return MediaRequest(kind=kind, model=value.pop("model"), params=Extra(value))


def _options(
    key: str | None, *, retry_failed: bool, extra_headers: Mapping[str, str] | None
) -> SubmitOptions:
    return SubmitOptions.from_params(
        {"key": key, "retry_failed": retry_failed, "extra_headers": extra_headers}
    )


def _rejected(param: str, message: str) -> RequestValidationError:
    return RequestValidationError([Violation(code="invalid_param", param=param, message=message)])
