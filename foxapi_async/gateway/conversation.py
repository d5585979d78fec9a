"""Requests with ``prompt`` as the conversations that models read (contract §3.1, §3.4)."""

from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from foxapi_async._wire.request import (
    MEDIA_MEMBERS,
    ContentBlock,
    GenerationRequest,
    LLMRequest,
    Message,
    PromptRequest,
    request_decoder,
)

LLM_PREFIX: Final = "task-llm-"
"""How the ids of most tasks begin."""
MEDIA_PREFIX: Final = "task-unified-"
"""How the ids of tasks of images, videos, audio and documents begin."""
_ROUTER_PREFIX: Final = "task-llmrouter-"
_TRANSCRIBE: Final = "Transcribe this audio."


def id_prefix(request: LLMRequest) -> str:
    """Return how the id of the task begins (contract §4.1)."""
    has_audio = isinstance(request, PromptRequest) and request.audio_url is not UNSET
    return LLM_PREFIX if isinstance(request, GenerationRequest) or has_audio else _ROUTER_PREFIX


def without_prefix(task_id: str) -> str:
    """Return the part of a task id that differs between tasks."""
    return task_id.removeprefix(LLM_PREFIX).removeprefix(_ROUTER_PREFIX)


def as_conversation(request: LLMRequest) -> GenerationRequest:
    """Return the request with messages in place of ``prompt``.

    ``system_prompt`` becomes a system message, ``prompt`` and the media one user message. Members
    that the forms with ``prompt`` do not name are those of a conversation, known or unknown.

    Raises:
        ValidationError: Such a member has a wrong type.
    """
    if isinstance(request, GenerationRequest):
        return request
    messages = [Message(role="user", content=_content(request))]
    if request.system_prompt:
        messages.insert(0, Message(role="system", content=request.system_prompt))
    members = {
        "model": request.model,
        "messages": messages,
        "stream": request.stream,
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        # It is false by default, and servers with OpenAI's API may not know the member.
        "reasoning": request.reasoning or UNSET,
    }
    given = {name: value for name, value in members.items() if value not in (None, UNSET)}
    return request_decoder.convert({**request.extra, **given})


def _content(request: PromptRequest) -> str | tuple[ContentBlock, ...]:
    text = _TRANSCRIBE if request.prompt is UNSET else request.prompt
    media = [
        msgspec.convert({"type": content_type, content_type: {"url": url}}, ContentBlock)
        for name, content_type in MEDIA_MEMBERS.items()
        for url in _urls(getattr(request, name))
    ]
    return (ContentBlock(type="text", text=text), *media) if media else text


def _urls(value: str | tuple[str, ...] | UnsetType) -> tuple[str, ...]:
    if value is UNSET:
        return ()
    return (value,) if isinstance(value, str) else value
