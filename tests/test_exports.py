"""The public surface: what is said to be there is there, in one place, under one name."""

import importlib
import inspect
import pickle
from enum import Enum
from types import ModuleType

import pytest

import foxapi_async
from foxapi_async.gateway import Gateway
from foxapi_async.journal import Journal
from foxapi_async.testing import BackgroundGateway

TASK_HANDLE = {
    *("bind", "created", "done", "id", "key", "kind", "model", "progress", "refresh", "result"),
    *("request_id", "status", "task", "updates"),
}
# The members of public classes that the reference documents.
MEMBERS = {
    foxapi_async.TaskHandle: TASK_HANDLE,
    foxapi_async.LLMHandle: TASK_HANDLE | {"is_streamed", "stream"},
    foxapi_async.FoxSession: {"aclose", "recover", "stats", "unclaimed", "with_options"},
    foxapi_async.ChatStream: {
        *("aclose", "completion", "cursor", "handle", "offset", "reasoning_complete", "snapshot"),
    },
    foxapi_async.MediaResult: {"items", "urls"},
    Journal: {"aclose", "delete", "entries", "lookup", "open", "prune", "scan"},
    Gateway: {"faults", "port", "stats", "url"},
    BackgroundGateway: {
        *("advance", "assert_billed_once", "billed", "faults", "stats", "time", "url"),
    },
}
DOORS = ("config", "content", "errors", "gateway", "hooks", "journal", "testing", "types")


def door(name: str) -> ModuleType:
    """Import a public module."""
    return importlib.import_module(f"foxapi_async.{name}")


def in_order(name: str) -> tuple[int, str]:
    """Sort constants first, then classes, then the rest: the order that ruff keeps."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


@pytest.mark.parametrize("module", [foxapi_async, *map(door, DOORS)], ids=lambda m: m.__name__)
def test_all_is_sorted_and_resolves(module: ModuleType) -> None:
    """``__all__`` names everything public, once, in order, and every name is there."""
    names = list(module.__all__)
    assert names == sorted(set(names), key=in_order)
    for name in names:
        assert getattr(module, name) is not None


def test_dir_is_all() -> None:
    """``dir()`` shows the lazy names too, and no name that is not public but the submodules."""
    for name in foxapi_async.__all__:
        getattr(foxapi_async, name)
    shown = {name for name in dir(foxapi_async) if not name.startswith("_")}
    promised = {name for name in foxapi_async.__all__ if not name.startswith("_")}
    assert promised <= shown
    assert all(inspect.ismodule(getattr(foxapi_async, name)) for name in shown - promised)


@pytest.mark.parametrize("shown", MEMBERS, ids=lambda shown: shown.__name__)
def test_a_class_shows_what_is_documented(shown: type) -> None:
    """``dir()`` of a class shows the members that the reference documents, and no others."""
    assert {name for name in dir(shown) if not name.startswith("_")} == MEMBERS[shown]


def public_classes() -> set[type]:
    """Return every class that a door offers, but the enumerations."""
    modules = (foxapi_async, *map(door, DOORS))
    offered = {getattr(module, name) for module in modules for name in module.__all__}
    return {one for one in offered if inspect.isclass(one) and not issubclass(one, Enum)}


def test_a_public_member_is_a_field_or_says_what_it_is() -> None:
    """What a public class adds is a field, a text or documented: no switch of the engine shows."""
    bare = {
        f"{shown.__name__}.{name}"
        for shown in public_classes()
        for name, value in inspect.getmembers_static(shown)
        if not name.startswith("_")
        and not (issubclass(shown, dict) and name in dir(dict))
        and name not in getattr(shown, "__struct_fields__", ())
        and not inspect.isdatadescriptor(value)
        and not (callable(value) and value.__doc__)
        and not isinstance(value, classmethod | staticmethod | str)
    }
    assert not bare


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A lazy package says so when it lacks a name, as any other module does."""
    name = "FoxSesion"
    with pytest.raises(AttributeError, match=name):
        getattr(foxapi_async, name)


@pytest.mark.parametrize("name", DOORS)
def test_a_name_has_one_meaning(name: str) -> None:
    """A name that the package and a door share is one object."""
    for shared in set(door(name).__all__) & set(foxapi_async.__all__):
        assert getattr(door(name), shared) is getattr(foxapi_async, shared)


def test_public_classes_pickle_by_reference() -> None:
    """A public class is found again by its module and name, as pickle needs."""
    for module in (foxapi_async, *map(door, DOORS)):
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isclass(value):
                assert pickle.loads(pickle.dumps(value)) is value
