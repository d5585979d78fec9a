"""The bodies of ``POST /v1/llm/generations`` (contract §3).

A body with ``messages`` has OpenAI's chat parameters. One with ``prompt`` is one of four simpler
forms: a text alone, or with images, videos or an audio recording. ``UNSET`` means not sent,
``None`` means sent as null.
"""

from collections.abc import Collection, Sequence
from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

from foxapi_async._wire.base import Decoder, WireStruct


class MediaURL(WireStruct, frozen=True, kw_only=True):
    """The location of a media file."""

    url: str
    """An http(s) URL or a data URI."""


class ContentBlock(WireStruct, frozen=True, kw_only=True, omit_defaults=True):
    """One part of a multimodal message. ``type`` is the name of the member that it uses."""

    type: str
    """``text``, ``image_url``, ``video_url``, ``audio_url`` or ``file_url``."""
    text: str | UnsetType = UNSET
    """The text of a ``text`` part."""
    image_url: MediaURL | UnsetType = UNSET
    """The image."""
    video_url: MediaURL | UnsetType = UNSET
    """The video."""
    audio_url: MediaURL | UnsetType = UNSET
    """The audio."""
    file_url: MediaURL | UnsetType = UNSET
    """The document."""


class Message(WireStruct, frozen=True, kw_only=True, omit_defaults=True):
    """One message of the conversation."""

    role: str
    """``system``, ``developer``, ``user``, ``assistant``, ``tool`` or ``function``."""
    content: str | tuple[ContentBlock, ...] | None | UnsetType = UNSET
    """A text, or content parts."""
    name: str | None | UnsetType = UNSET
    """The name of the author."""
    tool_calls: Sequence[dict[str, Any]] | None | UnsetType = UNSET
    """The tool calls of an assistant message."""
    tool_call_id: str | None | UnsetType = UNSET
    """The call that a ``tool`` message answers."""
    reasoning_content: str | None | UnsetType = UNSET
    """The reasoning of an assistant message."""
    refusal: str | None | UnsetType = UNSET
    """The refusal of an assistant message."""

    @property
    def blocks(self) -> tuple[ContentBlock, ...]:
        """The content as content parts; a text is one part."""
        if isinstance(self.content, str):
            return (ContentBlock(type="text", text=self.content),)
        return self.content or ()


class GenerationRequest(WireStruct, frozen=True, kw_only=True, omit_defaults=True):
    """A generation request. Its members have the meaning of OpenAI's chat completions API."""

    model: str
    """The id of the model."""
    messages: tuple[Message, ...]
    """The conversation."""
    stream: bool | None = False
    """Whether the task has a stream."""
    max_tokens: int | None | UnsetType = UNSET
    """The maximum number of tokens of the answer, reasoning included. Some models require it."""
    max_completion_tokens: int | None | UnsetType = UNSET
    """The newer name of ``max_tokens`` in OpenAI's API; passed on."""
    temperature: float | None | UnsetType = UNSET
    """The randomness of the answer, usually 0 to 2."""
    top_p: float | None | UnsetType = UNSET
    """The probability mass from which tokens are sampled, 0 to 1."""
    stop: str | Sequence[str] | None | UnsetType = UNSET
    """One or more texts at which the answer ends; the answer does not include them."""
    n: int | None | UnsetType = UNSET
    """The number of answers (choices); each is billed."""
    seed: int | None | UnsetType = UNSET
    """Asks for the same answer to the same request; best effort."""
    frequency_penalty: float | None | UnsetType = UNSET
    """Makes tokens less likely the more often they were used, -2 to 2."""
    presence_penalty: float | None | UnsetType = UNSET
    """Makes tokens less likely once they were used, -2 to 2."""
    logit_bias: dict[str, float] | None | UnsetType = UNSET
    """Maps token ids, as texts, to a bias of -100 to 100."""
    logprobs: bool | None | UnsetType = UNSET
    """Whether the log probabilities of the tokens are returned."""
    top_logprobs: int | None | UnsetType = UNSET
    """The number of likely tokens that are returned at each position; needs ``logprobs``."""
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
    """Whether the model reasons before it answers; passed on."""
    reasoning_effort: str | None | UnsetType = UNSET
    """The reasoning effort: ``"low"``, ``"medium"``, ``"high"``, or another value of the model."""
    verbosity: str | None | UnsetType = UNSET
    """The length of the answer: ``"low"``, ``"medium"`` or ``"high"``."""
    modalities: Sequence[str] | None | UnsetType = UNSET
    """The kinds of output, such as ``["text"]``."""
    audio: dict[str, Any] | None | UnsetType = UNSET
    """The voice and the format of spoken output."""
    prediction: dict[str, Any] | None | UnsetType = UNSET
    """Text that the answer probably contains, which may speed up the generation."""
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
    """Never sent as true: the response would have no task id."""

    def __repr__(self) -> str:
        """Show the model and the number of messages, but no content."""
        return (
            f"<GenerationRequest model={self.model!r} messages={len(self.messages)} "
            f"stream={self.stream}>"
        )


class PromptRequest(WireStruct, frozen=True, kw_only=True, omit_defaults=True):
    """A generation request without a conversation, in one of four forms (contract §3.4).

    The form follows from its members: ``prompt`` alone, with ``image_urls``, with ``video_urls``,
    or ``audio_url``, with or without ``prompt``.
    """

    model: str
    """The id of the model."""
    prompt: str | UnsetType = UNSET
    """The text of the prompt, 1 to 100,000 characters."""
    image_urls: tuple[str, ...] | UnsetType = UNSET
    """1 to 10 images: http(s) URLs or data URIs."""
    video_urls: tuple[str, ...] | UnsetType = UNSET
    """1 to 10 videos: URLs of files, or of YouTube for some models."""
    audio_url: str | UnsetType = UNSET
    """An audio recording: an http(s) URL or a data URI."""
    system_prompt: str | None | UnsetType = UNSET
    """The instructions of the system, at most 10,000 characters."""
    stream: bool | None = False
    """Whether the task has a stream."""
    max_tokens: int | None | UnsetType = UNSET
    """The maximum number of tokens of the answer, at least 1."""
    temperature: float | None | UnsetType = UNSET
    """The randomness of the answer, 0 to 2."""
    reasoning: bool | None | UnsetType = UNSET
    """Whether the model reasons before it answers; some models require it."""
    sync: Literal[False] | UnsetType = UNSET
    """Never sent as true: the response would have no task id."""

    def __repr__(self) -> str:
        """Show the model and the names of the members, but no content."""
        given = ", ".join(
            name for name in ("prompt", *MEDIA_MEMBERS) if getattr(self, name) is not UNSET
        )
        return f"<PromptRequest model={self.model!r} {given} stream={self.stream}>"


LLMRequest = GenerationRequest | PromptRequest
"""The request of a language model, in any of its forms."""

MEDIA_MEMBERS: Final = {
    "image_urls": "image_url",
    "video_urls": "video_url",
    "audio_url": "audio_url",
}
"""Maps each member of a prompt request that has media to the content type of the media."""


def is_prompt_form(members: Collection[str]) -> bool:
    """Tell by the names of its members whether a body is a ``PromptRequest`` (contract §3.1)."""
    return "messages" not in members and (
        "prompt" in members or not MEDIA_MEMBERS.keys().isdisjoint(members)
    )


def member_names(shape: type[WireStruct]) -> frozenset[str]:
    """Return the JSON names of the members of ``shape``."""
    return frozenset(
        item.encode_name for item in msgspec.structs.fields(shape) if item.name != "_extra"
    )


request_decoder = Decoder(GenerationRequest)
prompt_decoder = Decoder(PromptRequest)
_decode_members = msgspec.json.Decoder(dict[str, Raw]).decode


def decode_request(data: bytes) -> LLMRequest:
    """Decode the JSON of a request in any of its forms; raise ``DecodeError`` if that fails."""
    decoder = prompt_decoder if is_prompt_form(_decode_members(data)) else request_decoder
    return decoder.decode(data)
