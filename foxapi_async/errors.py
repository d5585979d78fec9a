"""Every error that this package raises, by what the caller can do about it.

::

    FoxAPIError
      ConfigError                        no key, a bad URL, a bad setting: fix the configuration
      InvalidRequestError                the request is wrong: fix it, nothing was billed
        RequestValidationError           refused before it was sent, with every violation
        UnprocessableEntityError         refused by the service, 422 (also an APIStatusError)
          ModelNotSupportedError
          UnsupportedContentTypeError
          InvalidParameterError
      InvalidTaskIdError                 the text cannot be a task id
      APIConnectionError                 the service was not reached, or its response was cut off
        APITimeoutError
      SubmitOutcomeUnknownError          a billed POST without a response: it may be accepted
      APIStatusError                     the service responded with an error status
        BadRequestError                  400
        AuthenticationError              401
        InsufficientQuotaError           402
        PermissionDeniedError            403
        NotFoundError                    404
        ContentTooLargeError             413
        RateLimitError                   429
        InternalServerError              5xx
          ServiceUnavailableError        503
      InvalidResponseError               a 2xx that breaks the contract
      TaskError                          an accepted task gave no result
        TaskFailedError
        TaskCancelledError
        TaskTimeoutError                 the wait timed out (also a TimeoutError); the task goes on
        TaskLostError                    its state cannot be read
        EmptyResultError                 completed without a result
      StreamError                        a stream did not reach its end
        StreamInterruptedError
        StreamExpiredError
        StreamUnavailableError
      JournalError

    RuntimeError                         misuse of the API
      SessionClosedError
      StreamConsumedError
      UnboundHandleError

Every class can be pickled and copied whole. None holds the API key or shows a prompt in its text.
"""

from collections.abc import Callable, Sequence
from typing import Any

from foxapi_async._wire.completion import ChatCompletion
from foxapi_async._wire.request import LLMRequest
from foxapi_async._wire.task import Task
from foxapi_async._wire.violation import Violation

__all__ = [
    "APIConnectionError",
    "APIStatusError",
    "APITimeoutError",
    "AuthenticationError",
    "BadRequestError",
    "ConfigError",
    "ContentTooLargeError",
    "EmptyResultError",
    "FoxAPIError",
    "InsufficientQuotaError",
    "InternalServerError",
    "InvalidParameterError",
    "InvalidRequestError",
    "InvalidResponseError",
    "InvalidTaskIdError",
    "JournalError",
    "ModelNotSupportedError",
    "NotFoundError",
    "PermissionDeniedError",
    "RateLimitError",
    "RequestValidationError",
    "ServiceUnavailableError",
    "SessionClosedError",
    "StreamConsumedError",
    "StreamError",
    "StreamExpiredError",
    "StreamInterruptedError",
    "StreamUnavailableError",
    "SubmitOutcomeUnknownError",
    "TaskCancelledError",
    "TaskError",
    "TaskFailedError",
    "TaskLostError",
    "TaskTimeoutError",
    "UnboundHandleError",
    "UnprocessableEntityError",
    "UnsupportedContentTypeError",
]


class FoxAPIError(Exception):
    """Anything that went wrong between you and the service."""

    advice: str = "Catch this class to handle whatever can go wrong between you and the service."
    """What can be done about the error. A traceback prints it below the text."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.add_note(self.advice)

    def __reduce__(self) -> tuple[Callable[..., BaseException], tuple[Any, ...]]:
        """Rebuild from the attributes, because pickle cannot call keyword-only constructors."""
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(
    kind: type[BaseException], args: tuple[object, ...], state: dict[str, Any]
) -> BaseException:
    error = kind.__new__(kind, *args)
    # An OSError, which a TimeoutError is, takes its arguments in the constructor that is left out.
    error.args = args
    error.__dict__.update(state)
    return error


class ConfigError(FoxAPIError):
    """A setting is missing or wrong; the text names it. Nothing was sent."""

    advice = "Correct the setting that the text names."


class InvalidRequestError(FoxAPIError):
    """The request is invalid, for this package or for the service. Nothing was billed."""

    advice = "Correct the member that .param names."

    code: str | None
    """The service's code for the mistake."""
    param: str | None
    """The member of the request that is wrong."""


class RequestValidationError(InvalidRequestError):
    """The request was rejected before it was sent."""

    advice: str = "Correct what .violations lists."

    def __init__(self, violations: Sequence[Violation], *, advice: str | None = None) -> None:
        self.advice = advice or self.advice
        self.violations: tuple[Violation, ...] = tuple(violations)
        """All violations of the request."""
        self.code: str | None = self.violations[0].code
        self.param: str | None = self.violations[0].param
        super().__init__("; ".join(f"{v.param}: {v.message} [{v.code}]" for v in self.violations))


class InvalidTaskIdError(FoxAPIError):
    """The text cannot be a task id, so no request was sent (contract §4.1)."""

    advice = "Pass the id as the service gave it."


class APIConnectionError(FoxAPIError):
    """The service could not be reached, or the connection ended before the response did."""

    advice = "Check the network and the base URL; whatever is not billed can be asked again."

    def __init__(
        self, message: str, *, sent: bool = True, trusted: bool = True, body: str = ""
    ) -> None:
        super().__init__(message)
        self.sent = sent
        """Whether a byte of the request's body may have left; ``False`` is proof of none."""
        self.trusted = trusted
        """``False`` if another attempt cannot succeed, as with an untrusted certificate."""
        self.body = body
        """The beginning of a response that was cut off."""


class APITimeoutError(APIConnectionError):
    """The service did not respond within ``Timeouts``."""

    advice = "Raise the setting of Timeouts that the text names; ask again what is not billed."


class SubmitOutcomeUnknownError(FoxAPIError):
    """A billed POST was sent and its response was lost: the service may have accepted it.

    Look into your account before you submit again, because both may be billed.
    """

    advice = (
        "If .task_id is set, await fox.tasks.handle(error.task_id); else look for it in your "
        "account at the service, by .sent_at, before you submit it again; `foxapi journal settle "
        "FILE` then forgets or repeats all that a journal holds of these."
    )

    def __init__(
        self,
        message: str,
        *,
        fault: FoxAPIError,
        request: LLMRequest,
        key: str | None,
        fingerprint: str,
        sent_at: float,
        task_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.fault = fault
        """The error of the POST."""
        self.request = request
        """The submitted request."""
        self.key = key
        """The key of the submission, or ``None``."""
        self.fingerprint = fingerprint
        """A hash of the request; equal requests have the same."""
        self.sent_at = sent_at
        """When the request was sent, in Unix seconds."""
        self.task_id = task_id
        """The id of the task, if the response has one: ``fox.tasks.handle(task_id)``."""


class APIStatusError(FoxAPIError):
    """The service responded with an error status."""

    advice = "See .status and .body; a redirect means that the base URL is not the service's own."

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str | None = None,
        type: str | None = None,
        param: str | None = None,
        request_id: str | None = None,
        body: str = "",
        retry_after: float | None = None,
        enveloped: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        """The HTTP status."""
        self.code = code
        """The service's code, or ``None``."""
        self.type = type
        """The service's kind of error, or ``None``."""
        self.param = param
        """The member of the request that is wrong, or ``None``."""
        self.request_id = request_id
        """The id of the request, for the service's support."""
        self.body = body
        """The first 400 characters of the response."""
        self.retry_after = retry_after
        """Seconds to wait, as the service asked; or ``None``."""
        self.enveloped = enveloped
        """Whether the body has the form of the service; otherwise a proxy may have sent it."""


class BadRequestError(APIStatusError):
    """400: the body was not JSON, or not declared as such."""

    advice = "Check what extra= adds, and what stands between you and the service."


class AuthenticationError(APIStatusError):
    """401: the API key is missing, wrong or expired. Nothing was billed."""

    advice = "Check api_key=... or FOXAPI_API_KEY: the key is wrong, or has expired."


class InsufficientQuotaError(APIStatusError):
    """402: the balance does not cover the request."""

    advice = "Top up the balance, then submit again."


class PermissionDeniedError(APIStatusError):
    """403: the key may not do this, or a proxy refused the client."""

    advice = "Check what the key may do; a .body that is no JSON is that of a proxy."


class NotFoundError(APIStatusError):
    """404: no such task, or no such route."""

    advice = "Check the task id, whose key it belongs to, and the base URL."


class ContentTooLargeError(APIStatusError):
    """413: the body is larger than the service accepts."""

    advice = "Send media as URLs instead of inline data."


class UnprocessableEntityError(APIStatusError, InvalidRequestError):
    """422: the service rejects the request. Sending it again changes nothing."""

    advice = "Correct the request; sending it again unchanged changes nothing."


class ModelNotSupportedError(UnprocessableEntityError):
    """The model is unknown, or not available to this key."""

    advice = "Choose a model that fox.models.list() names."


class UnsupportedContentTypeError(UnprocessableEntityError):
    """The model does not accept this type of content."""

    advice = "Leave the content block out, or choose a model that takes it."


class InvalidParameterError(UnprocessableEntityError):
    """A parameter's value breaks a rule of the model, such as ``max_tokens``."""

    advice = "Correct the parameter that the text names."


class RateLimitError(APIStatusError):
    """429: too many requests; ``retry_after`` has the seconds to wait, if the service sent them."""

    advice = "Wait for .retry_after seconds, and keep fewer submissions in flight."


class InternalServerError(APIStatusError):
    """5xx: the service, or a gateway before it, failed."""

    advice = "See whether the service is up; .request_id is what its support asks for."


class ServiceUnavailableError(InternalServerError):
    """503: no capacity for this model right now."""

    advice = "Wait for capacity, or choose another model."


class InvalidResponseError(FoxAPIError):
    """A successful response that breaks the contract: HTML, no body, invalid JSON, no task id."""

    advice = "See .body: a proxy or a portal may have answered in the service's place."

    def __init__(self, message: str, *, status: int | None = None, body: str = "") -> None:
        super().__init__(message)
        self.status = status
        """The HTTP status."""
        self.body = body
        """The first 400 characters of the response."""


class TaskError(FoxAPIError):
    """An accepted, billed task gave no result."""

    advice = "Keep .task_id: it finds the task again from any process."

    def __init__(
        self,
        message: str,
        *,
        task_id: str,
        task: Task | None = None,
        fault: FoxAPIError | None = None,
    ) -> None:
        super().__init__(message)
        self.task_id = task_id
        """The id of the task, which finds it again from any process."""
        self.task = task
        """The last snapshot of the task, or ``None``."""
        self.fault = fault
        """The error of the last poll, or ``None`` if it succeeded."""


class TaskFailedError(TaskError):
    """The task failed. This is final."""

    advice = (
        "See .code, and change the prompt or the model. A key is tried again, and billed anew, by "
        "submit(..., retry_failed=True) or after `foxapi journal prune FILE --stage failed`."
    )

    def __init__(
        self, message: str, *, task_id: str, task: Task | None = None, code: str | None = None
    ) -> None:
        super().__init__(message, task_id=task_id, task=task)
        self.code = code
        """The reason, as the service gives it (contract §8.3)."""


class TaskCancelledError(TaskError):
    """The service cancelled the task."""

    advice = "Submit again if it is still wanted, with a key by retry_failed=True: billed anew."


class TaskTimeoutError(TaskError, TimeoutError):
    """The timeout of the wait expired. The task goes on and is billed: await its handle again."""

    advice = "See .fault, then await the handle again or find the task later by .task_id."


class TaskLostError(TaskError):
    """The state of the task cannot be read."""

    advice = "See .fault, then await the handle again or find the task later by .task_id."
    partial: str
    """The text that was delivered, if its stream was read in this session."""
    completion: ChatCompletion | None
    """The completion of the delivered chunks, or ``None``."""
    cursor: str | None
    """The position after the delivered chunks, or ``None``: ``handle.stream(resume=cursor)``."""

    def __init__(self, message: str, **members: Any) -> None:
        super().__init__(message, **members)
        self.partial, self.completion, self.cursor = "", None, None


class EmptyResultError(TaskError):
    """The task says ``completed`` and still has no results (contract Q2)."""

    advice = "Await the handle again later: the results may still come."


class StreamError(FoxAPIError):
    """A stream did not reach its end."""

    advice = "Read on from .cursor, or await the handle for the whole answer."

    def __init__(
        self,
        message: str,
        *,
        task_id: str,
        offset: int = 0,
        partial: str = "",
        cursor: str | None = None,
        completion: ChatCompletion | None = None,
        doubtful_from: int | None = None,
        task: Task | None = None,
        fault: FoxAPIError | None = None,
    ) -> None:
        super().__init__(message)
        self.task_id = task_id
        """The id of the task."""
        self.offset = offset
        """How many chunks were delivered."""
        self.partial = partial
        """The text that was delivered."""
        self.completion = completion
        """The completion of the delivered chunks."""
        self.doubtful_from = doubtful_from
        """The first delivered chunk, from 0, that may be wrong; ``None`` if none is."""
        self.cursor = cursor
        """The position after the delivered chunks: ``handle.stream(resume=cursor)``."""
        self.task = task
        """The last snapshot of the task, or ``None``."""
        self.fault = fault
        """The error that ended the stream, or ``None``."""


class StreamInterruptedError(StreamError):
    """The stream was cut, and neither it nor the stored result gives the rest.

    Awaiting the handle raises this too, if the stored result lacks text that the stream had.
    """

    advice = "Read on from .cursor, or await the handle for the whole answer."


class StreamExpiredError(StreamError):
    """The service has deleted the chunks of the stream, which it keeps for 15 minutes."""

    advice = "Await the handle: the stored answer outlives the stream."


class StreamUnavailableError(StreamError):
    """The task was not submitted with ``stream=True``: await its handle instead."""

    advice = "Await the handle; only stream=True makes a stream."


class JournalError(FoxAPIError):
    """The journal could not be written or read."""

    advice = "Correct the journal file as the text says. Until then `submit` raises this error."


class SessionClosedError(RuntimeError):
    """The session was closed: nothing can be submitted, awaited or read through it."""

    advice = "Build a new FoxSession."


class StreamConsumedError(RuntimeError):
    """The stream has been read or closed; call ``stream()`` of its handle for a new one."""

    advice = "Call stream() of its handle for another stream."


class UnboundHandleError(RuntimeError):
    """The handle was unpickled and belongs to no session yet: call ``handle.bind(fox)``."""

    advice = "Call handle.bind(fox)."
