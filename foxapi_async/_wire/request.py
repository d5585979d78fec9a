"""The body of ``POST /v1/llm/generations`` (contract §3.2, §3.3): OpenAI's chat parameters.

``UNSET`` means not sent, ``None`` means sent as null.
"""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from foxapi_async._wire.base import Decoder, WireStruct


class MediaURL(WireStruct, frozen=True, kw_only=True):
    """Where a medium is: an http(s) URL or a data URI."""

    url: str
    """An http(s) URL or a data URI."""


class ContentBlock(WireStruct, frozen=True, kw_only=True, omit_defaults=True):
    """One block of a multimodal message. ``type`` names the member that it uses."""

    type: str
    """``text``, ``image_url``, ``video_url``, ``audio_url`` or ``file_url``."""
    text: str | UnsetType = UNSET
    """The text of a ``text`` block."""
    image_url: MediaURL | UnsetType = UNSET
    """Where the image is."""
    video_url: MediaURL | UnsetType = UNSET
    """Where the video is."""
    audio_url: MediaURL | UnsetType = UNSET
    """Where the audio is."""
    file_url: MediaURL | UnsetType = UNSET
    """Where the document is."""


class Message(WireStruct, frozen=True, kw_only=True, omit_defaults=True):
    """One message of the conversation; ``content`` is a text or blocks."""

    role: str
    """``system``, ``developer``, ``user``, ``assistant``, ``tool`` or ``function``."""
    content: str | tuple[ContentBlock, ...] | None | UnsetType = UNSET
    """A text, or blocks."""
    name: str | None | UnsetType = UNSET
    """A name of the author."""
    tool_calls: Sequence[dict[str, Any]] | None | UnsetType = UNSET
    """The calls that the assistant asked for."""
    tool_call_id: str | None | UnsetType = UNSET
    """The call that a ``tool`` message answers."""
    reasoning_content: str | None | UnsetType = UNSET
    """The thinking that belongs to the assistant's message."""
    refusal: str | None | UnsetType = UNSET
    """Why the assistant refused."""

    @property
    def blocks(self) -> tuple[ContentBlock, ...]:
        """The content as blocks: a text is one block, no content none."""
        if isinstance(self.content, str):
            return (ContentBlock(type="text", text=self.content),)
        return self.content or ()


class GenerationRequest(WireStruct, frozen=True, kw_only=True, omit_defaults=True):
    """A generation to be submitted; members mean what OpenAI's chat specification says."""

    model: str
    """The id of the model."""
    messages: tuple[Message, ...]
    """The conversation."""
    stream: bool | None = False
    """Whether the answer can be followed live."""
    max_tokens: int | None | UnsetType = UNSET
    """Most tokens that are written, reasoning included. Some models require it or a minimum."""
    max_completion_tokens: int | None | UnsetType = UNSET
    """The newer name of ``max_tokens`` in OpenAI's API; passed on."""
    temperature: float | None | UnsetType = UNSET
    """Randomness of the answer, usually 0 to 2."""
    top_p: float | None | UnsetType = UNSET
    """Share of probability from which tokens are drawn, 0 to 1."""
    stop: str | Sequence[str] | None | UnsetType = UNSET
    """One or more texts at which the answer ends; they are not part of it."""
    n: int | None | UnsetType = UNSET
    """How many answers (choices) are written; each is billed."""
    seed: int | None | UnsetType = UNSET
    """Asks the model to answer the same request in the same way; best effort."""
    frequency_penalty: float | None | UnsetType = UNSET
    """Makes words less likely the more often they were used, -2 to 2."""
    presence_penalty: float | None | UnsetType = UNSET
    """Makes words less likely once they were used, -2 to 2."""
    logit_bias: dict[str, float] | None | UnsetType = UNSET
    """From token ids, as texts, to a bias of -100 to 100."""
    logprobs: bool | None | UnsetType = UNSET
    """Whether the log probabilities of the written tokens are returned."""
    top_logprobs: int | None | UnsetType = UNSET
    """How many likely tokens are returned at each position; needs ``logprobs``."""
    tools: Sequence[dict[str, Any]] | None | UnsetType = UNSET
    """The tools that the model may call, as JSON schemas."""
    tool_choice: str | dict[str, Any] | None | UnsetType = UNSET
    """``"auto"``, ``"none"``, ``"required"``, or the tool that must be called."""
    parallel_tool_calls: bool | None | UnsetType = UNSET
    """Whether several tools may be called in one answer."""
    functions: Sequence[dict[str, Any]] | None | UnsetType = UNSET
    """The older form of ``tools``."""
    function_call: str | dict[str, Any] | None | UnsetType = UNSET
    """The older form of ``tool_choice``."""
    response_format: dict[str, Any] | None | UnsetType = UNSET
    """The form of the answer: ``{"type": "json_object"}`` or a JSON schema."""
    stream_options: dict[str, Any] | None | UnsetType = UNSET
    """Options of the stream, such as ``{"include_usage": True}``."""
    reasoning: bool | None | UnsetType = UNSET
    """Whether the model thinks before it answers; passed on."""
    reasoning_effort: str | None | UnsetType = UNSET
    """How long the model thinks: ``"low"``, ``"medium"``, ``"high"``, or what it knows."""
    verbosity: str | None | UnsetType = UNSET
    """How long the answer is: ``"low"``, ``"medium"`` or ``"high"``."""
    modalities: Sequence[str] | None | UnsetType = UNSET
    """The kinds of output, such as ``["text"]``."""
    audio: dict[str, Any] | None | UnsetType = UNSET
    """The voice and the format of spoken output."""
    prediction: dict[str, Any] | None | UnsetType = UNSET
    """Text that the answer will probably contain, which may speed it up."""
    web_search_options: dict[str, Any] | None | UnsetType = UNSET
    """Options of a web search by the model."""
    service_tier: str | None | UnsetType = UNSET
    """The tier in which the provider serves the request."""
    store: bool | None | UnsetType = UNSET
    """Whether the provider keeps the request and its answer."""
    metadata: dict[str, str] | None | UnsetType = UNSET
    """Your own labels, which the provider keeps with the request."""
    prompt_cache_key: str | None | UnsetType = UNSET
    """Groups requests that share the start of their prompt in the provider's cache."""
    prompt_cache_retention: str | None | UnsetType = UNSET
    """How long the provider caches the prompt."""
    safety_identifier: str | None | UnsetType = UNSET
    """A stable, anonymous id of your user, for the detection of abuse."""
    user: str | None | UnsetType = UNSET
    """The older name of ``safety_identifier``."""
    sync: Literal[False] | UnsetType = UNSET
    """Never sent as true: such an answer has no task id."""

    def __repr__(self) -> str:
        """Tell what kind of request it is, never what it says."""
        return (
            f"<GenerationRequest model={self.model!r} messages={len(self.messages)} "
            f"stream={self.stream}>"
        )


def member_names(shape: type[WireStruct]) -> frozenset[str]:
    """Return the JSON names of the members that ``shape`` knows."""
    return frozenset(
        item.encode_name for item in msgspec.structs.fields(shape) if item.name != "_extra"
    )


request_decoder = Decoder(GenerationRequest)
