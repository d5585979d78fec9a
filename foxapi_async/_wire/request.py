"""The body of ``POST /v1/llm/generations`` (CONTRACT §3.2, §3.3): OpenAI's chat parameters.

``UNSET`` means not sent, ``None`` means sent as null.
"""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from foxapi_async._wire.shape import Reader, Shape


class MediaURL(Shape, frozen=True, kw_only=True):
    """Where a medium is: an http(s) URL or a data URI."""

    url: str


class ContentBlock(Shape, frozen=True, kw_only=True, omit_defaults=True):
    """One block of a multimodal message. ``type`` names the member that it uses."""

    type: str
    text: str | UnsetType = UNSET
    image_url: MediaURL | UnsetType = UNSET
    video_url: MediaURL | UnsetType = UNSET
    audio_url: MediaURL | UnsetType = UNSET
    file_url: MediaURL | UnsetType = UNSET


class Message(Shape, frozen=True, kw_only=True, omit_defaults=True):
    """One message of the conversation; ``content`` is a text or blocks."""

    role: str
    content: str | tuple[ContentBlock, ...] | None | UnsetType = UNSET
    name: str | None | UnsetType = UNSET
    tool_calls: Sequence[dict[str, Any]] | None | UnsetType = UNSET
    tool_call_id: str | None | UnsetType = UNSET
    reasoning_content: str | None | UnsetType = UNSET
    refusal: str | None | UnsetType = UNSET

    @property
    def blocks(self) -> tuple[ContentBlock, ...]:
        """The content as blocks: a text is one block, no content none."""
        if isinstance(self.content, str):
            return (ContentBlock(type="text", text=self.content),)
        return self.content or ()


class GenerationRequest(Shape, frozen=True, kw_only=True, omit_defaults=True):
    """A generation to be submitted; members mean what OpenAI's chat specification says."""

    model: str
    messages: tuple[Message, ...]
    stream: bool | None = False
    max_tokens: int | None | UnsetType = UNSET
    max_completion_tokens: int | None | UnsetType = UNSET
    temperature: float | None | UnsetType = UNSET
    top_p: float | None | UnsetType = UNSET
    stop: str | Sequence[str] | None | UnsetType = UNSET
    n: int | None | UnsetType = UNSET
    seed: int | None | UnsetType = UNSET
    frequency_penalty: float | None | UnsetType = UNSET
    presence_penalty: float | None | UnsetType = UNSET
    logit_bias: dict[str, float] | None | UnsetType = UNSET
    logprobs: bool | None | UnsetType = UNSET
    top_logprobs: int | None | UnsetType = UNSET
    tools: Sequence[dict[str, Any]] | None | UnsetType = UNSET
    tool_choice: str | dict[str, Any] | None | UnsetType = UNSET
    parallel_tool_calls: bool | None | UnsetType = UNSET
    functions: Sequence[dict[str, Any]] | None | UnsetType = UNSET
    function_call: str | dict[str, Any] | None | UnsetType = UNSET
    response_format: dict[str, Any] | None | UnsetType = UNSET
    stream_options: dict[str, Any] | None | UnsetType = UNSET
    reasoning: bool | None | UnsetType = UNSET
    reasoning_effort: str | None | UnsetType = UNSET
    verbosity: str | None | UnsetType = UNSET
    modalities: Sequence[str] | None | UnsetType = UNSET
    audio: dict[str, Any] | None | UnsetType = UNSET
    prediction: dict[str, Any] | None | UnsetType = UNSET
    web_search_options: dict[str, Any] | None | UnsetType = UNSET
    service_tier: str | None | UnsetType = UNSET
    store: bool | None | UnsetType = UNSET
    metadata: dict[str, str] | None | UnsetType = UNSET
    prompt_cache_key: str | None | UnsetType = UNSET
    prompt_cache_retention: str | None | UnsetType = UNSET
    safety_identifier: str | None | UnsetType = UNSET
    user: str | None | UnsetType = UNSET
    sync: Literal[False] | UnsetType = UNSET

    def __repr__(self) -> str:
        """Tell what kind of request it is, never what it says."""
        return (
            f"<GenerationRequest model={self.model!r} messages={len(self.messages)} "
            f"stream={self.stream}>"
        )


def member_names(shape: type[Shape]) -> frozenset[str]:
    """Return the JSON names of the members that ``shape`` knows."""
    return frozenset(
        item.encode_name for item in msgspec.structs.fields(shape) if item.name != "_extra"
    )


requests = Reader(GenerationRequest)
