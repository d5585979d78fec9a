"""Errors of calls of the service."""

from foxapi_async._wire.media_request import TaskRequest
from foxapi_async.errors._base import FoxAPIError
from foxapi_async.errors._request import InvalidRequestError


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
        request: TaskRequest,
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
