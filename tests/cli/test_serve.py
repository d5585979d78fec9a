"""Laws of ``foxapi serve``: its options and its output."""

import gc
import json
import subprocess
import sys
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from foxapi_async.cli.serve import rare_collections
from foxapi_async.cli.serve_values import parse_key, parse_price
from foxapi_async.gateway import Gateway

Spawn = Callable[..., subprocess.Popen[str]]
MODELS = "/v1/configs/llm_generations_models"
HELLO = json.dumps({"model": "gpt-5.5", "messages": [{"role": "user", "content": "hello"}]})
only_posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has other signals")


class Caller:
    """A client that sends plain HTTP to a gateway, one connection for each request."""

    def __init__(self, url: str, key: str) -> None:
        self._address = url.removeprefix("http://")
        self._key = key

    def call(self, method: str, path: str, body: str | None = None) -> tuple[int, Any]:
        """Send one request and return the status and the JSON of its answer."""
        connection = HTTPConnection(self._address)
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        try:
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()


@only_posix
def test_serve_follows_its_options(spawn: Spawn, tmp_path: Path) -> None:
    """Keys with credits, faults, a manual clock, a seed and the log all come from options."""
    file = tmp_path / "faults.toml"
    file.write_text('seed = 7\nfaults = ["models:503:nth=1"]\n', "utf-8")
    options = ("--api-key", "sk-own-secret=2", "--fault", "query:html:nth=2", "--log", "json")
    times = ("--clock", "manual", "--queue-delay", "3600", "--faults", str(file))
    with spawn("serve", "--port", "0", "--json", *options, *times) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        started = json.loads(process.stdout.readline())
        caller = Caller(started["url"], "sk-own-secret")
        assert started["environment"] == {
            "FOXAPI_BASE_URL": started["url"],
            "FOXAPI_API_KEY": "YOUR_KEY",
        }
        assert process.stderr.readline() == (
            "faults, by seed 7: models:503:nth=1, query:html:nth=2\n"
        )
        assert caller.call("GET", MODELS)[0] == 503
        assert caller.call("GET", MODELS)[0] == 200
        status, task = caller.call("POST", "/v1/llm/generations", HELLO)
        assert status == 200
        assert caller.call("POST", "/_gateway/clock", '{"advance": 7200}')[0] == 200
        assert caller.call("GET", f"/v1/tasks/{task['id']}")[1]["status"] == "completed"
        assert caller.call("POST", "/v1/llm/generations", HELLO)[0] == 200
        assert caller.call("POST", "/v1/llm/generations", HELLO)[0] == 402
        assert Caller(started["url"], "sk-other").call("GET", MODELS)[0] == 401
        process.terminate()
        lines = process.stderr.read()
    assert process.returncode == 0
    assert "own-secret" not in lines
    records = [json.loads(line) for line in lines.splitlines() if line.startswith("{")]
    assert [record["status"] for record in records][:3] == [503, 200, 200]


@only_posix
def test_serve_listens_within_a_second_of_its_imports(environment: Callable[[], Any]) -> None:
    """After the imports, the address is printed after less than a second of work."""
    code = (
        "import os, signal, sys, time\n"
        "import foxapi_async.cli.serve, foxapi_async.gateway.app, foxapi_async.testing\n"
        "from foxapi_async.cli import app, output\n"
        "class Watched(output.Screen):\n"
        "    def record(self, **members):\n"
        "        super().record(**members)\n"
        "        sys.stderr.write(f'{time.process_time() - started}\\n')\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "foxapi_async.cli.serve.Screen = Watched\n"
        "started = time.process_time()\n"
        "sys.exit(app.run_command_line(['serve', '--port', '0', '--json']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["url"].startswith("http://127.0.0.1:")
    assert float(done.stderr.splitlines()[0]) < 1


@only_posix
def test_serve_has_the_models_of_its_options(spawn: Spawn, tmp_path: Path) -> None:
    """Added models and upstreams from options and from a file are listed; others can be hidden."""
    file = tmp_path / "upstreams.toml"
    file.write_text('[[upstream]]\nurl = "http://127.0.0.1:2/v1"\nmodels = ["filed"]\n', "utf-8")
    options = (
        *("--upstream", "http://127.0.0.1:1/v1", "--upstream-model", "own:vision=other"),
        *("--upstream-model", "seen:7b:vision"),
    )
    limits = ("--upstream-concurrency", "2", "--upstream-patience", "0", "--upstreams", str(file))
    for more, names in ((("--model", "fake"), {"fake", "gpt-5.5"}), (("--only-upstream",), set())):
        with spawn("serve", "--port", "0", "--json", *options, *limits, *more) as process:
            assert process.stdout is not None
            caller = Caller(json.loads(process.stdout.readline())["url"], "sk-any")
            listed = {item["id"]: item for item in caller.call("GET", MODELS)[1]["data"]}
            assert listed.keys() >= {"own", "filed"} | names
            assert ("gpt-5.5" in listed) == bool(names)
            assert listed["own"]["capabilities"] == ["text", "vision"]
            process.terminate()
            assert process.stderr is not None
            notes = process.stderr.read()
            assert "1:1/v1: own:vision = other, seen:7b:vision = seen:7b\n" in notes
            assert "upstream http://127.0.0.1:2/v1: filed = filed\n" in notes
        assert process.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--upstream", "localhost"), "Upstream.url must be an http or https URL"),
        (("--upstream", "http://x/v1"), "add --upstream-model NAME"),
        (("--upstream-model", "gpt-5.5=x"), "--upstream-model needs --upstream URL"),
        (("--upstreams", "missing.toml"), "missing.toml"),
        (("--only-upstream",), "only_upstream needs at least one upstream"),
        (("--model", ":vision"), "names no model"),
        (("--fault", "submit:rest"), "did you mean 'reset'"),
        (("--faults", "missing.toml"), "missing.toml"),
        (("--api-key", "sk with a blank"), "api_keys[0] must be printable ASCII"),
        (("--allow-host", "http://x"), "hosts must be a list of names"),
        (("--allow-origin", "*"), "allow_origins cannot have '*'"),
        (("--clock", "sundial"), "--clock"),
        (("--log", "xml"), "--log"),
        (("--host", "203.0.113.1", "--api-key", "sk-one"), "no such address"),
        (("--host", "no.such.host.invalid", "--api-key", "sk-one"), "no.such.host.invalid, port 0"),
    ],
)
async def test_what_cannot_be_served_is_explained(
    foxapi: Any, arguments: tuple[str, ...], complaint: str
) -> None:
    """An invalid setting ends the command with 2 and a line with the fix."""
    done = await foxapi("serve", "--port", "0", *arguments)
    assert done.code == 2
    assert complaint in done.err
    assert "sk with" not in done.err


async def test_a_port_in_use_has_its_reason(gateway: Gateway, foxapi: Any) -> None:
    """The message about a port in use gives the reason and the fix."""
    done = await foxapi("serve", "--port", str(gateway.port))
    assert done.code == 2
    assert f"port {gateway.port}: another program has the port" in done.err
    assert "--port 0" in done.err


UPSTREAM = ("--upstream", "http://x/v1")
A_AT_Y = ("--upstream-model", "a=c@http://y")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sk-one", ("sk-one", None)),
        ("sk-one=5", ("sk-one", 5)),
        ("sk-one==", ("sk-one==", None)),
        ("sk-one===5", ("sk-one==", 5)),
        ("sk-one=x", ("sk-one=x", None)),
        ("sk-one=2.5", ("sk-one", 2.5)),
        ("sk-one=.5", ("sk-one", 0.5)),
        ("sk-one=0", ("sk-one", 0)),
        ("sk-one=1e3=7", ("sk-one=1e3", 7)),
        ("sk-one=5=", ("sk-one=5=", None)),
        ("sk-one=5a", ("sk-one=5a", None)),
        ("sk-one=eQ==", ("sk-one=eQ==", None)),
        ("123", ("123", None)),
    ],
)
def test_keys_and_credits_are_parsed(text: str, expected: tuple[str, float | None]) -> None:
    """Credits are the plain number after the last ``=``; the rest is the key."""
    assert parse_key(text) == expected


@pytest.mark.parametrize(
    "credit_text",
    [
        "-1",
        "+3",
        "1e3",
        "1E",
        "2.5.1",
        "1,000",
        "1_000",
        "0x10",
        "nan",
        "-inf",
        "٣",
        "9999999999999999",
        "1.0000000000000000",
    ],
)
async def test_credits_that_may_be_a_part_of_the_key_are_refused(
    foxapi: Any, credit_text: str
) -> None:
    """A text that a reader takes for a number, but is no plain one, is neither credits nor key."""
    done = await foxapi("serve", "--port", "0", "--api-key", f"sk-own-secret={credit_text}")
    assert done.code == 2
    assert "write the credits as a plain number such as 100 or 2.5" in done.err
    assert f"KEY={credit_text[:40]}=100" in done.err
    assert "own-secret" not in done.err


@pytest.mark.parametrize("text", ["=5", "=", "=x"])
async def test_credits_without_a_key_are_refused(foxapi: Any, text: str) -> None:
    """An empty shell variable does not become a key with credits."""
    done = await foxapi("serve", "--port", "0", "--api-key", text)
    assert (done.code, "no key before the `=`" in done.err) == (2, True)


@pytest.mark.parametrize(
    ("options", "complaints"),
    [
        (("--price", "1", "--price", ".5"), ("of all models twice", "1 and 0.5")),
        (("--price", "gpt-5.5=1", "--price=gpt-5.5=2"), ("'gpt-5.5' twice", "1 and 2")),
        (
            ("--api-key", "sk-own-secret=1.5", "--api-key", "x", "--api-key", "sk-own-secret"),
            ("--api-key 1 and --api-key 3", "1.5 credits and one with unlimited credits"),
        ),
        (("--model", "mine", "--model", "mine:file"), ("'mine'", "'mine:file'")),
        (("--model", "gpt-5.5:video"), ("'gpt-5.5:video'", "a model of the service")),
        (("--model", "mine:foo"), ("unknown input 'foo'", "mine:foo:text")),
        (("--model", "mine:"), ("unknown input ''",)),
        (("--upstream-concurrency", "2"), ("--upstream-concurrency 2 needs --upstream URL",)),
        (("--upstream-patience", "0.5"), ("--upstream-patience 0.5 needs --upstream URL",)),
        (("--upstream-key-env", "KEY"), ("--upstream-key-env needs --upstream URL",)),
        ((*UPSTREAM, "--upstream-model", "a==b"), ("'a==b'", "several `=`")),
        ((*UPSTREAM, "--upstream-model", "a=b=c"), ("'a=b=c'", "several `=`")),
        (("--local=a/qwen.gguf", "--upstream-model", "a==qwen"), ("'a==qwen'", "several `=`")),
        (
            ("--local=a/qwen.gguf", *("--upstream-model", "a=qwen") * 2),
            ("local_names has 'a' twice",),
        ),
        ((*UPSTREAM, "--upstream-model", "=b"), ("ID=NAME", "'=b'")),
        (
            (*UPSTREAM, "--upstream-model", "a=b", "--upstream-model", "a=c"),
            ("'a' is given twice", "'b'", "'c'"),
        ),
        (
            (*UPSTREAM, "--upstream-model", "a=b", "--model", "a:vision"),
            ("'a' is given twice", "GatewaySettings.models 'a:vision'", "upstream http://x/v1"),
        ),
        (
            (*UPSTREAM, "--upstream-model", "a=b@http://x/v1", "--upstream", "http://y", *A_AT_Y),
            ("'a' is given twice", "http://x/v1", "http://y"),
        ),
    ],
)
async def test_what_is_given_twice_is_refused(
    foxapi: Any, options: tuple[str, ...], complaints: tuple[str, ...]
) -> None:
    """No option silently wins over another one, or is without effect: the error names both."""
    done = await foxapi("serve", "--port", "0", *options)
    assert done.code == 2
    for complaint in complaints:
        assert complaint in done.err
    assert "own-secret" not in done.err


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.5", ("", 0.5)),
        ("2", ("", 2.0)),
        ("gpt-5.5=2", ("gpt-5.5", 2.0)),
        ("a=b=.25", ("a=b", 0.25)),
        ("0", ("", 0.0)),
    ],
)
def test_prices_are_parsed(text: str, expected: tuple[str, float]) -> None:
    """The price is the number after the last ``=``; the rest is the model."""
    assert parse_price(text) == expected


@pytest.mark.parametrize("text", ["", "x", "-1", "gpt-5.5", "gpt-5.5=", "=2", "gpt-5.5=nan", "1e9"])
async def test_a_price_that_is_no_number_is_refused(foxapi: Any, text: str) -> None:
    """A price that is not a plain number of credits is an error that shows how to write one."""
    done = await foxapi("serve", "--port", "0", f"--price={text}")
    assert done.code == 2
    assert "write a number of credits" in done.err


async def test_a_price_of_an_unknown_model_is_refused(foxapi: Any) -> None:
    """A price of a model that the gateway does not have is an error that names its models."""
    done = await foxapi("serve", "--port", "0", "--price", "gpt-9=2")
    assert done.code == 2
    assert "'gpt-9' is no model of this gateway" in done.err
    assert "gpt-5.5" in done.err


@only_posix
def test_serve_charges_by_its_prices(spawn: Spawn) -> None:
    """``--price`` sets the price of all models, and ``MODEL=CREDITS`` that of one."""
    prices = ("--price", "0.5", "--price", "gpt-5.5=2", "--api-key", "sk-own=2")
    with spawn("serve", "--port", "0", "--json", *prices) as process:
        assert process.stdout is not None
        caller = Caller(json.loads(process.stdout.readline())["url"], "sk-own")
        listed = caller.call("GET", "/api/pricing")[1]["data"]
        found = {item["model_name"]: item["model_price"] for item in listed}
        assert (found["gpt-5.5"], found["gpt-5.4"]) == (2, 0.5)
        status, task = caller.call("POST", "/v1/llm/generations", HELLO)
        assert (status, task["usage"]) == (200, {"credits_reserved": 2.0})
        assert caller.call("POST", "/v1/llm/generations", HELLO)[0] == 402
        process.terminate()


@only_posix
def test_serve_answers_by_a_script(spawn: Spawn, tmp_path: Path) -> None:
    """``--replies`` answers with the replies of a file, one for each submit."""
    path = tmp_path / "replies.jsonl"
    path.write_text('"scripted"\n', "utf-8")
    with spawn("serve", "--port", "0", "--json", "--replies", str(path)) as process:
        assert process.stdout is not None
        service = Caller(json.loads(process.stdout.readline())["url"], "sk-any")
        status, task = service.call("POST", "/v1/llm/generations", HELLO)
        assert status == 200
        while (task := service.call("GET", f"/v1/tasks/{task['id']}")[1])["results"] is None:
            continue
        assert task["results"][0]["choices"][0]["message"]["content"] == "scripted"
        status, refused = service.call("POST", "/v1/llm/generations", HELLO)
        assert (status, refused["error"]["code"]) == (422, "no_reply_left")
        process.terminate()


@only_posix
def test_serve_keeps_its_data(spawn: Spawn, tmp_path: Path) -> None:
    """With ``--data`` a task outlives the command, and a second command is refused the file."""
    words = ("serve", "--port", "0", "--json", "--data", str(tmp_path / "fox.db"))
    with spawn(*words, "--queue-delay", "0") as process:
        assert process.stdout is not None
        caller = Caller(json.loads(process.stdout.readline())["url"], "sk-any")
        status, task = caller.call("POST", "/v1/llm/generations", HELLO)
        assert status == 200
        with spawn(*words) as other:
            assert other.stderr is not None
            assert "is in use by another process" in other.stderr.read()
        assert other.returncode == 2
        process.terminate()
    assert process.returncode == 0
    with spawn(*words, "--tokens-per-second", "1000") as process:
        assert process.stdout is not None
        caller = Caller(json.loads(process.stdout.readline())["url"], "sk-any")
        assert caller.call("GET", f"/v1/tasks/{task['id']}")[0] == 200
        process.terminate()
    assert process.returncode == 0


@pytest.mark.parametrize("young", [0, 700, 90_000])
def test_garbage_is_collected_less_often_while_a_gateway_is_served(young: int) -> None:
    """Serving raises the threshold of collections, never enables them, and restores it."""
    before = gc.get_threshold()
    try:
        gc.set_threshold(young, 7, 8)
        with rare_collections():
            first, *others = gc.get_threshold()
            assert first == max(young, 50_000) if young else first == 0
            assert others == [7, 8]
        assert gc.get_threshold() == (young, 7, 8)
    finally:
        gc.set_threshold(*before)
