"""The public types of tasks, completions, deltas, messages and models."""

from foxapi_async._wire.base import Extra
from foxapi_async._wire.chunk import (
    Delta,
    DeltaChoice,
    DeltaMessage,
    FunctionDelta,
    ToolCallDelta,
)
from foxapi_async._wire.completion import (
    ChatCompletion,
    Choice,
    CompletionMessage,
    Function,
    TaskSummary,
    ToolCall,
    Usage,
)
from foxapi_async._wire.error_body import ErrorBody
from foxapi_async._wire.request import (
    ContentBlock,
    GenerationRequest,
    LLMRequest,
    MediaURL,
    Message,
    PromptRequest,
)
from foxapi_async._wire.results import ModelInfo
from foxapi_async._wire.task import Status, StreamRef, Task, TaskInfo, TaskUsage
from foxapi_async._wire.violation import Violation

__all__ = [
    "ChatCompletion",
    "Choice",
    "CompletionMessage",
    "ContentBlock",
    "Delta",
    "DeltaChoice",
    "DeltaMessage",
    "ErrorBody",
    "Extra",
    "Function",
    "FunctionDelta",
    "GenerationRequest",
    "LLMRequest",
    "MediaURL",
    "Message",
    "ModelInfo",
    "PromptRequest",
    "Status",
    "StreamRef",
    "Task",
    "TaskInfo",
    "TaskSummary",
    "TaskUsage",
    "ToolCall",
    "ToolCallDelta",
    "Usage",
    "Violation",
]
