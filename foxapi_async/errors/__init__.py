"""Every error that this package raises, by what the caller can do about it.

::

    FoxAPIError
      ConfigError                        no key, a bad URL, a bad setting: fix the configuration
      BudgetExceededError                a submission would exceed the budget: nothing was sent
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
      OutputError                        an answer is not of the type; it is billed
        OutputValidationError            it does not match, or is no JSON
        OutputTruncatedError             it ends at the limit of tokens
        OutputRefusedError               the model refused, or a filter held it back
      FileTransferError                  a file was not uploaded or downloaded whole
        UploadOutcomeUnknownError        an upload without a response: the file may be stored
        DownloadError
          LinkExpiredError               the service no longer has the file
          LinkRefusedError               the link leads where a download does not go
      JournalError

    RuntimeError                         misuse of the API
      SessionClosedError
      StreamConsumedError
      UnboundHandleError

Every class can be pickled and copied whole. None holds the API key or shows a prompt in its text.
"""

from foxapi_async.errors._api import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ContentTooLargeError,
    InsufficientQuotaError,
    InternalServerError,
    InvalidParameterError,
    InvalidResponseError,
    ModelNotSupportedError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServiceUnavailableError,
    SubmitOutcomeUnknownError,
    UnprocessableEntityError,
    UnsupportedContentTypeError,
)
from foxapi_async.errors._base import (
    ConfigError,
    FoxAPIError,
    JournalError,
)
from foxapi_async.errors._files import (
    DownloadError,
    FileTransferError,
    LinkExpiredError,
    LinkRefusedError,
    UploadOutcomeUnknownError,
)
from foxapi_async.errors._misuse import (
    SessionClosedError,
    StreamConsumedError,
    UnboundHandleError,
)
from foxapi_async.errors._output import (
    OutputError,
    OutputRefusedError,
    OutputTruncatedError,
    OutputValidationError,
)
from foxapi_async.errors._request import (
    BudgetExceededError,
    InvalidRequestError,
    InvalidTaskIdError,
    RequestValidationError,
)
from foxapi_async.errors._task import (
    EmptyResultError,
    StreamError,
    StreamExpiredError,
    StreamInterruptedError,
    StreamUnavailableError,
    TaskCancelledError,
    TaskError,
    TaskFailedError,
    TaskLostError,
    TaskTimeoutError,
)

__all__ = [
    "APIConnectionError",
    "APIStatusError",
    "APITimeoutError",
    "AuthenticationError",
    "BadRequestError",
    "BudgetExceededError",
    "ConfigError",
    "ContentTooLargeError",
    "DownloadError",
    "EmptyResultError",
    "FileTransferError",
    "FoxAPIError",
    "InsufficientQuotaError",
    "InternalServerError",
    "InvalidParameterError",
    "InvalidRequestError",
    "InvalidResponseError",
    "InvalidTaskIdError",
    "JournalError",
    "LinkExpiredError",
    "LinkRefusedError",
    "ModelNotSupportedError",
    "NotFoundError",
    "OutputError",
    "OutputRefusedError",
    "OutputTruncatedError",
    "OutputValidationError",
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
    "UploadOutcomeUnknownError",
]


def _set_public_module() -> None:
    """Make tracebacks and pickles name this module, not the private one of a class."""
    for name in __all__:
        globals()[name].__module__ = __name__


_set_public_module()
