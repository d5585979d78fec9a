"""The submits of media tasks: images, videos, audio and documents (contract §2, §10).

Each model has its own parameters and the service refuses others, so all of them are open.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal, get_args

import msgspec
from msgspec import Struct

from foxapi_async._wire.base import Extra, decode_json, encode, is_object
from foxapi_async._wire.decode_errors import missing_member, nested_error, wrong_type
from foxapi_async._wire.paths import SUBMIT_LLM
from foxapi_async._wire.request import LLMRequest, decode_request

MediaKind = Literal["image", "video", "audio", "document"]
"""What a media task makes."""

Kind = Literal["llm", "image", "video", "audio", "document"]
"""What a task makes, which decides the type of its result."""

MEDIA_KINDS: Final[tuple[MediaKind, ...]] = get_args(MediaKind)
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

MEDIA_PATHS: Final[Mapping[MediaKind, str]] = {
    "image": "/v1/images/generations",
    "video": "/v1/videos/generations",
    "audio": "/v1/audios/generations",
    "document": "/v1/run/generations",
}
"""The path of the submits of each kind."""

SUBMIT_SUNO: Final = "/v1/audio/generations"
"""The path of the submits of Suno, which is not that of other audio."""

SUBMIT_PATHS: Final = frozenset({SUBMIT_LLM, SUBMIT_SUNO, *MEDIA_PATHS.values()})
"""All paths of billed submits."""

_MODEL: Final = "model"


class MediaRequest(Struct, frozen=True, kw_only=True):
    """The request of a media task."""

    kind: MediaKind
    """What the task makes: ``image``, ``video``, ``audio`` or ``document``."""
    model: str
    """The id of the model."""
    params: Mapping[str, Any] = Extra()
    """The other members of the body, such as ``prompt``; they depend on the model."""

    @property
    def prompt(self) -> str | None:
        """The text of the prompt, or ``None``."""
        prompt = self.params.get("prompt")
        return prompt if isinstance(prompt, str) else None

    def __repr__(self) -> str:
        """Show the model and the names of the parameters, but no content."""
        return (
            f"<MediaRequest kind={self.kind!r} model={self.model!r} params={sorted(self.params)}>"
        )


TaskRequest = LLMRequest | MediaRequest
"""The request of a task of any kind."""


def kind_of(request: TaskRequest) -> Kind:
    """Return the kind of task that ``request`` asks for."""
    return request.kind if isinstance(request, MediaRequest) else "llm"


def submit_path(kind: Kind, model: str) -> str:
    """Return the path of the submits of a model."""
    if kind == "llm":
        return SUBMIT_LLM
    return SUBMIT_SUNO if kind == "audio" and is_suno(model) else MEDIA_PATHS[kind]


def is_suno(model: str) -> bool:
    """Tell whether a model is one of Suno, whose path and links differ from the others."""
    return model.rpartition("/")[2].lower().startswith("suno")


def encode_submit(request: TaskRequest) -> bytes:
    """Return the body of ``request``."""
    if not isinstance(request, MediaRequest):
        return encode(request)
    return msgspec.json.encode({_MODEL: request.model, **request.params})


def decode_submit(kind: Kind, data: bytes) -> TaskRequest:
    """Decode the body of a request; raise ``DecodeError`` if that fails."""
    return decode_request(data) if kind == "llm" else decode_media_request(kind, data)


def decode_media_request(kind: MediaKind, data: bytes) -> MediaRequest:
    """Decode the body of a media request; raise ``DecodeError`` if that fails."""
    members = decode_json(data)
    if not is_object(members):
        raise wrong_type("object", members)
    if _MODEL not in members:
        raise missing_member(_MODEL)
    model = members.pop(_MODEL)
    if not isinstance(model, str):
        raise nested_error(wrong_type("str", model), f".{_MODEL}")
    return MediaRequest(kind=kind, model=model, params=Extra(members))
