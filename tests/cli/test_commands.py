"""Laws of each command, as seen by a program that reads its stdout."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from foxapi_async import catalog, media_catalog
from foxapi_async.cli.app import COMMANDS
from foxapi_async.gateway import Gateway

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """Return a file with the first bytes of a PNG."""
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    return path


async def test_version_and_help(foxapi: Any) -> None:
    """``--version`` shows the package's version; the help lists all commands and exit codes."""
    done = await foxapi("--version")
    assert done.code == 0
    assert done.out.startswith("foxapi ")
    shown = await foxapi("--help")
    assert (shown.code, shown.err) == (0, "")
    assert (await foxapi()).out == shown.out
    for word in (*COMMANDS, "0", "1", "2", "3", "4", "124", "130"):
        assert word in shown.out.split(), word


@pytest.mark.parametrize("name", COMMANDS)
async def test_every_command_has_help(foxapi: Any, name: str) -> None:
    """Each command shows its help without an account."""
    done = await foxapi(name, "--help")
    assert done.code == 0
    assert f"foxapi {name}" in done.out


async def test_submit_gives_the_task(gateway: Gateway, foxapi: Any) -> None:
    """A submit writes the task as the service sent it, and does not wait."""
    done = await foxapi("submit", "gpt-5.5", "count 1 to 3")
    [task] = done.records
    assert done.code == 0
    assert task["id"].startswith("task-llm-")
    assert (task["status"], task["model"], task["stream"]) == ("pending", "gpt-5.5", None)
    assert done.err == ""
    assert gateway.stats.polls == 0


async def test_submit_in_text_gives_the_id(gateway: Gateway, foxapi: Any) -> None:
    """With ``--text`` stdout is the id alone, and stderr says how to get the result."""
    done = await foxapi("submit", "gpt-5.5", "count 1 to 3", "--text", "--stream")
    task_id = done.out.strip()
    assert f"foxapi wait {task_id}" in done.err
    assert f"foxapi stream --task {task_id}" in done.err
    assert gateway.stats.tasks == 1


async def test_submit_and_wait(gateway: Gateway, foxapi: Any) -> None:
    """``--wait`` writes the result, and before that the id to stderr."""
    done = await foxapi("submit", "gpt-5.5", "count 1 to 3", "--wait")
    [record] = done.records
    assert done.err.strip() == record["id"]
    assert record["status"] == "completed"
    assert (record["text"], record["reasoning"]) == ("1, 2, 3", "")
    assert (record["finish_reason"], record["tool_calls"]) == ("stop", [])
    assert record["usage"]["completion_tokens"] == 3
    assert gateway.stats.tasks == 1


async def test_waiting_keeps_what_a_model_thought(gateway: Gateway, foxapi: Any) -> None:
    """A thinking model is submitted as a stream, because its stored answer has no reasoning."""
    [record] = (await foxapi("submit", "kimi-k2.6", "count 1 to 3", "--wait")).records
    assert record["text"] == "1, 2, 3"
    assert record["reasoning"]
    assert gateway.stats.streams == 1


async def test_what_the_options_say_is_sent(
    serve: Any, foxapi: Any, recorded: Any, picture: Path
) -> None:
    """Every option is in the body; ``--param`` sets known and unknown members."""
    bodies, middleware = recorded
    await serve(middleware)
    done = await foxapi(
        *("submit", "gemini-3-pro-preview", "-", "--max-tokens", "64", "--temperature", "0.5"),
        *("--system", "be kind", "--image", str(picture), "--image", "https://x.test/i.png"),
        *("--video", "https://x.test/v.mp4", "--audio", "https://x.test/a.wav"),
        *("--file", "data:application/pdf;base64,AAAA", "--stream", "--key", "mine"),
        *("--param", 'stop=["x"]', "--param", "seed_bias=1"),
        stdin="what is this? é\n".encode(),
    )
    assert done.code == 0, done
    assert "seed_bias" in done.err
    [body] = bodies
    assert body == {
        "model": "gemini-3-pro-preview",
        "messages": [
            {"role": "system", "content": "be kind"},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "what is this? é"},
                    {
                        "type": "image_url",
                        "image_url": {
                            "url": f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
                        },
                    },
                    {"type": "image_url", "image_url": {"url": "https://x.test/i.png"}},
                    {"type": "video_url", "video_url": {"url": "https://x.test/v.mp4"}},
                    {"type": "audio_url", "audio_url": {"url": "https://x.test/a.wav"}},
                    {"type": "file_url", "file_url": {"url": "data:application/pdf;base64,AAAA"}},
                ],
            },
        ],
        "stream": True,
        "max_tokens": 64,
        "temperature": 0.5,
        "stop": ["x"],
        "seed_bias": 1,
    }


async def test_stream_writes_each_chunk(gateway: Gateway, foxapi: Any) -> None:
    """A stream is a line for each chunk and a last one with the id, the cursor and the usage."""
    done = await foxapi("stream", "kimi-k2.6", "count 1 to 3")
    *deltas, last = done.records
    assert done.code == 0
    assert done.err.strip() == last["id"]
    assert all(set(delta) == {"text", "reasoning", "finish_reason"} for delta in deltas)
    assert "".join(delta["text"] for delta in deltas) == last["text"] == "1, 2, 3"
    assert "".join(delta["reasoning"] for delta in deltas) == last["reasoning"] != ""
    assert deltas[-1]["finish_reason"] == last["finish_reason"] == "stop"
    assert last["offset"] == len(deltas)
    assert last["usage"]["completion_tokens"]
    assert gateway.stats.streams == 1


async def test_stream_can_be_taken_up_again(gateway: Gateway, foxapi: Any) -> None:
    """``--task`` reads a stream again without a submit, ``--resume`` reads the rest of it."""
    *deltas, last = (await foxapi("stream", "gpt-5.5", "count 1 to 3")).records
    *again, _ = (await foxapi("stream", "--task", last["id"])).records
    assert again == deltas
    rest = await foxapi("stream", "--task", last["id"], "--resume", last["cursor"])
    assert rest.code == 0, rest
    assert [record["id"] for record in rest.records] == [last["id"]]
    assert gateway.stats.tasks == 1


async def test_a_task_without_a_stream_says_what_to_do(gateway: Gateway, foxapi: Any) -> None:
    """``stream --task`` of a task without a stream ends with 2 and names ``foxapi wait``."""
    [task] = (await foxapi("submit", "gpt-5.5", "hello")).records
    done = await foxapi("stream", "--task", task["id"])
    assert done.code == 2
    assert f"foxapi wait {task['id']}" in done.err
    assert gateway.stats.tasks == 1


async def test_wait_takes_several(gateway: Gateway, foxapi: Any) -> None:
    """Each task gets a line as it finishes, and the exit code is the largest of all."""
    prompts = ("count 1 to 3", "count 1 to 4", "[[fail:timeout]]")
    tasks = [(await foxapi("submit", "gpt-5.5", prompt)).records[0] for prompt in prompts]
    ids = [task["id"] for task in tasks]
    done = await foxapi("wait", *ids, ids[0])
    found = {record["id"]: record for record in done.records}
    assert done.code == 1
    assert list(found) == list(dict.fromkeys(found))
    assert [found[task_id].get("text") for task_id in ids] == ["1, 2, 3", "1, 2, 3, 4", None]
    assert found[ids[2]]["error"]["code"] == "timeout"
    assert len(done.records) == 3
    assert gateway.stats.tasks == 3


async def test_wait_in_text_is_the_answer_alone(gateway: Gateway, foxapi: Any) -> None:
    """With ``--text`` stdout has the text of each choice and nothing else."""
    done = await foxapi("submit", "gpt-5.5", "count 1 to 3", "--param", "n=2", "--wait", "--text")
    assert done.out == "1, 2, 3\n1, 2, 3\n"
    assert gateway.stats.tasks == 1


async def test_tool_calls_are_shown(gateway: Gateway, foxapi: Any) -> None:
    """With ``--text`` a tool call is shown with its arguments."""
    tools = json.dumps([{"type": "function", "function": {"name": "look"}}])
    options = ("--param", f"tools={tools}", "--param", 'tool_choice="required"', "--text")
    waited = await foxapi("submit", "gpt-5.5", "go on", "--wait", *options)
    assert waited.out == "look({})\n"
    followed = await foxapi("stream", "gpt-5.5", "go on", *options)
    assert followed.out == "look{}\n"
    assert gateway.stats.tasks == 2


async def test_task_is_one_get(gateway: Gateway, foxapi: Any) -> None:
    """``foxapi task`` sends one GET and shows the snapshot with the result."""
    [record] = (await foxapi("submit", "gpt-5.5", "count 1 to 3", "--wait")).records
    before = gateway.stats.polls
    [task] = (await foxapi("task", record["id"])).records
    assert gateway.stats.polls == before + 1
    assert (task["status"], task["progress"]) == ("completed", 100)
    assert task["results"][0]["choices"][0]["message"]["content"] == "1, 2, 3"
    shown = await foxapi("task", record["id"], "--text")
    assert "completed 100 %" in shown.out
    assert "1, 2, 3" in shown.out


async def test_task_shows_a_failed_task(gateway: Gateway, foxapi: Any) -> None:
    """``foxapi task`` ends with 0 for a failed task too."""
    failed = await foxapi("submit", "gpt-5.5", "[[fail:timeout]]", "--wait")
    done = await foxapi("task", failed.records[0]["id"], "--text")
    assert done.code == 0
    assert "failed" in done.out
    assert "timeout" in done.out
    assert gateway.stats.failed == 1


async def test_models_include_the_rules_of_the_catalog(gateway: Gateway, foxapi: Any) -> None:
    """The models of the service and of the catalog have the same form."""
    served = await foxapi("models")
    assert served.records == (await foxapi("models", "--offline")).records
    assert [record["id"] for record in served.records] == [model.id for model in catalog()]
    claude = next(record for record in served.records if record["id"] == "claude-opus-4-7")
    assert claude == {
        "id": "claude-opus-4-7",
        "capabilities": ["text", "vision", "file"],
        "content_types": ["text", "image_url", "file_url"],
        "max_tokens": "required",
        "thinking": False,
    }
    assert gateway.stats.submits == 0


async def test_models_offline_need_no_key(foxapi: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """``--offline`` sends no request and needs no account."""
    monkeypatch.delenv("FOXAPI_API_KEY", raising=False)
    done = await foxapi("models", "--offline", "--text")
    assert done.code == 0
    assert "gemini-3.1-pro-preview" in done.out
    assert "at least 16" in done.out


async def test_media_models_are_listed_and_explained(
    foxapi: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``--media`` needs no account; a model is known by its id or by that of a variant."""
    monkeypatch.delenv("FOXAPI_API_KEY", raising=False)
    listed = await foxapi("models", "--media")
    assert [record["id"] for record in listed.records] == [model.id for model in media_catalog()]
    for name in ("veo-3.1", "google/veo-3.1[fast]"):
        (record,) = (await foxapi("models", "--media", name)).records
        assert (record["id"], record["kind"], record["required"]) == (
            "veo-3.1",
            "video",
            ["prompt"],
        )
        assert {param["name"] for param in record["params"]} >= {"prompt", "duration", "seed"}
    shown = await foxapi("models", "--media", "gpt-image-2", "--text")
    assert "low, medium, high" in shown.out
    assert "(min 1, max 10)" in shown.out
    for model in media_catalog():
        assert (await foxapi("models", "--media", model.id, "--text")).code == 0


async def test_a_model_that_cannot_be_explained_is_a_mistake(foxapi: Any) -> None:
    """An unknown media model has a suggestion; a model needs ``--media``."""
    unknown = await foxapi("models", "--media", "gpt-image-3")
    assert (unknown.code, unknown.records) == (2, [])
    assert "did you mean 'gpt-image-" in unknown.err
    assert (await foxapi("models", "gpt-5.5")).code == 2


async def test_demo_shows_its_steps(foxapi: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """``demo --json`` writes a line for each step and one for the totals."""
    monkeypatch.setattr("foxapi_async.cli.demo._MANY", 30)
    monkeypatch.setattr("foxapi_async.cli.demo._TOKEN_DELAY", 0.001)
    monkeypatch.setattr("foxapi_async.cli.demo._QUEUE_DELAY", 0)
    done = await foxapi("demo", "--json")
    assert (done.code, done.err) == (0, "")
    awaited, streamed, gathered, total = done.records
    assert (awaited["step"], awaited["text"]) == ("await", "1, 2, 3")
    assert (streamed["step"], streamed["text"]) == ("stream", "1, 2, 3, 4, 5")
    assert streamed["reasoning"]
    assert (gathered["step"], gathered["tasks"]) == ("gather", 30)
    assert (total["step"], total["tasks"]) == ("total", 32)
    assert total["gets"] >= 32
    assert 0 < total["median_seconds"] < total["seconds"]
