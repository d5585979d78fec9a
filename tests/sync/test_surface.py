"""Laws of the surface: the stub and the blocking classes have all asynchronous names."""

import ast
import inspect
import re
from pathlib import Path
from typing import Any, get_args

import pytest

import foxapi_async
import foxapi_async.sync
from foxapi_async.sync._proxy import Proxy, blocking_class
from foxapi_async.sync._rules import RENAMED, is_live, live_names

LIVE = live_names()
REGENERATE = "run `python docs/generate.py` and commit foxapi_async/sync/__init__.pyi"


@pytest.fixture(scope="session")
def stub(package: Path) -> ast.Module:
    """Return the stub that type checkers read."""
    return ast.parse((package / "sync" / "__init__.pyi").read_text("utf-8"))


def members(stub: ast.Module, name: str) -> set[str]:
    """Return the members of a class in the stub."""
    (node,) = (one for one in stub.body if isinstance(one, ast.ClassDef) and one.name == name)
    return {one.name for one in node.body if isinstance(one, ast.FunctionDef)}


def own_members(kind: type[Any]) -> set[str]:
    """Return the blocking names of the public members that a class defines itself."""
    return {
        RENAMED.get(name, name)
        for name, value in vars(kind).items()
        if (name in RENAMED or not name.startswith("_"))
        and (inspect.isfunction(value) or isinstance(value, property))
    }


def test_all_is_that_of_the_stub(stub: ast.Module) -> None:
    """The module and its stub export the same names in the same order."""
    (listed,) = (
        node.value
        for node in stub.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    assert list(foxapi_async.sync.__all__) == ast.literal_eval(listed), REGENERATE
    for name in foxapi_async.sync.__all__:
        assert getattr(foxapi_async.sync, name).__name__ == name


@pytest.mark.parametrize("name", LIVE)
def test_the_stub_has_every_member(stub: ast.Module, name: str) -> None:
    """Each public member of an asynchronous class is in the stub and in the blocking class."""
    live: type[Any] = getattr(foxapi_async, name)
    wanted = own_members(live)
    in_stub = members(stub, name) - {"__init__"}
    assert in_stub == wanted, REGENERATE
    blocking = blocking_class(live)
    assert not {one for one in wanted if not hasattr(blocking, one)}


@pytest.mark.parametrize("name", LIVE)
def test_no_member_is_a_coroutine(name: str) -> None:
    """A blocking class has neither coroutine functions nor asynchronous protocols."""
    blocking = blocking_class(getattr(foxapi_async, name))
    for member, value in inspect.getmembers_static(blocking):
        assert not inspect.iscoroutinefunction(value), member
        assert member not in {"aclose", "__await__", *RENAMED}


def test_every_public_class_that_waits_has_a_blocking_form() -> None:
    """Every class of the package with public coroutine functions is exported by both modules."""
    classes = [
        value
        for name in foxapi_async.__all__
        if inspect.isclass(value := getattr(foxapi_async, name)) and is_live(value)
    ]
    assert {foxapi_async.FoxSession, foxapi_async.LLMHandle} < set(classes)
    for value in classes:
        assert issubclass(getattr(foxapi_async.sync, value.__name__), Proxy)


def test_handles_have_the_tree_of_the_asynchronous_ones() -> None:
    """A blocking ``LLMHandle`` is a ``TaskHandle``, and both take the type of a result."""
    from foxapi_async.sync import LLMHandle, TaskHandle

    assert issubclass(LLMHandle, TaskHandle)
    assert get_args(TaskHandle[foxapi_async.MediaResult]) == (foxapi_async.MediaResult,)


def test_no_text_of_the_stub_speaks_of_coroutines(package: Path) -> None:
    """No docstring tells to await."""
    text = (package / "sync" / "__init__.pyi").read_text("utf-8").partition('"""\n')[2]
    lines = [line for line in text.splitlines() if not line.startswith("from ")]
    found = [
        line for line in lines if re.search(r"\b(await\w*|async\w*|aclose)\b", line, re.IGNORECASE)
    ]
    assert not found


def test_help_is_that_of_the_blocking_form() -> None:
    """``help()`` of a method lists the keywords, and its text has the blocking words."""
    from foxapi_async.sync import LLM, FoxSession

    assert "model" in inspect.signature(LLM.submit).parameters
    assert "``with FoxSession() as fox``" in (FoxSession.__doc__ or "")
    assert (FoxSession.close.__doc__ or "").startswith("Close the session")


def test_nothing_but_a_session_is_built_by_hand() -> None:
    """A handle without a session is a ``TypeError`` that says where handles come from."""
    handle: Any = foxapi_async.sync.LLMHandle
    with pytest.raises(TypeError, match="a FoxSession returns it"):
        handle()


def test_a_borrowed_http_session_is_refused() -> None:
    """An ``aiohttp.ClientSession`` belongs to another loop."""
    build: Any = foxapi_async.sync.FoxSession
    with pytest.raises(TypeError, match="leave out http"):
        build("key", http=object())
