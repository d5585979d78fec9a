"""A model on this machine, served by llama.cpp: a real server, whose weights are random."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from shutil import copyfile
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from foxapi_async import FoxSession, LLMHandle
from foxapi_async.errors import ConfigError, TaskFailedError
from foxapi_async.gateway import Gateway
from foxapi_async.gateway.models.local import LocalModel, llama_process, local_model
from foxapi_async.gateway.models.local.llama_process import SLOTS, LlamaProcess
from foxapi_async.gateway.upstream_settings import Upstream

if TYPE_CHECKING:
    from tests.gateway.conftest import Serve

PROGRAM = Path(llama_process.__file__).with_name("llama_server.py")
SCHEMA = {
    "type": "object",
    "properties": {"color": {"enum": ["red", "green"]}, "ripe": {"type": "boolean"}},
    "required": ["color", "ripe"],
    "additionalProperties": False,
}
only_posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has other signals")


@pytest.fixture
def model_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[], LocalModel]:
    """Return the local model that the test has started."""
    models: list[LocalModel] = []
    build = LocalModel.__init__

    def note(self: LocalModel, *arguments: Any, **options: Any) -> None:
        build(self, *arguments, **options)
        models.append(self)

    monkeypatch.setattr(LocalModel, "__init__", note)
    return lambda: models[-1]


def session(gateway: Gateway) -> FoxSession:
    """Return a session with the gateway."""
    return FoxSession("sk-x", base_url=gateway.url)


async def follow(handle: LLMHandle) -> tuple[str, int]:
    """Read a stream to its end; return its text, which is that of its result, and its chunks."""
    text = ""
    async with handle.stream() as stream:
        async for delta in stream:
            text += delta.text
        completion = await stream.completion()
    assert (await handle.result()).text == completion.text == text
    return text, stream.offset


async def test_the_local_model_answers(random_llama: Path) -> None:
    """It is listed by the name of its file, and its answers have text, usage and a reason."""
    async with (
        Gateway(local=random_llama) as gateway,
        FoxSession("sk", base_url=gateway.url) as fox,
    ):
        assert "random-llama" in [model.id for model in await fox.models.list()]
        completion = await fox.llm.generate(model="random-llama", messages="go", max_tokens=12)
        assert len(completion.text.split()) > 3
        assert (completion.model, completion.finish_reason) == ("random-llama", "length")
        assert completion.usage is not None
        assert completion.usage.completion_tokens == 12
        text, chunks = await follow(
            await fox.llm.submit(model="random-llama", messages="go", max_tokens=12, stream=True)
        )
        assert text
        assert chunks > 6
    # It runs in a process of its own.
    assert "xllamacpp" not in sys.modules


async def test_the_usage_of_several_choices_is_their_sum(random_llama: Path) -> None:
    """llama.cpp sends a usage for each choice; the tokens of the answer are those of all."""
    async with (
        Gateway(local=random_llama) as gateway,
        FoxSession("sk", base_url=gateway.url) as fox,
    ):
        one = await fox.llm.generate(model="random-llama", messages="go", max_tokens=5)
        three = await fox.llm.generate(model="random-llama", messages="go", max_tokens=5, n=3)
    assert len(three.choices) == 3
    assert one.usage is not None
    assert three.usage is not None
    assert three.usage.prompt_tokens == one.usage.prompt_tokens
    assert three.usage.completion_tokens == 15
    assert three.usage.total_tokens == three.usage.prompt_tokens + 15


async def test_a_request_that_is_too_long_is_refused_by_the_local_model(
    random_llama: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The error and the log name the local model, and no URL of its process."""
    async with (
        Gateway(local=random_llama) as gateway,
        FoxSession("sk", base_url=gateway.url) as fox,
    ):
        with pytest.raises(TaskFailedError, match="the local model answered 400: ") as caught:
            await fox.llm.generate(model="random-llama", messages="go " * 3000)
        assert gateway.stats.upstreams[0].url == "local"
    assert caught.value.code == "generation_failed"
    assert "upstream local: generation_failed" in caplog.text
    assert "127.0.0.1" not in str(caught.value) + caplog.text


@pytest.mark.parametrize("streams", [8, 24])
async def test_many_streams_at_once(random_llama: Path, streams: int) -> None:
    """More streams than slots wait for their turn; each is whole."""
    async with (
        Gateway(local=random_llama) as gateway,
        FoxSession("sk", base_url=gateway.url) as fox,
    ):

        async def one(number: int) -> str:
            handle = await fox.llm.submit(
                model="random-llama", messages=f"about {number}", max_tokens=24, stream=True
            )
            return (await follow(handle))[0]

        texts = await asyncio.gather(*map(one, range(streams)))
        assert all(texts)
        assert len(set(texts)) > streams // 2
        assert gateway.stats.completed == streams


async def test_a_schema_is_obeyed(random_llama: Path) -> None:
    """`response_format: json_schema` limits even random words to values of the schema."""
    schema = {"type": "json_schema", "json_schema": {"name": "fruit", "schema": SCHEMA}}
    async with (
        Gateway(local=random_llama) as gateway,
        FoxSession("sk", base_url=gateway.url) as fox,
    ):
        for _ in range(3):
            completion = await fox.llm.generate(
                model="random-llama", messages="a fruit", response_format=schema
            )
            fruit = json.loads(completion.text)
            assert sorted(fruit) == ["color", "ripe"]
            assert fruit["color"] in {"red", "green"}
            assert completion.finish_reason == "stop"


async def test_a_stop_text_ends_the_answer(random_llama: Path) -> None:
    """The text ends before the first of the texts of `stop`."""
    async with (
        Gateway(local=random_llama) as gateway,
        FoxSession("sk", base_url=gateway.url) as fox,
    ):
        completion = await fox.llm.generate(
            model="random-llama", messages="go", stop=["ar", "en", "or", "iso"], max_tokens=1000
        )
        assert completion.finish_reason == "stop"
        assert not any(stop in completion.text for stop in ("ar", "en", "or", "iso"))


async def test_a_reader_that_leaves_does_not_stop_the_answer(random_llama: Path) -> None:
    """After a reader was cancelled, another one gets the whole answer."""
    async with (
        Gateway(local=random_llama) as gateway,
        FoxSession("sk", base_url=gateway.url) as fox,
    ):
        handle = await fox.llm.submit(
            model="random-llama", messages="go", max_tokens=200, stream=True
        )
        begun = asyncio.Event()

        async def read() -> None:
            async with handle.stream() as stream:
                async for _ in stream:
                    begun.set()

        reader = asyncio.create_task(read())
        await begun.wait()
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        text, _ = await follow(fox.tasks.handle(handle.id))
        assert len(text.split()) > 100


@only_posix
async def test_a_crash_fails_the_running_tasks_only(
    random_llama: Path, model_of: Callable[[], LocalModel]
) -> None:
    """They fail with ``model_unavailable``; those that wait are answered by the next process."""
    async with (
        Gateway(local=random_llama) as gateway,
        FoxSession("sk", base_url=gateway.url) as fox,
    ):
        running = [
            await fox.llm.submit(
                model="random-llama", messages="go", stop=["no such text"], stream=True
            )
            for _ in range(SLOTS)
        ]
        streams = [handle.stream() for handle in running]
        for stream in streams:
            await anext(aiter(stream))
        waiting = [
            await fox.llm.submit(model="random-llama", messages="go", max_tokens=5)
            for _ in range(3)
        ]
        first = model_of().pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        for stream in streams:
            await stream.aclose()
        for handle in running:
            with pytest.raises(TaskFailedError) as caught:
                await handle
            assert caught.value.code == "model_unavailable"
            assert "crashed" in str(caught.value)
        for handle in waiting:
            assert (await handle).text
        assert model_of().pid not in {None, first}


async def test_a_process_that_cannot_start_again_fails_tasks(
    random_llama: Path, tmp_path: Path, model_of: Callable[[], LocalModel]
) -> None:
    """Tasks end with the reason, and go on once the file is back."""
    path, hidden = tmp_path / "mine.gguf", tmp_path / "hidden"
    await asyncio.to_thread(copyfile, random_llama, path)
    async with Gateway(local=path) as gateway, session(gateway) as fox:
        await asyncio.to_thread(path.rename, hidden)
        os.kill(model_of().pid or 0, signal.SIGTERM)
        reasons: list[str] = []
        # The first answer may begin before the end of the process is seen.
        for _ in range(2):
            with pytest.raises(TaskFailedError) as caught:
                await fox.llm.generate(model="mine", messages="go", max_tokens=1000)
            assert caught.value.code == "model_unavailable"
            reasons.append(str(caught.value))
        assert "cannot be loaded: No such file" in reasons[-1]
        await asyncio.to_thread(hidden.rename, path)
        assert (await fox.llm.generate(model="mine", messages="go", max_tokens=5)).text


async def test_other_names_of_the_local_model(serve: "Serve", random_llama: Path) -> None:
    """It answers for more ids, in place of a simulated model, and reads text only."""
    service = await serve(local=random_llama, local_names=["gpt-5.5", "mine:text"])
    listed = (await service.call("GET", "/v1/configs/llm_generations_models")).json["data"]
    capabilities = {item["id"]: item["capabilities"] for item in listed}
    assert capabilities["gpt-5.5"] == capabilities["mine"] == ["text"]
    for name in ("gpt-5.5", "mine"):
        task = await service.finished((await service.submit(model=name, max_tokens=16))["id"])
        assert task["status"] == "completed"
        assert task["results"][0]["model"] == name
    image = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    reply = await service.post(model="gpt-5.5", messages=[{"role": "user", "content": [image]}])
    assert (reply.status, reply.json["error"]["code"]) == (422, "unsupported_content_type")


async def test_only_the_gateway_may_ask_the_process(random_llama: Path) -> None:
    """The server of the process listens on loopback and refuses requests without its key."""
    process = LlamaProcess(random_llama, "key-of-the-process")
    await process.open()
    try:
        url = await process.base_url()
        assert url.startswith("http://127.0.0.1:")
        body = {"messages": [{"role": "user", "content": "go"}], "max_tokens": 2}
        async with aiohttp.ClientSession() as http:
            for key, status in (("", 401), ("key-of-the-process", 200)):
                headers = {"Authorization": f"Bearer {key}"}
                async with http.post(
                    f"{url}/chat/completions", json=body, headers=headers
                ) as response:
                    assert response.status == status
    finally:
        await process.aclose()


def test_the_process_ends_with_its_parent(random_llama: Path) -> None:
    """Closing its stdin, which the death of the parent does too, ends the process."""
    params = {"path": str(random_llama), "key": "k", "slots": 1, "context": 256}
    with subprocess.Popen(
        [sys.executable, "-P", str(PROGRAM)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(params) + "\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["address"].startswith("http://127.0.0.1:")
        process.stdin.close()
        assert process.wait() == 0


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file"),
        (b"hello", "it is not a GGUF file"),
        (b"GGUF", "cannot be loaded: "),
        (1000, "cannot be loaded: "),
    ],
)
def test_a_file_that_is_no_model_is_refused(
    random_llama: Path, tmp_path: Path, content: bytes | int | None, reason: str
) -> None:
    """The gateway does not start, and says why."""
    path = tmp_path / "wrong.gguf"
    if isinstance(content, int):
        path.write_bytes(random_llama.read_bytes()[:-content])
    elif content is not None:
        path.write_bytes(content)

    async def start() -> None:
        async with Gateway(local=path):
            pass

    with pytest.raises(ConfigError, match=reason) as caught:
        asyncio.run(start())
    assert str(path) in str(caught.value)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without llama.cpp the message has the command that installs it, or says there is no wheel."""
    monkeypatch.setattr(local_model, "find_spec", lambda _: None)
    monkeypatch.setattr(local_model, "platform", "linux")
    monkeypatch.setattr(local_model, "machine", lambda: "x86_64")
    with pytest.raises(ConfigError, match=r"pip install 'foxapi-async\[local\]'"):
        Gateway(local="some.gguf")
    monkeypatch.setattr(local_model, "machine", lambda: "riscv64")
    with pytest.raises(ConfigError, match=r"no wheel for linux riscv64.*--upstream URL"):
        Gateway(local="some.gguf")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"local": 3}, "local must be"),
        ({"local": ""}, "local must be"),
        ({"local_names": ["gpt-5.5"]}, "local_names needs local"),
        ({"local": "a.gguf", "local_names": ["b", "b"]}, "local_names has 'b' twice"),
    ],
)
def test_wrong_settings_of_the_local_model(options: Any, words: str) -> None:
    """A wrong value is refused when the gateway is built."""
    with pytest.raises(ConfigError, match=words):
        Gateway(**options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"models": ["qwen"]}, "'qwen' is given twice, by GatewaySettings.models 'qwen' and by"),
        (
            {"upstreams": [Upstream(url="http://x/v1", models=["gpt-5.5"])]},
            "'gpt-5.5' is given twice, by the upstream http://x/v1 and by the local model 'qwen'",
        ),
    ],
)
def test_a_local_model_takes_no_id_of_another_setting(options: Any, words: str) -> None:
    """An id of the local model that another setting names too is an error that names both."""
    with pytest.raises(ConfigError, match=words):
        Gateway(**{"local": "a/qwen.gguf", "local_names": ["gpt-5.5"]} | options)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a/qwen.gguf", "qwen"),
        ("My Model 1.5.gguf", "My-Model-1.5"),
        ("x/SmolLM2-135M-Instruct.Q4_1.gguf", "smollm2-135m-instruct"),
    ],
)
def test_the_name_of_a_local_model(path: str, name: str) -> None:
    """The model id is the name of the file without its suffix."""
    assert local_model.local_model_id(path) == name
