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
    ToolCall,
    Usage,
)
from foxapi_async._wire.error_body import ErrorBody
from foxapi_async._wire.media_request import MediaRequest, TaskRequest
from foxapi_async._wire.media_results import (
    CharacterResult,
    ElementResult,
    MediaResult,
    MediaResults,
    ProfileResult,
    TranscriptResult,
    TranscriptWord,
    VoiceResult,
)
from foxapi_async._wire.model_list import ModelInfo
from foxapi_async._wire.request import (
    ContentBlock,
    GenerationRequest,
    LLMRequest,
    MediaURL,
    Message,
    PromptRequest,
)
from foxapi_async._wire.task import Status, StreamRef, Task, TaskInfo, TaskSummary, TaskUsage
from foxapi_async._wire.uploaded_file import UploadedFile
from foxapi_async._wire.violation import Violation

__all__ = [
    "CharacterResult",
    "ChatCompletion",
    "Choice",
    "CompletionMessage",
    "ContentBlock",
    "Delta",
    "DeltaChoice",
    "DeltaMessage",
    "ElementResult",
    "ErrorBody",
    "Extra",
    "Function",
    "FunctionDelta",
    "GenerationRequest",
    "LLMRequest",
    "MediaRequest",
    "MediaResult",
    "MediaResults",
    "MediaURL",
    "Message",
    "ModelInfo",
    "ProfileResult",
    "PromptRequest",
    "Status",
    "StreamRef",
    "Task",
    "TaskInfo",
    "TaskRequest",
    "TaskSummary",
    "TaskUsage",
    "ToolCall",
    "ToolCallDelta",
    "TranscriptResult",
    "TranscriptWord",
    "UploadedFile",
    "Usage",
    "Violation",
    "VoiceResult",
]
