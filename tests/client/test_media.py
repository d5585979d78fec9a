"""Laws of media tasks: they are paid for, waited for and found again as generations are."""

import asyncio
import json
import pickle
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler
from msgspec import DecodeError
from msgspec.structs import replace

from foxapi_async import (
    APIConnectionError,
    BudgetExceededError,
    ConfigError,
    FoxAPIError,
    FoxSession,
    InternalServerError,
    InvalidResponseError,
    Media,
    MediaResults,
    PollPolicy,
    RequestValidationError,
    RetryPolicy,
    SubmitOutcomeUnknownError,
    Task,
    TaskFailedError,
    TaskHandle,
    as_completed,
)
from foxapi_async._client.handle import MediaHandle
from foxapi_async._client.media import build_media_request
from foxapi_async._journal import Stage
from foxapi_async._wire.media_request import (
    MEDIA_PATHS,
    MediaKind,
    decode_submit,
    encode_submit,
    submit_path,
)
from foxapi_async.config import Budget
from foxapi_async.gateway import Gateway
from foxapi_async.hooks import (
    Event,
    SubmitOutcomeUnknown,
    SubmitUnclaimed,
    TaskFinished,
    TaskSubmitted,
)
from foxapi_async.journal import open_journal
from foxapi_async.testing import HALF, WHOLE, CannedResponse, Close, FaultProxy, Reset, Stall
from foxapi_async.testing.faults import Fault
from foxapi_async.types import MediaRequest, TranscriptResult

KEY = "sk-secret-0123456789abcdef"
FOX: dict[str, Any] = {"model": "gpt-image-2", "prompt": "a fox"}
KEYED: dict[str, Any] = FOX | {"key": "row-17"}
RESOURCES: Mapping[str, MediaKind] = {
    "images": "image",
    "videos": "video",
    "audios": "audio",
    "documents": "document",
}
MODELS: dict[str, dict[str, Any]] = {
    "images": FOX,
    "videos": {"model": "veo-3.1", "prompt": "a fox"},
    "audios": {"model": "speech-2.8-hd", "prompt": "a fox"},
    "documents": {"model": "doc2x-v3", "pdf_url": "https://x/a.pdf", "page_count": 1},
}


class MediaService:
    """Answers submits of media in place of the gateway, and queries of its tasks.

    ``bodies`` has each POST as path and body, ``tasks`` the results of each task by its id.
    """

    def __init__(self) -> None:
        self.bodies: list[tuple[str, dict[str, Any]]] = []
        self.tasks: dict[str, dict[str, Any]] = {}
        self.results: list[Any] | None = None
        self.fails = False
        self.polls: Counter[str] = Counter()

    @web.middleware
    async def handle(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer a submit of media or a query of its task; pass on the others."""
        task_id = request.path.rpartition("/")[2]
        if request.method == "GET" and task_id in self.tasks:
            self.polls[task_id] += 1
            return web.json_response(self.tasks[task_id])
        if request.method == "POST" and request.path in {
            *MEDIA_PATHS.values(),
            "/v1/audio/generations",
        }:
            return web.json_response(self._submitted(request.path, await request.json()))
        return await handler(request)

    def _submitted(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.bodies.append((path, body))
        number = len(self.bodies)
        kind = path.split("/")[2].removesuffix("s").replace("run", "document")
        task = {
            "id": f"task-unified-1-{number:08}",
            "object": f"{kind}.generation.task",
            "type": kind,
            "model": body["model"],
            "status": "pending",
            "progress": 0,
            "created": 1_776_874_565,
            "usage": {"credits_reserved": 5},
            "task_info": {"can_cancel": True, "estimated_time": 45},
        }
        ended: dict[str, Any] = (
            {"status": "failed", "error": {"code": "content_policy_violation", "message": "no"}}
            if self.fails
            else {
                "status": "completed",
                "results": self.results or [{"url": f"https://x/{number}.png"}],
            }
        )
        self.tasks[task["id"]] = task | {"progress": 100} | ended
        return task


@pytest.fixture
def media() -> MediaService:
    """Return a service of media."""
    return MediaService()


@pytest.fixture
async def media_proxy(media: MediaService) -> AsyncIterator[FaultProxy]:
    """Run the service behind a fault proxy."""
    gateway = Gateway()
    gateway.app.middlewares.append(media.handle)
    async with gateway, FaultProxy(gateway.url) as fault_proxy:
        yield fault_proxy


def session(fault_proxy: FaultProxy, fast_polling: PollPolicy, **options: Any) -> FoxSession:
    """Open a session to the service."""
    return FoxSession(KEY, base_url=fault_proxy.url, polling=fast_polling, **options)


def resource(fox: FoxSession, name: str) -> Media:
    """Return one of the four resources."""
    found = getattr(fox, name)
    assert isinstance(found, Media)
    return found


@pytest.mark.parametrize("name", RESOURCES)
async def test_each_kind_has_its_route_and_its_results(
    media_proxy: FaultProxy, media: MediaService, fast_polling: PollPolicy, name: str
) -> None:
    """A task of each kind goes to its path, with the body as given, and gives its results."""
    kind = RESOURCES[name]
    async with session(media_proxy, fast_polling) as fox:
        assert resource(fox, name).kind == kind
        handle = await resource(fox, name).submit(**MODELS[name])
        assert isinstance(handle, TaskHandle)
        assert (handle.kind, handle.model, handle.status) == (
            kind,
            MODELS[name]["model"],
            "pending",
        )
        results = await handle
        assert isinstance(results, MediaResults)
        assert results.urls == ("https://x/1.png",)
        assert results.task is not None
        assert (results.task.id, results.task.created) == (handle.id, 1_776_874_565)
        assert (await resource(fox, name).generate(**MODELS[name])).urls == ("https://x/2.png",)
    assert media.bodies == [(MEDIA_PATHS[kind], MODELS[name])] * 2


@pytest.mark.parametrize("model", ["suno-v4", "Suno-v5", "vendor/suno-v4"])
async def test_suno_has_a_route_of_its_own(
    media_proxy: FaultProxy, media: MediaService, fast_polling: PollPolicy, model: str
) -> None:
    """Suno's models go to the path in the singular (contract §2)."""
    async with session(media_proxy, fast_polling, validation="off") as fox:
        await fox.audios.submit(model=model, prompt="a song")
    assert [path for path, _ in media.bodies] == ["/v1/audio/generations"]


async def test_parameters_are_sent_as_given(
    media_proxy: FaultProxy, media: MediaService, fast_polling: PollPolicy
) -> None:
    """Every parameter is open; ``extra`` has those with the name of a keyword."""
    async with session(media_proxy, fast_polling) as fox:
        await fox.images.submit(
            model="new-model",
            prompt=None,
            size={"width": 64, "height": 32},
            image_urls=("https://x/1",),
            extra={"key": "k", "timeout": 3},
            extra_headers={"X-Trace": "7"},
        )
    assert media.bodies[0][1] == {
        "model": "new-model",
        "prompt": None,
        "size": {"width": 64, "height": 32},
        "image_urls": ["https://x/1"],
        "key": "k",
        "timeout": 3,
    }
    assert b"X-Trace: 7" in media_proxy.exchanges[0].head


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"sync": True}, "sync"),
        ({"stream": True}, "stream"),
        ({"image": b"bytes"}, "image"),
        ({"strength": float("nan")}, "strength"),
        ({"extra": [1]}, "extra"),
        ({"model": 7}, "model"),
        ({"model": ""}, "model"),
        ({"key": 7}, "key"),
        ({"retry_failed": True}, "retry_failed"),
        ({"extra_headers": {"Authorization": "x"}}, "extra_headers['Authorization']"),
        ({"prompt": None}, "prompt"),
        ({"quality": "best"}, "quality"),
        ({"num_outputs": "2"}, "num_outputs"),
        ({"ouput_format": "png"}, "ouput_format"),
        ({"model": "veo-3.1"}, "model"),
    ],
)
async def test_what_is_wrong_is_not_sent(
    media_proxy: FaultProxy, fast_polling: PollPolicy, params: dict[str, Any], param: str
) -> None:
    """A request that cannot be right is refused with its parameter, before it is billed."""
    async with session(media_proxy, fast_polling) as fox:
        for submit in (fox.images.submit, fox.images.generate):
            with pytest.raises(RequestValidationError) as caught:
                await submit(**(FOX | params))
            assert param in [violation.param for violation in caught.value.violations]
    assert media_proxy.count("POST") == 0


async def test_a_parameter_given_twice_is_a_mistake(
    media_proxy: FaultProxy, fast_polling: PollPolicy
) -> None:
    """The same name as a keyword and in ``extra`` is refused, as is a second model."""
    async with session(media_proxy, fast_polling) as fox:
        for extra in ({"prompt": "b"}, {"model": "b"}):
            with pytest.raises(TypeError, match="given twice"):
                await fox.images.submit(**FOX, extra=extra)
    assert media_proxy.count("POST") == 0


async def test_all_violations_are_named_at_once(
    media_proxy: FaultProxy, media: MediaService, fast_polling: PollPolicy
) -> None:
    """``validation`` is that of language models: strict knows no new model, off checks nothing."""
    wrong: dict[str, Any] = {"model": "gpt-image-2", "quality": "best", "num_outputs": "2"}
    async with session(media_proxy, fast_polling) as fox:
        with pytest.raises(RequestValidationError) as caught:
            await fox.images.submit(**wrong)
        assert [violation.param for violation in caught.value.violations] == [
            "prompt",
            "num_outputs",
            "quality",
        ]
        strict = fox.with_options(validation="strict")
        with pytest.raises(RequestValidationError, match="did you mean 'gpt-image-2'"):
            await strict.images.submit(model="gpt-image-9", prompt="a fox")
        assert media.bodies == []
        await fox.with_options(validation="off").images.submit(**wrong)
    assert media.bodies == [("/v1/images/generations", wrong)]


@pytest.mark.parametrize(
    ("fault", "kind", "accepted"),
    [
        (Reset(request=WHOLE), APIConnectionError, 1),
        (Reset(response=0), APIConnectionError, 1),
        (Close(response=1), APIConnectionError, 1),
        (Close(body=HALF), APIConnectionError, 1),
        (Reset(request=HALF), APIConnectionError, 0),
        (CannedResponse.http(500), InternalServerError, 0),
        (CannedResponse.http(502, forward=True), InternalServerError, 1),
        (CannedResponse.http(200, b"<html>"), InvalidResponseError, 0),
        (CannedResponse.http(200, forward=True), InvalidResponseError, 1),
        (CannedResponse.http(408), FoxAPIError, 0),
    ],
)
async def test_a_lost_response_raises_and_is_not_sent_again(
    media_proxy: FaultProxy,
    media: MediaService,
    fast_polling: PollPolicy,
    fault: Fault,
    kind: type[FoxAPIError],
    accepted: int,
) -> None:
    """When the service may have accepted, one POST was made, and the error holds the facts."""
    events: list[Event] = []
    retry = RetryPolicy(initial=0.01)
    async with session(media_proxy, fast_polling, retry=retry, hooks=[events.append]) as fox:
        media_proxy.on("POST", "*", fault)
        with pytest.raises(SubmitOutcomeUnknownError) as caught:
            await fox.images.submit(**KEYED)
        # The second call finds the key, and sends nothing.
        with pytest.raises(SubmitOutcomeUnknownError, match="earlier"):
            await fox.images.generate(**KEYED)
        await media_proxy.wait_until(lambda: len(media.bodies) == accepted)
    error = caught.value
    assert (error.key, error.request) == (
        "row-17",
        MediaRequest(kind="image", model="gpt-image-2", params={"prompt": "a fox"}),
    )
    assert "a fox" not in str(error) + repr(error)
    assert pickle.loads(pickle.dumps(error)).request == error.request
    assert media_proxy.count("POST") == 1
    assert [type(event) for event in events].count(SubmitOutcomeUnknown) == 1
    assert isinstance(error.fault, kind)


async def test_a_key_gives_one_handle(
    media_proxy: FaultProxy, media: MediaService, fast_polling: PollPolicy
) -> None:
    """The same key is the same handle; another request, kind or route under it is refused."""
    async with session(media_proxy, fast_polling) as fox:
        first, second = await asyncio.gather(*(fox.images.submit(**KEYED) for _ in range(2)))
        assert first is second
        assert first.key == "row-17"
        other: dict[str, Any] = KEYED | {"prompt": "two foxes"}
        with pytest.raises(RequestValidationError, match="another request"):
            await fox.images.submit(**other)
        free = fox.with_options(validation="off")
        with pytest.raises(RequestValidationError, match="another request"):
            await free.videos.submit(**KEYED)
        with pytest.raises(RequestValidationError, match="another request"):
            await free.llm.submit(**KEYED)
        assert await fox.images.generate(**KEYED) == await first
    assert len(media.bodies) == 1


async def test_a_failed_key_is_submitted_again_on_request(
    media_proxy: FaultProxy, media: MediaService, fast_polling: PollPolicy
) -> None:
    """``retry_failed`` submits a key again whose task failed, and only that."""
    media.fails = True
    async with session(media_proxy, fast_polling) as fox:
        for _ in range(2):
            with pytest.raises(TaskFailedError) as caught:
                await fox.images.generate(**KEYED)
            assert caught.value.code == "content_policy_violation"
        assert len(media.bodies) == 1
        media.fails = False
        results = await fox.images.generate(**KEYED, retry_failed=True)
        assert results.urls == ("https://x/2.png",)
        assert await fox.images.generate(**KEYED, retry_failed=True) == results
    assert len(media.bodies) == 2


async def test_a_journal_recovers_media(
    media_proxy: FaultProxy, media: MediaService, fast_polling: PollPolicy, tmp_path: Path
) -> None:
    """Handles of each kind come back from the journal; a finished one asks nothing."""
    file = tmp_path / "tasks.db"
    async with session(media_proxy, fast_polling, journal=file) as fox:
        for name in RESOURCES:
            await resource(fox, name).submit(**MODELS[name], key=name)
        await fox.llm.submit(model="gpt-5.5", messages="count 1 to 3")
    async with session(media_proxy, fast_polling, journal=file) as fox:
        handles = (await fox.recover()).handles
        assert [handle.kind for handle in handles] == [*RESOURCES.values(), "llm"]
        assert [handle.key for handle in handles] == [*RESOURCES, None]
        results = [await handle for handle in handles[:-1]]
        assert [len(each) for each in results if isinstance(each, MediaResults)] == [1] * 4
    media.polls.clear()
    async with session(media_proxy, fast_polling, journal=file) as fox:
        assert [handle.kind for handle in (await fox.recover()).handles] == ["llm"]
        for name in RESOURCES:
            handle = await resource(fox, name).submit(**MODELS[name], key=name)
            assert handle.done()
        assert await fox.images.generate(**FOX, key="images") == results[0]
    assert not media.polls
    assert len(media.bodies) == 4


async def test_an_unknown_submission_is_sent_again_by_its_kind(
    media_proxy: FaultProxy, media: MediaService, fast_polling: PollPolicy, tmp_path: Path
) -> None:
    """The journal keeps the request; only the resource of its kind submits it again."""
    file = tmp_path / "tasks.db"
    async with session(media_proxy, fast_polling, journal=file) as fox:
        media_proxy.on("POST", "*", Reset(response=0))
        with pytest.raises(SubmitOutcomeUnknownError):
            await fox.images.submit(**KEYED, num_outputs=2)
    media_proxy.clear()
    async with session(media_proxy, fast_polling, journal=file) as fox:
        (lost,) = (await fox.recover()).unknown
        assert (lost.kind, lost.key, lost.model) == ("image", "row-17", "gpt-image-2")
        assert lost.request == MediaRequest(
            kind="image", model="gpt-image-2", params={"prompt": "a fox", "num_outputs": 2}
        )
        assert "fox.images.resubmit" in lost.advice
        for other in (fox.llm, fox.videos):
            with pytest.raises(ConfigError, match=r"fox\.images\.resubmit"):
                await other.resubmit(lost)
        assert len(media.bodies) == 1
        handle = await fox.images.resubmit(lost)
        assert (await handle).urls == ("https://x/2.png",)
        assert await fox.images.submit(**KEYED, num_outputs=2) is handle
        assert (await fox.recover()).unknown == ()
    assert media.bodies[0] == media.bodies[1]
    async with open_journal(file) as journal:
        (entry,) = await journal.entries()
    assert (entry.kind, entry.stage, entry.body) == ("image", Stage.COMPLETED, None)
    assert entry.read_usage().credits == 5


async def test_a_cancelled_caller_leaves_its_task_unclaimed(
    media_proxy: FaultProxy, media: MediaService, fast_polling: PollPolicy
) -> None:
    """The id that lands after a cancel is in ``fox.unclaimed``, as a handle of its kind."""
    events: list[Event] = []
    async with session(media_proxy, fast_polling, hooks=[events.append]) as fox:
        media_proxy.on("POST", "*", Stall(response=0), times=1)
        submitting = asyncio.create_task(fox.images.generate(**KEYED))
        await media_proxy.wait_for_stalls()
        submitting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await submitting
        with pytest.warns(RuntimeWarning, match=r"fox\.unclaimed"):
            media_proxy.release()
            while not fox.unclaimed:
                await asyncio.sleep(0)
        (handle,) = fox.unclaimed
        assert (handle.kind, handle.key) == ("image", "row-17")
        assert (await handle).urls == ("https://x/1.png",)
    kinds = [type(event) for event in events]
    assert [kinds.count(kind) for kind in (TaskSubmitted, SubmitUnclaimed, TaskFinished)] == [
        1,
        1,
        1,
    ]
    assert len(media.bodies) == 1


async def test_a_budget_counts_credits_of_media(
    media_proxy: FaultProxy, media: MediaService, fast_polling: PollPolicy
) -> None:
    """The credits of media count, and their prompts are no tokens."""
    async with session(media_proxy, fast_polling, budget=Budget(credits=12)) as fox:
        for _ in range(2):
            await fox.images.generate(**FOX)
        assert fox.budget is not None
        assert (fox.budget.credits, fox.budget.tokens, fox.budget.tasks) == (10, 0, 2)
        with pytest.raises(BudgetExceededError):
            await fox.images.submit(**FOX)
        usage = fox.stats().usage["gpt-image-2"]
        assert (usage.tasks, usage.credits, usage.prompt_tokens) == (2, 10, 0)
    assert len(media.bodies) == 2


async def test_handles_of_any_process_and_kind(
    media_proxy: FaultProxy, media: MediaService, fast_polling: PollPolicy
) -> None:
    """A media handle pickles as its id, kind and key; ``as_completed`` mixes kinds."""
    media.results = [{"text": "what was said", "language_code": "en"}]
    async with session(media_proxy, fast_polling) as fox:
        handle = await fox.audios.submit(model="scribe-v2", audio_url="https://x/a.wav", key="k")
        copied = pickle.loads(pickle.dumps(handle))
        assert (copied.id, copied.kind, copied.key) == (handle.id, "audio", "k")
        (transcript,) = await copied.bind(fox)
        assert isinstance(transcript, TranscriptResult)
        assert transcript.text == "what was said"
        other = await fox.llm.submit(model="gpt-5.5", messages="count 1 to 3")
        handles: list[TaskHandle[Any]] = [handle, other]
        finished = {one.id async for one in as_completed(handles)}
        assert finished == {handle.id, other.id}
        again = fox.tasks.handle(await fox.tasks.get(handle.id))
        assert again.kind == "audio"
        snapshots = [task.status async for task in handle.updates()]
        assert snapshots[-1] == "completed"


async def test_a_media_handle_has_no_stream(
    media_proxy: FaultProxy, fast_polling: PollPolicy
) -> None:
    """There is no stream to read, and the error says what there is."""
    async with session(media_proxy, fast_polling) as fox:
        handle = await fox.images.submit(**FOX)
        with pytest.raises(AttributeError, match=r"no stream: await its handle"):
            handle.stream()  # type: ignore[attr-defined]
        with pytest.raises(AttributeError, match="nothing"):
            _ = handle.nothing  # type: ignore[attr-defined]
        assert not hasattr(handle, "parse")
        await handle
        assert "<img" in handle._repr_html_()
        assert isinstance(handle, MediaHandle)


async def test_a_handle_of_the_wrong_kind_says_so(
    media_proxy: FaultProxy, fast_polling: PollPolicy
) -> None:
    """An id does not say what its task makes; the error names the right kind."""
    async with session(media_proxy, fast_polling) as fox:
        handle = await fox.images.submit(**FOX)
        with pytest.raises(InvalidResponseError, match=r"kind='image'"):
            await fox.tasks.handle(handle.id)
        other = await fox.llm.submit(model="gpt-5.5", messages="count 1 to 3")
        with pytest.raises(InvalidResponseError, match=r"kind='llm'"):
            await fox.tasks.handle(other.id, kind="video")
        assert (await fox.tasks.handle(handle.id, kind="image")) == await handle


async def test_the_representation_hides_the_prompt(
    media_proxy: FaultProxy, fast_polling: PollPolicy
) -> None:
    """A request and a handle show names, and no content."""
    request = build_media_request("image", "gpt-image-2", "a secret", {"image_urls": ["s"]})
    assert repr(request) == (
        "<MediaRequest kind='image' model='gpt-image-2' params=['image_urls', 'prompt']>"
    )
    assert request.prompt == "a secret"
    async with session(media_proxy, fast_polling) as fox:
        handle = await fox.images.submit(**FOX)
        assert "a fox" not in repr(handle)


@pytest.mark.parametrize("kind", RESOURCES.values())
def test_a_request_survives_its_body(kind: MediaKind) -> None:
    """What was sent is decoded to an equal request, and a body without a model is none."""
    request = build_media_request(kind, "m", "a", {"n": [1, {"a": None}]}, {"key": "k"})
    assert decode_submit(kind, encode_submit(request)) == request
    assert pickle.loads(pickle.dumps(request)) == request
    for body in (b"{}", b"[]", b'{"model":7}', b"x"):
        with pytest.raises(DecodeError):
            decode_submit(kind, body)


def test_the_route_follows_from_kind_and_model() -> None:
    """Contract §2: five paths, of which Suno has one."""
    assert submit_path("llm", "suno-v4") == "/v1/llm/generations"
    assert submit_path("video", "suno-v4") == "/v1/videos/generations"
    assert submit_path("audio", "minimax-music") == "/v1/audios/generations"
    assert submit_path("document", "doc2x-v3") == "/v1/run/generations"


async def test_results_that_are_no_results_are_an_error_with_the_task(
    media_proxy: FaultProxy, media: MediaService, fast_polling: PollPolicy
) -> None:
    """Results of nothing but nulls are an error, and the task is not lost."""
    media.results = [None]
    async with session(media_proxy, replace(fast_polling, empty_result_grace=0.1)) as fox:
        handle = await fox.images.submit(**FOX)
        with pytest.raises(FoxAPIError) as caught:
            await handle
        assert handle.id in str(caught.value)
        assert isinstance(handle.task, Task)
    assert json.dumps(media.bodies)
