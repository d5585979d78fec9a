"""Makes the results of a media request: real files, and the ids and texts of some models.

The same request gives the same results.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, cast
from zlib import crc32

import msgspec

from foxapi_async._wire.base import is_object
from foxapi_async._wire.media_request import MediaRequest, is_suno
from foxapi_async.gateway.files.file_name import safe_name
from foxapi_async.gateway.media.document import encode_archive
from foxapi_async.gateway.media.h264 import H264_CELL
from foxapi_async.gateway.media.jpeg import JPEG_CELL, encode_jpeg
from foxapi_async.gateway.media.made_result import MadeFile, MadeResult
from foxapi_async.gateway.media.mp3 import FRAME_SECONDS, MP3_FRAME, encode_mp3
from foxapi_async.gateway.media.mp4 import encode_mp4
from foxapi_async.gateway.media.picture import Picture, draw_picture
from foxapi_async.gateway.media.picture_size import image_size, video_size
from foxapi_async.gateway.media.png import encode_png
from foxapi_async.gateway.media.tone import DEFAULT_RATE, encode_wav
from foxapi_async.gateway.media.transcript import Recording, timed_words, transcribe
from foxapi_async.gateway.media.webp import encode_webp

Make = Callable[[MediaRequest, Sequence[Recording]], Iterator[MadeResult]]
"""Makes the results of a request, which names some files."""

_MAX_OUTPUTS: Final = 10
_SUNO_OUTPUTS: Final = 2
_MAX_VIDEO: Final = 30
_MAX_AUDIO: Final = 60.0
_VIDEO_SECONDS: Final = 5
_MUSIC_SECONDS: Final = 8.0
_SECONDS_A_WORD: Final = 0.4
_MAX_DOCUMENT_NAME: Final = 50
_MP3_BY_DEFAULT: Final = frozenset({"gemini-3.1-flash-tts"})
_IMAGES: Final[Mapping[str, tuple[str, str, Callable[[Picture], bytes]]]] = {
    "png": ("png", "image/png", encode_png),
    "jpeg": ("jpg", "image/jpeg", encode_jpeg),
    "jpg": ("jpg", "image/jpeg", encode_jpeg),
    "webp": ("webp", "image/webp", encode_webp),
}


def make_results(request: MediaRequest, sources: Sequence[Recording]) -> list[MadeResult]:
    """Return the results of a request.

    Args:
        request: The request.
        sources: The recordings that it names.
    """
    make = _BY_MODEL.get(base_model(request.model)) or _BY_KIND[request.kind]
    return list(make(request, sources))


def base_model(model: str) -> str:
    """Return the name of a model without its vendor and its variant."""
    return model.rpartition("/")[2].partition("[")[0]


def _images(request: MediaRequest, _: Sequence[Recording]) -> Iterator[MadeResult]:
    for number in range(_outputs(request)):
        yield _image(request, number)


def _image(request: MediaRequest, number: int, *, text: str | None = None) -> MadeResult:
    params = request.params
    suffix, content_type, encode = _IMAGES.get(
        str(params.get("output_format", "png")).lower(), _IMAGES["png"]
    )
    width, height = image_size(params)
    shown = _text(request) if text is None else text
    picture = draw_picture(
        shown, width=width, height=height, cell=JPEG_CELL, seed=f"{request.model}{number}"
    )
    file = MadeFile(
        member="url",
        name=f"image-{number + 1}.{suffix}",
        content_type=content_type,
        data=encode(picture),
    )
    return MadeResult(members={"content_type": content_type}, file=file)


def _maps(request: MediaRequest, _: Sequence[Recording]) -> Iterator[MadeResult]:
    maps: Any = request.params.get("maps")
    names = cast("list[object]", maps) if isinstance(maps, list) else ["basecolor"]
    for number, name in enumerate(names):
        made = _image(request, number, text=str(name))
        yield MadeResult(members={**made.members, "map_type": str(name)}, file=made.file)


def _videos(request: MediaRequest, _: Sequence[Recording]) -> Iterator[MadeResult]:
    params = request.params
    width, height = video_size(params)
    asked = params.get("duration")
    seconds = asked if isinstance(asked, int) and not isinstance(asked, bool) else _VIDEO_SECONDS
    seconds = min(seconds, _MAX_VIDEO) if seconds > 0 else _VIDEO_SECONDS
    picture = draw_picture(
        _text(request), width=width, height=height, cell=H264_CELL, seed=request.model
    )
    file = MadeFile(
        member="url", name="video.mp4", content_type="video/mp4", data=encode_mp4(picture, seconds)
    )
    members: dict[str, Any] = {"content_type": "video/mp4", "duration": seconds}
    if "seed" in params or base_model(request.model).startswith("seedance"):
        members["seed"] = params.get("seed", _number(request) % 2**31)
    yield MadeResult(members=members, file=file)


def _speech(request: MediaRequest, _: Sequence[Recording]) -> Iterator[MadeResult]:
    yield _audio(request, 0.5 + _SECONDS_A_WORD * len(_text(request).split()))


def _music(request: MediaRequest, _: Sequence[Recording]) -> Iterator[MadeResult]:
    asked = request.params.get("duration")
    seconds = float(asked) if isinstance(asked, int) and asked > 0 else _MUSIC_SECONDS
    lyrics = request.params.get("lyrics")
    for number in range(_SUNO_OUTPUTS if is_suno(request.model) else 1):
        made = _audio(request, seconds, number)
        more = {"lyrics": lyrics} if isinstance(lyrics, str) else {}
        yield MadeResult(members=made.members | more, file=made.file)


def _audio(request: MediaRequest, seconds: float, number: int = 0) -> MadeResult:
    seconds = round(min(seconds, _MAX_AUDIO), 1)
    text = f"{_text(request)}{number}"
    audio_format, rate = _audio_format(request)
    if audio_format == "mp3":
        data = encode_mp3(text, seconds=seconds)
        seconds = round(len(data) // MP3_FRAME * FRAME_SECONDS, 3)
    else:
        data = encode_wav(text, seconds=seconds, rate=rate)
    content_type = "audio/mpeg" if audio_format == "mp3" else "audio/wav"
    name = f"audio-{number + 1}.{audio_format}"
    members = {
        "content_type": content_type,
        "filename": name,
        "file_size": len(data),
        "duration": seconds,
    }
    file = MadeFile(member="url", name=name, content_type=content_type, data=data)
    return MadeResult(members=members, file=file)


def _audio_format(request: MediaRequest) -> tuple[Literal["mp3", "wav"], int]:
    """Return the format and the samples of a second; WAV stands for what there is no encoder of."""
    setting: Any = request.params.get("audio_setting")
    given: Mapping[str, Any] = setting if is_object(setting) else {}
    asked = request.params.get("output_format") or given.get("format")
    if asked is None and base_model(request.model) in _MP3_BY_DEFAULT:
        asked = "mp3"
    rate = given.get("sample_rate")
    return "mp3" if asked == "mp3" else "wav", rate if isinstance(rate, int) else DEFAULT_RATE


def _document(request: MediaRequest, sources: Sequence[Recording]) -> Iterator[MadeResult]:
    params = request.params
    given = str(params.get("filename") or "") or (sources[0].name if sources else "")
    name = safe_name(given.removesuffix(".pdf"), "document")[:_MAX_DOCUMENT_NAME]
    pages = params.get("page_count")
    data = encode_archive(
        name,
        pages=pages if isinstance(pages, int) else 1,
        mode=str(params.get("convert_mode", "md")),
        inline=str(params.get("formula_mode", "normal")),
    )
    file = MadeFile(member="url", name=f"{name}.zip", content_type="application/zip", data=data)
    yield MadeResult(members={"content_type": file.content_type}, file=file)


def _scribe(request: MediaRequest, sources: Sequence[Recording]) -> Iterator[MadeResult]:
    source = sources[0]
    text = transcribe(source)
    language = request.params.get("language_code")
    yield MadeResult(
        members={
            "text": text,
            "language_code": language if isinstance(language, str) else "en",
            "language_probability": 1.0,
            "words": timed_words(text, source.seconds),
        }
    )


def _transcription(_: MediaRequest, sources: Sequence[Recording]) -> Iterator[MadeResult]:
    yield MadeResult(members={"text": transcribe(sources[0])})


def _recognitions(_: MediaRequest, sources: Sequence[Recording]) -> Iterator[MadeResult]:
    """Make a file of JSON for each recording, as paraformer does; its times are milliseconds."""
    for number, source in enumerate(sources, 1):
        text = transcribe(source)
        words = [
            {
                "text": word["text"],
                "begin_time": round(1000 * word["start"]),
                "end_time": round(1000 * word["end"]),
            }
            for word in timed_words(text, source.seconds)
        ]
        sentence = {
            "text": text,
            "begin_time": 0,
            "end_time": words[-1]["end_time"],
            "words": words,
        }
        transcript = {"channel_id": 0, "text": text, "sentences": [sentence]}
        data = msgspec.json.encode({"file_url": source.url, "transcripts": [transcript]})
        file = MadeFile(
            member="transcription_url",
            name=f"transcript-{number}.json",
            content_type="application/json",
            data=data,
        )
        yield MadeResult(members={"file_url": source.url, "text": text}, file=file)


def _voice(request: MediaRequest, _: Sequence[Recording]) -> Iterator[MadeResult]:
    voice = {"voice_id": f"voice-{_number(request):08x}"}
    preview = request.params.get("text") or request.params.get("preview_text")
    if not isinstance(preview, str):
        yield MadeResult(members=voice)
        return
    made = _audio(request, 0.5 + _SECONDS_A_WORD * len(preview.split()))
    yield MadeResult(members=voice | {"content_type": made.members["content_type"]}, file=made.file)


def _identity(member: str, prefix: str) -> Make:
    """Return what makes a result that is an id alone."""

    def make(request: MediaRequest, _: Sequence[Recording]) -> Iterator[MadeResult]:
        yield MadeResult(members={member: f"{prefix}-{_number(request):08x}"})

    return make


def _character(request: MediaRequest, _: Sequence[Recording]) -> Iterator[MadeResult]:
    members = {"character_id": f"char-{_number(request):08x}", "name": request.params.get("name")}
    yield MadeResult(members=members)


def _profile(request: MediaRequest, _: Sequence[Recording]) -> Iterator[MadeResult]:
    profile_id = f"profile-{_number(request):08x}"
    yield MadeResult(members={"result_type": "profile", "profile_id": profile_id})


_BY_KIND: Final[Mapping[str, Make]] = {
    "image": _images,
    "video": _videos,
    "audio": _speech,
    "document": _document,
}
_BY_MODEL: Final[Mapping[str, Make]] = {
    "patina-material": _maps,
    "patina-material-extract": _maps,
    "patina-pbr-maps": _maps,
    "phota-create-profile": _profile,
    "kling-custom-element": _identity("element_id", "element"),
    "kling-video-create-voice": _identity("voice_id", "voice"),
    "sora-2-character": _character,
    "lyria-3": _music,
    "lyria-3-pro": _music,
    "minimax-music-v2.5": _music,
    "minimax-music-v2.6": _music,
    "suno-v4": _music,
    "minimax-voice-clone": _voice,
    "voice-clone": _voice,
    "scribe-v2": _scribe,
    "cohere-transcribe": _transcription,
    "paraformer-v2": _recognitions,
    "paraformer-8k-v2": _recognitions,
}


def _outputs(request: MediaRequest) -> int:
    asked = request.params.get("num_outputs")
    return min(max(asked, 1), _MAX_OUTPUTS) if isinstance(asked, int) else 1


def _text(request: MediaRequest) -> str:
    text: Any = request.prompt or request.params.get("text") or request.params.get("preview_text")
    return text if isinstance(text, str) else request.model


def _number(request: MediaRequest) -> int:
    """Return a number that depends on the whole request."""
    return crc32(msgspec.json.encode([request.model, request.params], order="deterministic"))
