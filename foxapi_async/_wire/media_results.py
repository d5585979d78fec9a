"""The results of media tasks (contract §9).

No result is rejected for its form: its task is paid for. What a result is follows from its members,
because the service names no type, and its models change.
"""

import os
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Self, TypeVar, final, overload

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
from foxapi_async._wire.media_links import (
    LINKS,
    Downloader,
    NamedLink,
    is_link,
    links_in,
    may_be_shown,
    split_link,
)
from foxapi_async._wire.media_request import is_suno
from foxapi_async._wire.task import TaskSummary
from foxapi_async._wire.transfer_progress import OnTransfer

M = TypeVar("M", bound="MediaResult")

_DAY: Final = 24 * 3600.0
_SUNO_DAYS: Final = 3
_IMAGES: Final = (".avif", ".gif", ".jpeg", ".jpg", ".png", ".webp")
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
        named = [getattr(self, name) for name in LINKS]
        return tuple(dict.fromkeys(link for link in (*named, *links_in(self.extra)) if link))

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

    def download(
        self,
        path: str | os.PathLike[str] = ".",
        *,
        overwrite: bool = False,
        progress: OnTransfer | None = None,
    ) -> Coroutine[Any, Any, Path]:
        """Download the file of the result, and return its path: ``await result.download("out/")``.

        It is ``fox.files.download(result, path)`` of the session that the result came from.

        Args:
            path: A folder, or the path of the file. A folder that does not exist ends with ``/``.
            overwrite: Whether a file of that name is replaced.
            progress: Called with a ``TransferProgress`` every two megabytes or so.

        Returns:
            The path.

        Raises:
            RuntimeError: The result belongs to no session.
            ValueError: The result has no link.
            FoxAPIError: The errors of ``fox.files.download``.
        """
        return _downloader_of(self).download(
            first_link(self), path, overwrite=overwrite, progress=progress
        )

    def iter_bytes(self) -> AsyncIterator[bytes]:
        """Return the bytes of the file: ``async for chunk in result.iter_bytes()``.

        It is ``fox.files.iter_bytes(result)`` of the session that the result came from.
        """
        return _downloader_of(self).iter_bytes(first_link(self))

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
    if name in LINKS and value is not None:
        return next(links_in({name: value}), UNSET)
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

    def save(
        self,
        folder: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        progress: OnTransfer | None = None,
    ) -> Coroutine[Any, Any, list[Path]]:
        """Download all files into a folder, and return their paths: ``await results.save("out")``.

        It is ``fox.files.save(results, folder)`` of the session that the results came from.

        Args:
            folder: The folder, which is made if it does not exist.
            overwrite: Whether files of the same names are replaced; otherwise the new ones get
                numbers.
            progress: Called with a ``TransferProgress`` of one of the files at a time.

        Returns:
            The paths, in the order of the links.

        Raises:
            RuntimeError: The results belong to no session.
            FoxAPIError: The errors of ``fox.files.save``.
        """
        links = [link for item in self._items for link in links_of(item)]
        downloader = _downloader_of(self._items[0] if self._items else None)
        return downloader.save(links, folder, overwrite=overwrite, progress=progress)

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


def bind_results(results: MediaResults, downloader: Downloader | None) -> MediaResults:
    """Keep in each result the session that it came from. No copy of another process has it."""
    if downloader is not None:
        for result in results:
            vars(result).setdefault("_session", downloader)
    return results


def session_of(result: MediaResult) -> Downloader | None:
    """Return the session that the result came from; ``None`` for an unpickled one."""
    session: Downloader | None = vars(result).get("_session")
    return session


def _downloader_of(result: MediaResult | None) -> Downloader:
    downloader = None if result is None else session_of(result)
    if downloader is None:
        raise RuntimeError(
            "this result belongs to no session, as after pickle: use fox.files.download(result) or "
            "fox.files.save(results)"
        )
    return downloader


def links_of(result: MediaResult) -> list[NamedLink]:
    """Return all links of a result, the one of its file with the name and the type of the file."""
    return [
        NamedLink(link, result.filename, result.content_type)
        if link == result.url
        else NamedLink(link)
        for link in result.urls
    ]


def first_link(result: MediaResult) -> NamedLink:
    """Return the first link of a result; raise ``ValueError`` if it has none."""
    links = links_of(result)
    if not links:
        raise ValueError(f"a {type(result).__name__} without a link has no file")
    return links[0]


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
        return MediaResult(url=value) if is_link(value) else TranscriptResult(text=value)
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
        if _is_image(link, result) and may_be_shown(link)
    ]
    text = "\n".join([*links, *texts])
    return html_card(title, rows, text=text or None, images=images[:_MAX_THUMBNAILS])


def _is_image(link: str, result: MediaResult) -> bool:
    if link == result.image_url:
        return True
    if link == result.url and result.content_type is not None:
        return result.content_type.lower().startswith("image/")
    return split_link(link)[1].lower().endswith(_IMAGES)
