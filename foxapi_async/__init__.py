"""FoxAPI for asyncio: every generation is an awaitable handle, and nothing is paid for twice.

::

    async with FoxSession() as fox:
        handle = await fox.llm.submit(model="gpt-5.5", messages="count 1 to 3")
        completion = await handle

Every name is loaded when it is first used, so that importing the package costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from foxapi_async._catalog import CatalogModel, catalog
    from foxapi_async._catalog.media_models import MediaModel, MediaParam, media_catalog
    from foxapi_async._client.as_completed import as_completed
    from foxapi_async._client.budget_meter import BudgetUse
    from foxapi_async._client.completion_queue import CompletionProgress
    from foxapi_async._client.handle import TaskHandle
    from foxapi_async._client.llm import LLM
    from foxapi_async._client.llm_handle import ChatStream, LLMHandle
    from foxapi_async._client.media import Media
    from foxapi_async._client.params import (
        AudioParams,
        LLMParams,
        ParseParams,
        PromptParams,
        VideoParams,
        VisionParams,
    )
    from foxapi_async._client.recover import Recovery, UnknownSubmission, UnreadableEntry
    from foxapi_async._client.row_map import RowMap, RowOutcome, RowProgress
    from foxapi_async._client.session import FoxSession
    from foxapi_async._client.stats import ModelUsage, Stats
    from foxapi_async._client.tasks import Models, Tasks
    from foxapi_async._output.tools import tool_message
    from foxapi_async._version import __version__
    from foxapi_async._wire.media_results import MediaResult, MediaResults
    from foxapi_async.config import (
        Adaptive,
        Budget,
        Exponential,
        Fixed,
        Limits,
        PollPolicy,
        RetryPolicy,
        StreamPolicy,
        Timeouts,
    )
    from foxapi_async.errors import (
        APIConnectionError,
        APIStatusError,
        APITimeoutError,
        AuthenticationError,
        BadRequestError,
        BudgetExceededError,
        ConfigError,
        ContentTooLargeError,
        EmptyResultError,
        FoxAPIError,
        InsufficientQuotaError,
        InternalServerError,
        InvalidParameterError,
        InvalidRequestError,
        InvalidResponseError,
        InvalidTaskIdError,
        JournalError,
        ModelNotSupportedError,
        NotFoundError,
        OutputError,
        OutputRefusedError,
        OutputTruncatedError,
        OutputValidationError,
        PermissionDeniedError,
        RateLimitError,
        RequestValidationError,
        ServiceUnavailableError,
        SessionClosedError,
        StreamConsumedError,
        StreamError,
        StreamExpiredError,
        StreamInterruptedError,
        StreamUnavailableError,
        SubmitOutcomeUnknownError,
        TaskCancelledError,
        TaskError,
        TaskFailedError,
        TaskLostError,
        TaskTimeoutError,
        UnboundHandleError,
        UnprocessableEntityError,
        UnsupportedContentTypeError,
    )
    from foxapi_async.types import (
        ChatCompletion,
        ContentBlock,
        Delta,
        Message,
        ModelInfo,
        Status,
        Task,
        ToolCall,
        Usage,
        Violation,
    )

_HOMES: Final = {
    "_catalog": ("CatalogModel", "catalog"),
    "_catalog.media_models": ("MediaModel", "MediaParam", "media_catalog"),
    "_client.as_completed": ("as_completed",),
    "_client.completion_queue": ("CompletionProgress",),
    "_client.budget_meter": ("BudgetUse",),
    "_client.handle": ("TaskHandle",),
    "_client.llm_handle": ("ChatStream", "LLMHandle"),
    "_client.params": (
        "AudioParams",
        "LLMParams",
        "ParseParams",
        "PromptParams",
        "VideoParams",
        "VisionParams",
    ),
    "_output.tools": ("tool_message",),
    "_client.recover": ("Recovery", "UnknownSubmission", "UnreadableEntry"),
    "_client.llm": ("LLM",),
    "_client.media": ("Media",),
    "_client.tasks": ("Models", "Tasks"),
    "_client.row_map": ("RowMap", "RowOutcome", "RowProgress"),
    "_client.session": ("FoxSession",),
    "_client.stats": ("ModelUsage", "Stats"),
    "_version": ("__version__",),
    "_wire.media_results": ("MediaResult", "MediaResults"),
    "config": (
        "Adaptive",
        "Budget",
        "Exponential",
        "Fixed",
        "Limits",
        "PollPolicy",
        "RetryPolicy",
        "StreamPolicy",
        "Timeouts",
    ),
    "errors": (
        "APIConnectionError",
        "APIStatusError",
        "APITimeoutError",
        "AuthenticationError",
        "BadRequestError",
        "BudgetExceededError",
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
    ),
    "types": (
        "ChatCompletion",
        "ContentBlock",
        "Delta",
        "Message",
        "ModelInfo",
        "Status",
        "Task",
        "ToolCall",
        "Usage",
        "Violation",
    ),
}
_MODULE_OF: Final = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "LLM",
    "APIConnectionError",
    "APIStatusError",
    "APITimeoutError",
    "Adaptive",
    "AudioParams",
    "AuthenticationError",
    "BadRequestError",
    "Budget",
    "BudgetExceededError",
    "BudgetUse",
    "CatalogModel",
    "ChatCompletion",
    "ChatStream",
    "CompletionProgress",
    "ConfigError",
    "ContentBlock",
    "ContentTooLargeError",
    "Delta",
    "EmptyResultError",
    "Exponential",
    "Fixed",
    "FoxAPIError",
    "FoxSession",
    "InsufficientQuotaError",
    "InternalServerError",
    "InvalidParameterError",
    "InvalidRequestError",
    "InvalidResponseError",
    "InvalidTaskIdError",
    "JournalError",
    "LLMHandle",
    "LLMParams",
    "Limits",
    "Media",
    "MediaModel",
    "MediaParam",
    "MediaResult",
    "MediaResults",
    "Message",
    "ModelInfo",
    "ModelNotSupportedError",
    "ModelUsage",
    "Models",
    "NotFoundError",
    "OutputError",
    "OutputRefusedError",
    "OutputTruncatedError",
    "OutputValidationError",
    "ParseParams",
    "PermissionDeniedError",
    "PollPolicy",
    "PromptParams",
    "RateLimitError",
    "Recovery",
    "RequestValidationError",
    "RetryPolicy",
    "RowMap",
    "RowOutcome",
    "RowProgress",
    "ServiceUnavailableError",
    "SessionClosedError",
    "Stats",
    "Status",
    "StreamConsumedError",
    "StreamError",
    "StreamExpiredError",
    "StreamInterruptedError",
    "StreamPolicy",
    "StreamUnavailableError",
    "SubmitOutcomeUnknownError",
    "Task",
    "TaskCancelledError",
    "TaskError",
    "TaskFailedError",
    "TaskHandle",
    "TaskLostError",
    "TaskTimeoutError",
    "Tasks",
    "Timeouts",
    "ToolCall",
    "UnboundHandleError",
    "UnknownSubmission",
    "UnprocessableEntityError",
    "UnreadableEntry",
    "UnsupportedContentTypeError",
    "Usage",
    "VideoParams",
    "Violation",
    "VisionParams",
    "__version__",
    "as_completed",
    "catalog",
    "media_catalog",
    "tool_message",
]


def __getattr__(name: str) -> Any:
    home = _MODULE_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
