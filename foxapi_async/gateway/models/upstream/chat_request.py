"""Translates a request of the gateway into one of OpenAI's chat API."""

import re
from collections.abc import Mapping
from typing import Any, Final

from msgspec import UNSET

from foxapi_async._wire.base import encode, is_list, is_object, to_plain
from foxapi_async._wire.request import GenerationRequest
from foxapi_async.gateway.models.model import ModelError

# The formats of `input_audio`.
_AUDIO_FORMATS: Final = {
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
}
_DATA_URI: Final = re.compile(r"data:([^,;]*)[^,]*;base64,", re.IGNORECASE)
_FILE_NAMES: Final = {"application/pdf": "document.pdf", "text/plain": "document.txt"}


def chat_body(request: GenerationRequest, name: str) -> bytes:
    """Return the body of ``POST /chat/completions``. It always asks for a stream with its usage.

    Members of the request that are not named here are passed on as they are.

    Args:
        request: The request.
        name: The name of the model at the upstream.

    Raises:
        ModelError: A content part has no form in OpenAI's API.
    """
    body: dict[str, Any] = to_plain(request)
    body.pop("sync", None)
    body["model"] = name
    body["messages"] = [_message(message) for message in body["messages"]]
    body["stream"] = True
    options = body.get("stream_options")
    body["stream_options"] = (options if is_object(options) else {}) | {"include_usage": True}
    return encode(body)


def wants_usage(request: GenerationRequest) -> bool:
    """Return whether the client asks for a chunk with the usage."""
    options = request.stream_options
    return options is not UNSET and options is not None and options.get("include_usage") is True


def _message(message: dict[str, Any]) -> dict[str, Any]:
    content = message.get("content")
    return message | {"content": [*map(_block, content)]} if is_list(content) else message


def _block(block: dict[str, Any]) -> Mapping[str, Any]:
    """Translate a content part: recordings and files in data URIs have a form of their own.

    ``video_url`` and other ``audio_url`` are those of vLLM and of servers that follow it.
    """
    kind = block.get("type")
    if kind == "audio_url":
        return _audio(block)
    if kind == "file_url":
        return _file(block)
    return block


def _audio(block: dict[str, Any]) -> Mapping[str, Any]:
    url: str = block["audio_url"]["url"]
    head = _DATA_URI.match(url)
    form = _AUDIO_FORMATS.get(head[1].lower()) if head else None
    if head is None or form is None:
        return block
    audio = {"data": url[head.end() :], "format": form}
    return {"type": "input_audio", "input_audio": audio}


def _file(block: dict[str, Any]) -> Mapping[str, Any]:
    media: dict[str, Any] = block["file_url"]
    url: str = media["url"]
    head = _DATA_URI.match(url)
    if head is None:
        raise ModelError(
            "unsupported_content_type",
            "the upstream of this model takes files as data URIs only, such as "
            "data:application/pdf;base64,...; send the file itself",
        )
    filename = media.get("filename")
    if not isinstance(filename, str):
        filename = _FILE_NAMES.get(head[1].lower(), "document")
    return {"type": "file", "file": {"filename": filename, "file_data": url}}
