"""Laws of the pytest plugin in the project of a user."""

import json
import os
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import foxapi_async

pytest_plugins = ["pytester"]

# Without an installed package there is no entry point: the plugin is loaded by its module.
LOADED = (
    ()
    if any(point.name == "foxapi" for point in entry_points(group="pytest11"))
    else ("-p", "foxapi_async.testing.plugin")
)
QUIET = ("-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:hypothesispytest", "-q", "-rA")

SYNCHRONOUS = '''
import asyncio
import os

import pytest

from foxapi_async import FoxSession, errors


async def ask(prompt="count 1 to 3"):
    """The program under test, which does not know the gateway."""
    async with FoxSession() as fox:
        handle = await fox.llm.submit(model="gpt-5.5", messages=prompt)
        return handle.id, (await handle).text


def test_code_finds_the_gateway(foxapi_gateway):
    task_id, text = asyncio.run(ask())
    assert text == "1, 2, 3"
    assert os.environ["FOXAPI_BASE_URL"] == foxapi_gateway.url
    assert foxapi_gateway.billed == (task_id,)
    foxapi_gateway.assert_billed_once(task_id)


def test_a_lost_answer_is_not_paid_twice(foxapi_gateway):
    foxapi_gateway.faults.add("submit:reset:late,nth=1")
    with pytest.raises(errors.SubmitOutcomeUnknownError):
        asyncio.run(ask())
    [task_id] = foxapi_gateway.billed
    foxapi_gateway.assert_billed_once(task_id)


@pytest.mark.foxapi(faults=["query:503:nth=1"], api_keys=["sk-own"])
class TestMarked:
    def test_the_mark_breaks_it(self, foxapi_gateway):
        assert os.environ["FOXAPI_API_KEY"] == "sk-own"
        assert asyncio.run(ask())[1] == "1, 2, 3"
        assert foxapi_gateway.stats.faults == 1

    @pytest.mark.foxapi(faults=[])
    def test_the_nearest_mark_wins(self, foxapi_gateway):
        asyncio.run(ask())
        assert foxapi_gateway.stats.faults == 0
        assert os.environ["FOXAPI_API_KEY"] == "sk-own"


@pytest.mark.foxapi(queue_delay=3600)
def test_hours_pass(foxapi_gateway, foxapi_clock):
    async def main():
        async with FoxSession() as fox:
            handle = await fox.llm.submit(model="gpt-5.5", messages="count 1 to 3")
            assert (await handle.refresh()).status == "pending"
            foxapi_clock.advance(7200)
            return (await handle).text

    assert asyncio.run(main()) == "1, 2, 3"


def test_nothing_is_left():
    assert "FOXAPI_BASE_URL" not in os.environ


def test_paid_twice_is_found(foxapi_gateway):
    ids = [asyncio.run(ask())[0] for _ in range(2)]
    with pytest.raises(AssertionError, match="billed 2 times"):
        foxapi_gateway.assert_billed_once(ids[0])
    with pytest.raises(AssertionError, match="was not created"):
        foxapi_gateway.assert_billed_once("task-llm-1-abcdefgh")
    with pytest.raises(RuntimeError, match="foxapi_clock"):
        foxapi_gateway.advance(1)


def test_the_network_is_forbidden(foxapi_gateway, monkeypatch):
    monkeypatch.setenv("FOXAPI_FORBID_NETWORK", "1")
    asyncio.run(ask())
    monkeypatch.delenv("FOXAPI_BASE_URL")
    with pytest.raises(errors.ConfigError, match="FOXAPI_FORBID_NETWORK"):
        FoxSession()
'''

ASYNCHRONOUS = """
import pytest

{marks}


async def test_a_session_of_its_own(foxapi_session, foxapi_gateway):
    asked = {{"model": "kimi-k2.6", "messages": "count 1 to 3", "stream": True}}
    handle = await foxapi_session.llm.submit(**asked)
    text = "".join([delta.text async for delta in handle.stream()])
    assert text == (await handle).text == "1, 2, 3"
    foxapi_gateway.assert_billed_once(handle.id)


class TestInAClass:
    @pytest.mark.foxapi(faults=["stream:cut:each=2"])
    @pytest.mark.parametrize("last", [4, 5])
    async def test_a_cut_stream_goes_on(self, foxapi_session, last):
        stream = foxapi_session.llm.stream(model="gpt-5.5", messages=f"count 1 to {{last}}")
        async with stream:
            text = "".join([delta.text async for delta in stream])
        assert text == ", ".join(map(str, range(1, last + 1)))


async def test_an_unused_session(foxapi_session):
    assert "sk-foxapi" not in repr(foxapi_session)


@pytest.mark.foxapi(queue_delay=3600)
async def test_time(foxapi_session, foxapi_clock):
    handle = await foxapi_session.llm.submit(model="gpt-5.5", messages="count 1 to 3")
    foxapi_clock.advance(7200)
    assert (await handle).text == "1, 2, 3"
"""

RERUN = """
from _pytest.runner import runtestprotocol


def pytest_runtest_protocol(item, nextitem):
    for left in (2, 1, 0):
        item._initrequest()
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        if not left or not any(report.failed for report in reports):
            break
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    return True
"""

FLAKY = """
import pytest
from hypothesis import given, strategies

tries = []


@pytest.mark.asyncio
async def test_right_at_last(foxapi_session, foxapi_gateway):
    tries.append(foxapi_session)
    completion = await foxapi_session.llm.generate(model="gpt-5.5", messages="count 1 to 3")
    assert completion.text == "1, 2, 3"
    assert len(foxapi_gateway.billed) == 1
    assert len(set(map(id, tries))) == 3


@pytest.mark.asyncio
@given(strategies.none())
async def test_many_calls(foxapi_session, nothing):
    pass
"""

MISTAKES = """
import pytest


def test_synchronous(foxapi_session):
    pass


@pytest.mark.foxapi("submit:503")
def test_positional(foxapi_gateway):
    pass


@pytest.mark.foxapi(faults=["submit:rest"])
def test_rule(foxapi_gateway):
    pass
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Return a project whose tests find this package and treat warnings as errors."""
    monkeypatch.setenv("PYTHONPATH", str(Path(foxapi_async.__file__).parents[1]))
    pytester.makeini("[pytest]\naddopts = --strict-markers\nfilterwarnings = error\n")
    return pytester


def test_synchronous_tests(project: pytest.Pytester) -> None:
    """Without another plugin gateway, mark, clock and billing work, and mistakes are explained."""
    project.makepyfile(test_right=SYNCHRONOUS, test_wrong=MISTAKES)
    done = project.runpytest_subprocess(*LOADED, *QUIET, "-p", "no:asyncio", "-p", "no:anyio")
    done.assert_outcomes(passed=8, errors=3)
    done.stdout.fnmatch_lines_random(
        [
            "*foxapi_session is for `async def` tests*",
            "*takes keywords, as in faults=*",
            "*did you mean 'reset'?*",
        ]
    )


@pytest.mark.parametrize("plugin", ["strict", "auto", "anyio"])
def test_asynchronous_tests(project: pytest.Pytester, plugin: str) -> None:
    """The session works and is closed in its loop under each mode of pytest-asyncio and anyio."""
    marks = {"strict": "pytestmark = pytest.mark.asyncio", "auto": ""}
    anyio = (
        "pytestmark = pytest.mark.anyio\n\n@pytest.fixture\ndef anyio_backend():\n"
        "    return 'asyncio'"
    )
    project.makepyfile(ASYNCHRONOUS.format(marks=marks.get(plugin, anyio)))
    options: tuple[str, ...] = (
        f"--asyncio-mode={plugin}",
        "-o",
        "asyncio_default_fixture_loop_scope=function",
    )
    if plugin == "anyio":
        options = ("-p", "no:asyncio")
    done = project.runpytest_subprocess(*LOADED, *QUIET, *options)
    done.assert_outcomes(passed=5)


def test_a_test_that_is_run_again_has_a_new_session(project: pytest.Pytester) -> None:
    """A rerun works as the first run; a test that is called many times fails with the fix."""
    project.makepyfile(conftest=RERUN, test_flaky=FLAKY)
    strict = ("--asyncio-mode=strict", "-o", "asyncio_default_fixture_loop_scope=function")
    done = project.runpytest_subprocess(*LOADED, *QUIET, *strict)
    done.assert_outcomes(passed=1, errors=1)
    done.stdout.fnmatch_lines(["*@given calls it many times: use foxapi_gateway*"])


def test_the_plugin_costs_nothing_unasked() -> None:
    """Loading the plugin imports neither aiohttp nor a server, a terminal or a database."""
    code = (
        "import json, sys, pytest\nbefore = set(sys.modules)\n"
        "import foxapi_async.testing.plugin\nprint(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", code],
        env={**os.environ, "PYTHONPATH": str(Path(foxapi_async.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(json.loads(done.stdout))
    heavy = {"aiohttp", "asyncio", "msgspec", "rich", "sqlalchemy", "tenacity", "typer"}
    assert not loaded & heavy
    ours = {name for name in loaded if name.startswith("foxapi_async.")}
    assert ours == {"foxapi_async.testing", "foxapi_async.testing.plugin"}


def test_the_plugin_is_announced(checkout: Path) -> None:
    """The entry point has the name that ``-p no:foxapi`` disables."""
    project = tomllib.loads((checkout / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"foxapi": "foxapi_async.testing.plugin"}
    assert not any("pytest" in name for name in project["dependencies"])
