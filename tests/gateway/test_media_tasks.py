"""Media tasks, from their submit to their files (contract §9, §10)."""

import asyncio
import json
import wave
import zipfile
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from shutil import which
from subprocess import run
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from PIL import Image

from foxapi_async._clock import ManualClock
from foxapi_async.gateway import Upstream

if TYPE_CHECKING:
    from tests.gateway.conftest import Reply, Serve, Service

IMAGES = "/v1/images/generations"
VIDEOS = "/v1/videos/generations"
AUDIOS = "/v1/audios/generations"
SUNO = "/v1/audio/generations"
RUN = "/v1/run/generations"
HOUR = 3600
FFPROBE = which("ffprobe")
LINK = "https://example.com/a"
IMAGE: dict[str, Any] = {"model": "gpt-image-2", "prompt": "a red fox"}
VIDEO: dict[str, Any] = {"model": "veo-3.1", "prompt": "waves", "resolution": "720p", "duration": 4}
SPEECH: dict[str, Any] = {"model": "speech-2.8-hd", "prompt": "good morning to all of you"}
DOCUMENT: dict[str, Any] = {"model": "doc2x-v3", "pdf_url": f"{LINK}.pdf", "page_count": 2}


async def make(service: "Service", path: str, **members: Any) -> Any:
    """Submit a request, wait for the end of its task, and return it."""
    reply = await service.call("POST", path, json=members)
    assert reply.status == 200, reply
    task = await service.finished(reply.json["id"])
    assert task["status"] == "completed", task
    return task


async def get(service: "Service", url: str) -> "Reply":
    """Fetch a link without a key."""
    assert url.startswith(service.gateway.url)
    return await service.call("GET", url.removeprefix(service.gateway.url), key=None)


async def file_of(service: "Service", path: str, **members: Any) -> bytes:
    """Return the file of the only result."""
    (result,) = (await make(service, path, **members))["results"]
    return (await get(service, result["url"])).body


async def upload(service: "Service", data: bytes, name: str) -> str:
    """Store a file and return its link."""
    form = aiohttp.FormData()
    form.add_field("file", data, filename=name)
    reply = await service.call("POST", "/v1/files/upload/stream", data=form)
    assert reply.status == 200
    url: str = reply.json["url"]
    return url


@pytest.mark.parametrize(
    ("path", "members", "kind"),
    [
        (IMAGES, IMAGE, "image"),
        (VIDEOS, VIDEO, "video"),
        (AUDIOS, SPEECH, "audio"),
        (SUNO, {"model": "suno-v4", "prompt": "a song"}, "audio"),
        (RUN, DOCUMENT, "document"),
    ],
)
async def test_a_submit_has_the_members_of_the_service(
    serve: "Serve", path: str, members: dict[str, Any], kind: str
) -> None:
    """A submit answers with a pending task, what it reserves, and when it may be ready."""
    service = await serve(price=3, queue_delay=1, media_delay=4, clock=ManualClock())
    reply = await service.call("POST", path, json=members)
    task = reply.json
    assert task == {
        "id": task["id"],
        "object": f"{kind}.generation.task",
        "type": kind,
        "model": members["model"],
        "status": "pending",
        "progress": 0,
        "created": task["created"],
        "task_info": {"can_cancel": True, "estimated_time": 5},
        "usage": {"credits_reserved": 3},
    }
    assert task["id"].startswith(f"task-unified-{task['created']}-")
    assert (service.gateway.stats.submits, service.gateway.stats.tasks) == (1, 1)
    assert service.gateway.requests == [members]


async def test_a_task_goes_forward_only(serve: "Serve") -> None:
    """A task is pending, then processing with growing progress, then completed with results."""
    clock = ManualClock()
    service = await serve(clock=clock, queue_delay=2, media_delay=10)
    task = (await service.call("POST", IMAGES, json=IMAGE)).json
    seen = [await service.task(task["id"])]
    while seen[-1]["status"] != "completed":
        await clock.advance(0.5)
        seen.append(await service.task(task["id"]))
    states = list(dict.fromkeys(item["status"] for item in seen))
    assert states == ["pending", "processing", "completed"]
    progress = [item["progress"] for item in seen]
    assert progress == sorted(progress)
    assert len(set(progress)) > 8
    assert all(item["results"] is None for item in seen[:-1])


@pytest.mark.parametrize(
    ("params", "size", "image_format"),
    [
        ({}, (1024, 1024), "PNG"),
        ({"resolution": "1536x1024", "output_format": "jpeg"}, (1536, 1024), "JPEG"),
        ({"resolution": {"width": 512, "height": 768}}, (512, 768), "PNG"),
        ({"output_format": "webp", "quality": "low"}, (1024, 1024), "WEBP"),
    ],
)
async def test_an_image_has_its_size_and_format(
    service: "Service", params: dict[str, Any], size: tuple[int, int], image_format: str
) -> None:
    """An image opens in another program, with the size and the format that were asked for."""
    task = await make(service, IMAGES, **IMAGE, **params, num_outputs=3)
    assert len(task["results"]) == 3
    files: set[bytes] = set()
    for result in task["results"]:
        reply = await get(service, result["url"])
        image = Image.open(BytesIO(reply.body))
        image.load()
        assert (image.size, image.format) == (size, image_format)
        assert reply.headers["Content-Type"] == result["content_type"]
        assert result["content_type"] == f"image/{image_format.lower()}"
        files.add(reply.body)
    assert len(files) == 3


async def test_a_prompt_is_drawn(service: "Service") -> None:
    """Another prompt gives another image, and the same prompt the same one."""
    first, second, other = [
        await file_of(service, IMAGES, **(IMAGE | {"prompt": prompt})) for prompt in ("a", "a", "b")
    ]
    assert first == second != other


async def test_a_video_plays(service: "Service") -> None:
    """A video has the container, the codec, the size and the duration that were asked for."""
    (result,) = (await make(service, VIDEOS, **VIDEO, aspect_ratio="9:16"))["results"]
    assert (result["content_type"], result["duration"]) == ("video/mp4", 4)
    data = (await get(service, result["url"])).body
    assert data[4:12] == b"ftypisom"
    if find_spec("av") is not None:
        await asyncio.to_thread(_check_video, data)
    if FFPROBE is not None:
        await asyncio.to_thread(_probe_video, data)


def _check_video(data: bytes) -> None:
    with import_module("av").open(BytesIO(data)) as video:
        frames = list(video.decode(video=0))
        stream = video.streams.video[0]
        assert (stream.codec_context.name, stream.width, stream.height) == ("h264", 720, 1280)
        assert (len(frames), video.duration) == (40, 4_000_000)


def _probe_video(data: bytes) -> None:
    command = [FFPROBE or "", "-v", "error", "-show_streams", "-of", "json", "-"]
    found = run(command, input=data, capture_output=True, check=True)
    (stream,) = json.loads(found.stdout)["streams"]
    assert (stream["codec_name"], stream["width"], stream["height"]) == ("h264", 720, 1280)


async def test_speech_is_a_recording(service: "Service") -> None:
    """Speech is a WAV file whose duration and size are those of the result."""
    (result,) = (await make(service, AUDIOS, **SPEECH))["results"]
    data = (await get(service, result["url"])).body
    with wave.open(BytesIO(data)) as sound:
        seconds = sound.getnframes() / sound.getframerate()
    assert seconds == pytest.approx(result["duration"])
    assert (result["file_size"], result["content_type"]) == (len(data), "audio/wav")
    assert result["filename"].endswith(".wav")


@pytest.mark.parametrize(
    "members",
    [
        SPEECH | {"audio_setting": {"format": "mp3"}},
        {"model": "gemini-3.1-flash-tts", "prompt": "good morning"},
    ],
)
async def test_speech_may_be_an_mp3(service: "Service", members: dict[str, Any]) -> None:
    """Speech is MP3 where the request asks for it, or the model makes it by default."""
    (result,) = (await make(service, AUDIOS, **members))["results"]
    data = (await get(service, result["url"])).body
    assert (result["content_type"], result["filename"]) == ("audio/mpeg", "audio-1.mp3")
    # Each frame begins with the same head.
    assert {data[start : start + 4] for start in range(0, len(data), 144)} == {b"\xff\xfb\x18\xc0"}
    if find_spec("av") is not None:
        seconds = await asyncio.to_thread(_heard_seconds, data)
        assert seconds == pytest.approx(result["duration"], abs=0.001)


def _heard_seconds(data: bytes) -> float:
    with import_module("av").open(BytesIO(data)) as sound:
        frames = list(sound.decode(audio=0))
        assert max(abs(frame.to_ndarray()).max() for frame in frames) > 0.1
        seconds: float = sum(frame.samples for frame in frames) / 32_000
    return seconds


async def test_suno_has_two_variants_for_72_hours(serve: "Serve") -> None:
    """Suno has its own path, two songs, and links that work for 72 hours; others work for 24."""
    clock = ManualClock()
    service = await serve(clock=clock, queue_delay=0, media_delay=0)
    songs = (await make(service, SUNO, model="suno-v4", prompt="a song"))["results"]
    (image,) = (await make(service, IMAGES, **IMAGE))["results"]
    assert len(songs) == 2
    misplaced = await service.call("POST", AUDIOS, json={"model": "suno-v4", "prompt": "a"})
    assert misplaced.status == 422
    await clock.advance(24 * HOUR + 1)
    assert (await get(service, image["url"])).status == 410
    assert (await get(service, songs[1]["url"])).status == 200
    await clock.advance(48 * HOUR)
    assert (await get(service, songs[1]["url"])).status == 410


@pytest.mark.parametrize("mode", ["md", "tex", "docx"])
async def test_a_document_is_an_archive(service: "Service", mode: str) -> None:
    """A converted document is a ZIP file with the text and its images."""
    data = await file_of(service, RUN, **DOCUMENT, convert_mode=mode, filename="report.pdf")
    with zipfile.ZipFile(BytesIO(data)) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        main = archive.read(f"report.{mode}")
        for name in names[1:]:
            Image.open(BytesIO(archive.read(name))).verify()
    if mode == "docx":
        with zipfile.ZipFile(BytesIO(main)) as document:
            assert b"Page 2" in document.read("word/document.xml")
    else:
        assert all(name in main.decode() for name in names[1:])
        assert len(names) == 3


async def test_a_transcript_tells_of_the_uploaded_file(service: "Service") -> None:
    """The text of a recording names the file, its type, its size and its duration."""
    speech = await file_of(service, AUDIOS, **SPEECH)
    url = await upload(service, speech, "talk.wav")
    (scribe,) = (await make(service, AUDIOS, model="scribe-v2", audio_url=url))["results"]
    for part in ("talk.wav", "audio/wav", str(len(speech)), "seconds"):
        assert part in scribe["text"]
    assert scribe["language_code"] == "en"
    assert [word["text"] for word in scribe["words"]] == scribe["text"].split()
    assert scribe["words"][-1]["end"] == pytest.approx(2.9, abs=0.1)
    first, second = (
        await make(service, AUDIOS, model="paraformer-v2", file_urls=[url, f"{LINK}/b.mp3"])
    )["results"]
    assert (first["file_url"], first["text"]) == (url, scribe["text"])
    stored = (await get(service, second["transcription_url"])).json
    assert stored["file_url"] == f"{LINK}/b.mp3"
    assert "b.mp3" in stored["transcripts"][0]["text"]
    (cohere,) = (await make(service, AUDIOS, model="cohere-transcribe", audio_url=url))["results"]
    assert cohere == {"text": scribe["text"]}


@pytest.mark.parametrize(
    ("path", "members", "names"),
    [
        (VIDEOS, {"model": "kling-video-create-voice", "voice_url": LINK}, {"voice_id"}),
        (VIDEOS, {"model": "kling-custom-element", "prompt": "a cat"}, {"element_id"}),
        (
            VIDEOS,
            {"model": "sora-2-character", "name": "Ada", "video_url": LINK},
            {"character_id", "name"},
        ),
        (
            IMAGES,
            {"model": "phota-create-profile", "image_archive_url": LINK},
            {"result_type", "profile_id"},
        ),
        (AUDIOS, {"model": "minimax-voice-clone", "audio_url": LINK}, {"voice_id"}),
        (
            AUDIOS,
            {"model": "minimax-voice-clone", "audio_url": LINK, "text": "hello"},
            {"voice_id", "url", "content_type"},
        ),
        (
            IMAGES,
            {"model": "patina-pbr-maps", "image_url": LINK, "maps": ["normal"]},
            {"url", "content_type", "map_type"},
        ),
    ],
)
async def test_some_models_make_ids(
    service: "Service", path: str, members: dict[str, Any], names: set[str]
) -> None:
    """Voices, elements, characters and profiles are ids; maps say what they are (contract §9)."""
    (result,) = (await make(service, path, **members))["results"]
    assert set(result) == names
    assert all(result.values())


@pytest.mark.parametrize(
    ("path", "members", "code", "param"),
    [
        (IMAGES, {"prompt": "a"}, "invalid_param", "model"),
        (IMAGES, {"model": "gpt-image-2"}, "invalid_param", "prompt"),
        (IMAGES, {"model": "gpt-5.5", "prompt": "a"}, "model_not_supported", "model"),
        (VIDEOS, IMAGE, "invalid_param", "model"),
        (IMAGES, IMAGE | {"output_format": "gif"}, "invalid_param", "output_format"),
        (IMAGES, IMAGE | {"num_outputs": 11}, "invalid_param", "num_outputs"),
        (IMAGES, IMAGE | {"num_outputs": "2"}, "invalid_param", "num_outputs"),
        (IMAGES, IMAGE | {"wings": 2}, "unsupported_advanced_options", "wings"),
        (IMAGES, IMAGE | {"image_urls": ["a cat"]}, "invalid_image_url", "image_urls"),
        (IMAGES, IMAGE | {"mask_url": "ftp://a/b"}, "invalid_image_url", "mask_url"),
        (IMAGES, [], "invalid_param", "body"),
    ],
)
async def test_a_wrong_request_is_a_422(
    service: "Service", path: str, members: Any, code: str, param: str
) -> None:
    """A request that breaks a rule names its code and parameter, and no task is created."""
    reply = await service.call("POST", path, json=members)
    assert reply.status == 422, reply
    error = reply.json["error"]
    assert (error["code"], error["param"]) == (code, param)
    assert service.gateway.stats.tasks == 0


async def test_a_link_of_the_gateway_must_be_of_its_kind(service: "Service") -> None:
    """A dead link is an ``invalid_image_url``, a file of another kind an ``invalid_file_type``."""
    dead = f"{service.gateway.url}/files/1999999999-{'x' * 22}/a.png"
    text = await upload(service, b"hello", "a.txt")
    image = await upload(service, await file_of(service, IMAGES, **IMAGE), "a.png")
    codes: list[Any] = []
    for url in (dead, text, image):
        reply = await service.call("POST", IMAGES, json=IMAGE | {"image_urls": [url]})
        codes.append(reply.json.get("error", {}).get("code"))
    assert codes == ["invalid_image_url", "invalid_file_type", None]


async def test_a_prompt_can_ask_for_a_failure(service: "Service") -> None:
    """``[[fail:CODE]]`` in the prompt, and the fault ``fail``, fail the task with that code."""
    prompt = "no [[fail:content_policy_violation]]"
    reply = await service.call("POST", IMAGES, json=IMAGE | {"prompt": prompt})
    task = await service.finished(reply.json["id"])
    assert (task["status"], task["results"]) == ("failed", None)
    assert task["error"]["code"] == "content_policy_violation"
    service.gateway.faults.add("submit:fail:code=timeout")
    reply = await service.call("POST", RUN, json=DOCUMENT)
    task = await service.finished(reply.json["id"])
    assert task["error"]["code"] == "timeout"


@pytest.mark.parametrize("fault", ["503", "reset", "html", "empty", "truncated"])
@pytest.mark.parametrize("path", [IMAGES, AUDIOS])
async def test_a_fault_acts_on_media_submits(serve: "Serve", fault: str, path: str) -> None:
    """A rule for ``submit`` acts on media too; without ``late`` no task is created."""
    service = await serve(faults=[f"submit:{fault}"])
    try:
        reply = await service.call("POST", path, json=IMAGE if path == IMAGES else SPEECH)
        assert reply.status == 503 or b"task-" not in reply.body
    except aiohttp.ClientError:
        assert fault in {"reset", "truncated"}
    assert service.gateway.stats.tasks == (1 if fault == "truncated" else 0)


async def test_credits_are_held_and_spent(serve: "Serve") -> None:
    """A media task costs the price of its model, and a key with too few credits gets a 402."""
    service = await serve(api_keys={"sk-a": 5}, prices={"gpt-image-2": 3})
    assert (await service.call("POST", IMAGES, key="sk-a", json=IMAGE)).status == 200
    refused = await service.call("POST", IMAGES, key="sk-a", json=IMAGE)
    assert (refused.status, refused.json["error"]["type"]) == (402, "insufficient_quota")
    usage = await service.call("GET", "/dashboard/billing/usage", key="sk-a")
    assert usage.json["total_usage"] == 300
    prices = (await service.call("GET", "/api/pricing", key=None)).json["data"]
    assert {item["model_name"]: item["model_price"] for item in prices}["gpt-image-2"] == 3


async def test_a_task_and_its_files_survive_a_restart(serve: "Serve", tmp_path: Path) -> None:
    """With a data file, a task that runs is continued, and the files of one that ended are kept."""
    options: dict[str, Any] = {"data": tmp_path / "fox.db", "queue_delay": 0}
    first = await serve(media_delay=0, **options)
    done = await make(first, IMAGES, **IMAGE)
    await first.gateway.__aexit__(None, None, None)
    second = await serve(media_delay=1000, **options)
    running = (await second.call("POST", VIDEOS, json=VIDEO)).json["id"]
    while (await second.task(running))["status"] == "pending":
        pass
    failing = IMAGE | {"prompt": "[[fail:timeout]]"}
    fails = (await second.call("POST", IMAGES, json=failing)).json["id"]
    await second.gateway.__aexit__(None, None, None)
    third = await serve(media_delay=0, **options)
    (result,) = (await third.task(done["id"]))["results"]
    assert Image.open(BytesIO((await get(third, result["url"])).body)).size == (1024, 1024)
    task = await third.finished(running)
    assert task["status"] == "completed"
    assert (await get(third, task["results"][0]["url"])).status == 200
    assert (await third.finished(fails))["error"]["code"] == "timeout"


async def test_a_key_sees_its_own_tasks(serve: "Serve") -> None:
    """A media task of another key is a 404; a submit without a valid key is a 401."""
    service = await serve(api_keys=["sk-a", "sk-b"])
    task = (await service.call("POST", IMAGES, key="sk-a", json=IMAGE)).json
    path = f"/v1/tasks/{task['id']}?sync_upstream=true"
    assert (await service.call("GET", path, key="sk-a")).status == 200
    assert (await service.call("GET", path, key="sk-b")).status == 404
    assert (await service.call("POST", IMAGES, key="sk-c", json=IMAGE)).status == 401


async def test_links_are_absolute(serve: "Serve") -> None:
    """Links begin with the public URL, and no text of a result is taken for a link."""
    service = await serve(public_url="https://fox.example")
    task = await make(
        service, VIDEOS, model="sora-2-character", name='x":"/files/y', video_url=LINK
    )
    assert task["results"][0]["name"] == 'x":"/files/y'
    (image,) = (await make(service, IMAGES, **IMAGE))["results"]
    assert image["url"].startswith("https://fox.example/files/")


async def test_both_lists_of_models_are_right(service: "Service") -> None:
    """``/v1/models`` has the media models too, the list for language models does not."""
    cards = (await service.call("GET", "/v1/models")).json["data"]
    types = {card["id"]: card["supported_endpoint_types"] for card in cards}
    assert types["gpt-5.5"] == ["openai"]
    assert types["gpt-image-2"] == ["image-generation"]
    assert types["veo-3.1"] == ["video-generation"]
    models = (await service.call("GET", "/v1/configs/llm_generations_models")).json["data"]
    assert "gpt-image-2" not in {model["id"] for model in models}


async def test_a_gateway_of_upstreams_alone_makes_no_media(serve: "Serve") -> None:
    """With ``only_upstream`` there are no simulated models, those of media included."""
    upstream = Upstream(url="http://127.0.0.1:1/v1", models=["real"])
    service = await serve(upstreams=[upstream], only_upstream=True)
    assert (await service.call("POST", IMAGES, json=IMAGE)).status == 422
    cards = (await service.call("GET", "/v1/models")).json["data"]
    assert [card["id"] for card in cards] == ["real"]


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_voices_are_a_bare_array(service: "Service", language: str) -> None:
    """The preset voices are an array without an envelope."""
    path = f"/v1/configs/minimax-preset-voice-id?language={language}"
    voices = (await service.call("GET", path)).json
    assert isinstance(voices, list)
    assert all(voice["voice_id"] and voice["voice_name"] for voice in voices)
    assert (await service.call("GET", path, key=None)).status == 401
    assert (await service.call("GET", f"{path[:-2]}fr")).status == 422


async def test_many_results_are_bounded_in_memory(serve: "Serve") -> None:
    """Files of results are dropped, the oldest first, when they would take too much memory."""
    storage_module = import_module("foxapi_async.gateway.files")
    assert storage_module._RESULTS_IN_MEMORY == 256 * 1024 * 1024
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage_module, "_RESULTS_IN_MEMORY", 1500)
        service = await serve()
        urls = [(await make(service, IMAGES, **IMAGE))["results"][0]["url"] for _ in range(5)]
    statuses = [(await get(service, url)).status for url in urls]
    assert statuses[0] == 404
    assert statuses[-1] == 200
