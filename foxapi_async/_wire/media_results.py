"""The results of media tasks (contract §9).

No result is rejected for its form: its task is paid for. What a result is follows from its members,
because the service names no type, and its models change.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, Self, TypeVar, final, overload
from urllib.parse import urlsplit

import msgspec
from msgspec import UNSET, DecodeError, Raw
from msgspec.structs import replace

from foxapi_async._wire.base import (
    Decoder,
    ResponseStruct,
    coerces,
    decode_json,
    is_list,
    is_object,
)
from foxapi_async._wire.display import html_card, shown_text
from foxapi_async._wire.media_request import is_suno
from foxapi_async._wire.task import TaskSummary

M = TypeVar("M", bound="MediaResult")

_LINKS: Final = (
    "url",
    "image_url",
    "video_url",
    "audio_url",
    "transcription_url",
    "result_url",
)
_DAY: Final = 24 * 3600.0
_SUNO_DAYS: Final = 3
_MAX_DEPTH: Final = 8
_IMAGES: Final = (".avif", ".gif", ".jpeg", ".jpg", ".png", ".webp")
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_MAX_THUMBNAILS: Final = 16


class MediaResult(ResponseStruct, frozen=True, kw_only=True, gc=True, dict=True):
    """One result of a media task: usually a link to a file.

    Only the members that the service sends are set. Fetch a link without the API key.
    """

    url: str | None = None
    """The link to the file; ``None`` for a result that is no file, or has a link of another name.
    """
    image_url: str | None = None
    """A link to an image, such as the cover of a song."""
    video_url: str | None = None
    """A link to a video."""
    audio_url: str | None = None
    """A link to an audio file."""
    transcription_url: str | None = None
    """A link to the JSON of a transcript."""
    result_url: str | None = None
    """A link to the JSON of a result."""
    content_type: str | None = None
    """The media type of the file, such as ``image/png``."""
    filename: str | None = None
    """The name of the file."""
    file_size: int | None = None
    """The size of the file in bytes."""
    duration: float | None = None
    """The duration of a video or of audio, in seconds."""
    width: int | None = None
    """The width in pixels."""
    height: int | None = None
    """The height in pixels."""
    seed: int | None = None
    """The seed of the generation."""
    resolution: str | None = None
    """The resolution, as the service names it."""
    lyrics: str | None = None
    """The lyrics of a song."""
    map_type: str | None = None
    """Which map of a material the image is."""
    degraded_reason: str | None = None
    """Why the result has less quality than the one that was asked for."""

    @property
    def urls(self) -> tuple[str, ...]:
        """All links of the result, also those in nested members, each once; ``url`` first."""
        named = [getattr(self, name) for name in _LINKS]
        return tuple(dict.fromkeys(link for link in (*named, *_links_in(self.extra)) if link))

    @property
    def raw(self) -> bytes:
        """The JSON of the result as received; empty if the result was built by hand."""
        raw: bytes = vars(self).get("_raw", b"")
        return raw

    @property
    def task(self) -> TaskSummary | None:
        """The task behind the result; ``None`` if the result was built by hand.

        It is not compared and not encoded; copies and pickles keep it.
        """
        task: TaskSummary | None = vars(self).get("_task")
        return task

    @property
    def expires_at(self) -> float | None:
        """When the links may end, in Unix seconds; ``None`` if the time of the task is not known.

        Links are valid for 24 hours, those of Suno for 72 hours. The service does not say from
        when, so the time of the submit counts, which is the earliest (contract Q4).
        """
        task = self.task
        if task is None or task.created is None or not self.urls:
            return None
        return task.created + _DAY * (_SUNO_DAYS if is_suno(task.model) else 1)

    def __copy__(self) -> Self:
        copy = replace(self)
        vars(copy).update(vars(self))
        return copy

    def __deepcopy__(self, _: dict[int, Any]) -> Self:
        return self.__copy__()

    def __reduce__(self) -> tuple[Any, ...]:
        members = {name: getattr(self, name) for name in self.__struct_fields__}
        return _unpickle, (type(self), members, self.raw, self.task)

    def __repr__(self) -> str:
        links = "".join(f" {shown_text(link)}" for link in self.urls)
        return f"<{type(self).__name__}{links}>"

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        return _card(type(self).__name__, (self,), self.task)


class VoiceResult(MediaResult, frozen=True, kw_only=True):
    """A voice that was made or cloned; ``url`` is a sample, if one was asked for."""

    voice_id: str
    """The id of the voice, for the parameters of later requests."""


class ElementResult(MediaResult, frozen=True, kw_only=True):
    """An element that later videos may show."""

    element_id: str
    """The id of the element, for the parameters of later requests."""


class CharacterResult(MediaResult, frozen=True, kw_only=True):
    """A character that later videos may show."""

    character_id: str
    """The id of the character, for the parameters of later requests."""
    name: str | None = None
    """The name of the character."""


class ProfileResult(MediaResult, frozen=True, kw_only=True):
    """A profile that later images may use."""

    profile_id: str
    """The id of the profile, for the parameters of later requests."""
    result_type: str | None = None
    """``profile``."""


class TranscriptWord(ResponseStruct, frozen=True, kw_only=True, gc=False):
    """One word of a transcript."""

    text: str = ""
    """The word, or the space or the sound between two words."""
    start: float | None = None
    """Where it begins, in seconds."""
    end: float | None = None
    """Where it ends, in seconds."""
    type: str | None = None
    """``word``, ``spacing`` or ``audio_event``."""
    speaker_id: str | None = None
    """The id of the speaker, if the model finds the speakers."""


class TranscriptResult(MediaResult, frozen=True, kw_only=True):
    """The text of a recording."""

    text: str
    """The whole text."""
    language_code: str | None = None
    """The code of the language."""
    language_probability: float | None = None
    """How certain the language is, 0 to 1."""
    words: tuple[TranscriptWord, ...] = ()
    """The words with their times; empty if the model does not say them."""


@coerces(MediaResult)
def _coerce_link(name: str, value: Any) -> Any:
    """Convert a link that is an object or a list: its first link."""
    if name in _LINKS and value is not None:
        return next(_links_in({name: value}), UNSET)
    return UNSET


_PLAIN: Final = Decoder(MediaResult)
_TRANSCRIPT: Final = Decoder(TranscriptResult)
# By the member that only such a result has.
_WITH_ID: Final[dict[str, Decoder[Any]]] = {
    "voice_id": Decoder(VoiceResult),
    "element_id": Decoder(ElementResult),
    "character_id": Decoder(CharacterResult),
    "profile_id": Decoder(ProfileResult),
}


@final
class MediaResults(Sequence[MediaResult]):
    """The results of an image, video, audio or document task, in the order of the service."""

    __slots__ = ("__weakref__", "_items", "_task")

    def __init__(
        self, items: Sequence[MediaResult] = (), *, task: TaskSummary | None = None
    ) -> None:
        self._items = tuple(items)
        self._task = task

    @property
    def urls(self) -> tuple[str, ...]:
        """All links of all results, each once."""
        return tuple(dict.fromkeys(link for item in self._items for link in item.urls))

    @property
    def task(self) -> TaskSummary | None:
        """The task behind the results. It is not compared."""
        return self._task

    @overload
    def __getitem__(self, index: int) -> MediaResult: ...
    @overload
    def __getitem__(self, index: slice) -> "MediaResults": ...
    def __getitem__(self, index: int | slice) -> "MediaResult | MediaResults":
        if isinstance(index, slice):
            return MediaResults(self._items[index], task=self._task)
        return self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[MediaResult]:
        return iter(self._items)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MediaResults) and self._items == other._items

    def __hash__(self) -> int:
        return hash(self._items)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self._items, self._task)

    def __repr__(self) -> str:
        return f"<MediaResults [{', '.join(map(repr, self._items))}]>"

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        return _card("MediaResults", self._items, self._task)


def decode_media(results: Sequence[Raw], task: TaskSummary | None = None) -> MediaResults:
    """Decode the elements of ``results``.

    A text is a link or a transcript, the items of a nested list are results, nulls are dropped.
    Raises ``msgspec.DecodeError`` if nothing is left.
    """
    try:
        items = [item for result in results for item in _results_of(decode_json(result), result)]
    except RecursionError as error:
        raise DecodeError(str(error)) from None
    if not items:
        raise DecodeError("there is no result")
    for item in items:
        _set_origin(item, task=task)
    return MediaResults(items, task=task)


def bind_results(results: MediaResults, session: object | None) -> MediaResults:
    """Keep in each result the session that it came from. No copy of another process has it."""
    if session is not None:
        for result in results:
            vars(result).setdefault("_session", session)
    return results


def session_of(result: MediaResult) -> object | None:
    """Return the session that the result came from; ``None`` for an unpickled one."""
    session: object | None = vars(result).get("_session")
    return session


def _results_of(value: Any, raw: Raw | None) -> Iterator[MediaResult]:
    if value is None:
        return
    if is_list(value):
        for item in value:
            yield from _results_of(item, None)
        return
    data = bytes(raw) if raw is not None else msgspec.json.encode(value)
    yield _set_origin(_decode_one(value), raw=data)


def _decode_one(value: Any) -> MediaResult:
    if isinstance(value, str):
        return MediaResult(url=value) if _is_link(value) else TranscriptResult(text=value)
    if not is_object(value):
        return _PLAIN.build({"value": value})
    for name, decoder in _WITH_ID.items():
        found = value.get(name)
        if isinstance(found, str | int) and not isinstance(found, bool) and found != "":
            result: MediaResult = decoder.build({**value, name: str(found)})
            return result
    if isinstance(value.get("text"), str) and not isinstance(value.get("url"), str):
        return _TRANSCRIPT.build(value)
    return _PLAIN.build(value)


def _links_in(value: Any, depth: int = 0) -> Iterator[str]:
    """Yield the values of link members at any depth; a link may be a text, an object or a list."""
    if depth > _MAX_DEPTH:
        return
    if is_list(value):
        for item in value:
            yield from _links_in(item, depth + 1)
    elif is_object(value):
        for name, member in value.items():
            if name in _LINKS or name in _LINK_LISTS:
                yield from _texts_in(member)
            if not isinstance(member, str):
                yield from _links_in(member, depth + 1)


_LINK_LISTS: Final = frozenset(f"{name}s" for name in _LINKS)


def _texts_in(value: Any) -> Iterator[str]:
    for item in value if is_list(value) else [value]:
        if isinstance(item, str) and item:
            yield item


def _is_link(text: str) -> bool:
    scheme, colon, _ = text.partition(":")
    return bool(colon) and scheme.lower() in {"http", "https", "data"}


def _set_origin(result: M, *, raw: bytes | None = None, task: TaskSummary | None = None) -> M:
    """Set what is no member of a result that has just been built, and return it."""
    if raw is not None:
        vars(result)["_raw"] = raw
    if task is not None:
        vars(result)["_task"] = task
    return result


def _unpickle(
    kind: type[MediaResult], members: dict[str, Any], raw: bytes, task: TaskSummary | None
) -> MediaResult:
    return _set_origin(kind(**members), raw=raw, task=task)


def _rebuild(items: tuple[MediaResult, ...], task: TaskSummary | None) -> MediaResults:
    return MediaResults(items, task=task)


def _card(title: str, results: Sequence[MediaResult], task: TaskSummary | None) -> str:
    links = [link for result in results for link in result.urls]
    texts = [
        result.text if isinstance(result, TranscriptResult) else result.to_json()
        for result in results
        if not result.urls
    ]
    rows = [("task", task and task.id), ("model", task and task.model)]
    images = [
        link
        for result in results
        for link in result.urls
        if _is_image(link, result) and _may_be_shown(link)
    ]
    text = "\n".join([*links, *texts])
    return html_card(title, rows, text=text or None, images=images[:_MAX_THUMBNAILS])


def _is_image(link: str, result: MediaResult) -> bool:
    if link == result.image_url:
        return True
    if link == result.url and result.content_type is not None:
        return result.content_type.lower().startswith("image/")
    return _split(link)[1].lower().endswith(_IMAGES)


def _may_be_shown(link: str) -> bool:
    """Tell whether a page may load a link: over https, or from this machine."""
    scheme_and_host, _ = _split(link)
    scheme, _, host = scheme_and_host.partition("://")
    return (scheme == "https" and bool(host)) or (scheme == "http" and host in _LOOPBACK)


def _split(link: str) -> tuple[str, str]:
    """Return scheme and host of a link, and its path; empty texts for one that cannot be read."""
    try:
        parts = urlsplit(link)
        origin = f"{parts.scheme}://{parts.hostname or ''}"
    except ValueError:
        return "", ""
    return origin, parts.path
