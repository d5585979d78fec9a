"""Models of a gateway: the whitelist, the lists, and what a model may do (contract §7)."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from foxapi_async._catalog import MODELS, CatalogModel
from foxapi_async._wire.chunk import Delta
from foxapi_async._wire.completion import ChatCompletion
from foxapi_async._wire.request import GenerationRequest, Message
from foxapi_async._wire.task import Status
from foxapi_async.errors import ConfigError
from foxapi_async.gateway import response_structs
from foxapi_async.gateway.engine import Engine
from foxapi_async.gateway.models import (
    Job,
    ModelError,
    ModelKind,
    ModelRegistry,
    Output,
    parse_model,
)
from foxapi_async.gateway.models.model_rules import parse_upstream_model
from foxapi_async.gateway.settings import GatewaySettings
from foxapi_async.gateway.stats import GatewayStats
from foxapi_async.gateway.store import Store, make_store

if TYPE_CHECKING:
    from tests.gateway.conftest import Serve

REQUEST = GenerationRequest(
    model="word", messages=(Message(role="user", content="go"),), stream=True
)


class WordModel:
    """Writes one word, and then what its test asks for."""

    kind: ModelKind = "simulated"
    is_repeatable = False

    def __init__(self, error: ModelError | None = None) -> None:
        self.error = error
        self.opened = 0
        self.closed = 0
        self.waiting = asyncio.Event()
        self.release = asyncio.Event()

    async def open(self) -> None:
        """Count."""
        self.opened += 1

    async def aclose(self) -> None:
        """Count."""
        self.closed += 1

    async def answer(self, job: Job, output: Output) -> ChatCompletion:
        """Write a word, wait for the release, and finish or fail."""
        await output.start()
        await output.write([_delta(job, "word")], progress=40)
        # A lower progress has no effect.
        await output.write([_delta(job, "s")], progress=10)
        self.waiting.set()
        await self.release.wait()
        if self.error is not None:
            raise self.error
        message = response_structs.CompletionMessage(role="assistant", content="words")
        choice = response_structs.Choice(index=0, message=message, finish_reason="stop")
        return response_structs.ChatCompletion(
            id=job.id,
            object="chat.completion",
            created=job.created,
            model=job.request.model,
            choices=(choice,),
            usage=None,
        )


def _delta(job: Job, text: str) -> Delta:
    message = response_structs.DeltaMessage(content=text)
    choice = response_structs.DeltaChoice(index=0, delta=message, finish_reason=None)
    return response_structs.Delta(
        id=job.id,
        object="chat.completion.chunk",
        created=job.created,
        model=job.request.model,
        choices=(choice,),
    )


def _engine(model: WordModel, store: Store, stats: GatewayStats) -> Engine:
    registry = ModelRegistry()
    registry.add(CatalogModel(id="word", content_types=("text",)), model)
    return Engine(settings=GatewaySettings(), models=registry, store=store, stats=stats)


@pytest.mark.parametrize(
    ("text", "name", "content_types"),
    [
        ("qwen", "qwen", ("text",)),
        ("qwen3:8b", "qwen3:8b", ("text",)),
        ("qwen3:8b:vision", "qwen3:8b", ("text", "image_url")),
        ("org/m:file,text,audio", "org/m", ("text", "audio_url", "file_url")),
        ("llama3:latest:text", "llama3:latest", ("text",)),
        ("m:q4_0", "m:q4_0", ("text",)),
    ],
)
def test_a_model_is_a_name_and_its_inputs(
    text: str, name: str, content_types: tuple[str, ...]
) -> None:
    """The capabilities come after the last colon; the name may have colons of its own."""
    rules = parse_model(text)
    assert (rules.id, rules.content_types, rules.max_tokens) == (name, content_types, "optional")


@pytest.mark.parametrize("text", ["m:vision,smell", "m:visoin", "m:Vision", "m:8b,file"])
def test_a_misspelt_input_is_no_part_of_the_name(text: str) -> None:
    """What is like inputs, but has an unknown one, is refused here and for an upstream."""
    for parse in (parse_model, parse_upstream_model):
        with pytest.raises(ConfigError, match=f"{text}' has the unknown input.*{text}:text"):
            parse(text)


@pytest.mark.parametrize("text", ["m:foo", "m:latest", "m:a,b", "m:"])
def test_a_word_after_the_colon_belongs_to_the_name_at_an_upstream_only(text: str) -> None:
    """Names at upstreams have such words; for a simulated model the word is a mistake."""
    assert parse_upstream_model(text).id == text
    with pytest.raises(ConfigError, match="has the unknown input"):
        parse_model(text)


def test_a_known_model_keeps_its_rules() -> None:
    """The catalog's rules of a model cannot be loosened by naming it."""
    assert parse_model("claude-opus-4-7:text") is MODELS["claude-opus-4-7"]


@pytest.mark.parametrize("text", ["", ":vision", "a b", "a\nb"])
async def test_a_text_without_a_name_is_no_model(serve: "Serve", text: str) -> None:
    """A wrong entry of ``models`` is refused when the gateway is built."""
    with pytest.raises(ConfigError, match="names no model"):
        await serve(models=[text])


async def test_added_models_are_listed_and_answer(serve: "Serve") -> None:
    """Both lists of models tell the same, and each model that they name answers by its rules."""
    service = await serve(models=["mine:vision", "plain"])
    listed = (await service.call("GET", "/v1/configs/llm_generations_models")).json["data"]
    cards = (await service.call("GET", "/v1/models")).json
    assert [item["id"] for item in listed] == [
        item["id"] for item in cards["data"] if item["supported_endpoint_types"] == ["openai"]
    ]
    assert [item["id"] for item in listed] == [*MODELS, "mine", "plain"]
    assert listed[-2]["capabilities"] == ["text", "vision"]
    assert cards["object"] == "list"
    assert {item["object"] for item in cards["data"]} == {"model"}
    task = await service.finished((await service.submit(model="mine"))["id"])
    assert (task["status"], task["model"]) == ("completed", "mine")
    image = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    reply = await service.post(model="plain", messages=[{"role": "user", "content": [image]}])
    assert (reply.status, reply.json["error"]["code"]) == (422, "unsupported_content_type")
    reply = await service.post(model="other", messages=[{"role": "user", "content": "x"}])
    assert (reply.status, reply.json["error"]["code"]) == (422, "model_not_supported")
    assert "plain" in reply.json["error"]["message"]


async def test_both_lists_need_a_key(serve: "Serve") -> None:
    """The lists of models are for keys only."""
    service = await serve(api_keys=["sk-one"])
    for path in ("/v1/models", "/v1/configs/llm_generations_models"):
        assert (await service.call("GET", path, key="sk-two")).status == 401


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("error", [None, ModelError("timeout", "too slow")])
async def test_a_model_writes_while_it_answers(error: ModelError | None, *, stream: bool) -> None:
    """Chunks and progress are there while the model is still at work, then its end."""
    settings, stats = GatewaySettings(), GatewayStats()
    store = make_store(settings)
    await store.open()
    model = WordModel(error)
    engine = _engine(model, store, stats)
    task = await engine.submit(replace(REQUEST, stream=stream))
    await model.waiting.wait()
    log = await store.log(task.id)
    if stream:
        assert log is not None
        assert [b'"content":"word"' in frame for frame in await log.read(0)] == [True, False]
    else:
        assert log is None
    answer = await store.snapshot(task.id) or b""
    assert b'"status":"processing","progress":40' in answer
    model.release.set()
    while b'"processing"' in answer:
        await asyncio.sleep(0)
        answer = await store.snapshot(task.id) or b""
    if error is None:
        assert b'"words"' in answer
    else:
        assert b'"code":"timeout"' in answer
        assert b'"too slow"' in answer
    if log is not None:
        assert await log.read(2) == []
        assert log.closing.startswith(b"event: done" if error is None else b"event: error")
    assert (stats.completed, stats.failed) == ((1, 0) if error is None else (0, 1))
    assert stats.chunks == (2 if stream else 0)
    await engine.aclose()
    await store.aclose()


async def test_an_answer_that_cannot_be_repeated_ends_with_a_restart(tmp_path: Path) -> None:
    """After a restart such a model gets the tasks that it had not started, and no other."""
    settings, stats = GatewaySettings(data=tmp_path / "foxapi.db"), GatewayStats()
    store = make_store(settings)
    await store.open()
    model = WordModel()
    engine = _engine(model, store, stats)
    started = await engine.submit(REQUEST)
    await model.waiting.wait()
    await engine.aclose()
    queued = replace(started, id=started.id + "x")
    assert await store.add(queued, REQUEST, "owner")
    await store.aclose()

    store = make_store(settings)
    model.release.set()
    engine = _engine(model, store, stats)
    restored = await store.open()
    assert {item.owner for item in restored.unfinished} == {"", "owner"}
    engine.resume(restored)
    while stats.completed + stats.failed < 2:
        await asyncio.sleep(0)
    failed = await store.snapshot(started.id) or b""
    assert b'"code":"service_restarted"' in failed
    completed = await store.snapshot(queued.id, "owner") or b""
    assert b'"status":"completed"' in completed
    await engine.aclose()
    await store.aclose()


async def test_a_task_of_a_model_that_is_gone_fails(tmp_path: Path) -> None:
    """A task whose model is not served any more after a restart is ended with a code."""
    settings, stats = GatewaySettings(data=tmp_path / "foxapi.db"), GatewayStats()
    store = make_store(settings)
    await store.open()
    model = WordModel()
    engine = _engine(model, store, stats)
    task = await engine.submit(REQUEST)
    await model.waiting.wait()
    await engine.aclose()
    await store.aclose()
    store = make_store(settings)
    engine = Engine(settings=settings, models=ModelRegistry(), store=store, stats=stats)
    engine.resume(await store.open())
    while not stats.failed:
        await asyncio.sleep(0)
    assert (await store.snapshot(task.id) or b"").count(Status.FAILED.encode()) == 1
    assert b'"code":"model_unavailable"' in (await store.snapshot(task.id) or b"")
    await engine.aclose()
    await store.aclose()


async def test_a_model_is_opened_and_closed_once() -> None:
    """A model that has several ids is opened once and closed once."""
    registry, model = ModelRegistry(), WordModel()
    for name in ("a", "b"):
        registry.add(CatalogModel(id=name, content_types=("text",)), model)
    await registry.open()
    await registry.aclose()
    assert (model.opened, model.closed) == (1, 1)
