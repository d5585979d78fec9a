"""Laws of the public names: each exists, is documented, and has one home."""

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
    foxapi_async.LLMHandle: TASK_HANDLE | {"is_streamed", "parse", "stream"},
    foxapi_async.FoxSession: {"aclose", "budget", "recover", "stats", "unclaimed", "with_options"},
    foxapi_async.ChatStream: {
        *("aclose", "completion", "cursor", "handle", "offset", "parsed", "partials"),
        *("reasoning_complete", "snapshot"),
    },
    foxapi_async.MediaResults: {"count", "index", "save", "task", "urls"},
    Journal: {"aclose", "delete", "entries", "lookup", "name", "open", "prune", "results", "scan"},
    Gateway: {"faults", "port", "replies", "requests", "stats", "url"},
    BackgroundGateway: {
        *("advance", "assert_billed_once", "billed", "faults", "replies", "requests", "stats"),
        *("time", "url"),
    },
}
DOORS = (
    *("config", "content", "errors", "gateway", "hooks", "journal", "ray", "sync", "testing"),
    "types",
)


def door(name: str) -> ModuleType:
    """Import a public module."""
    return importlib.import_module(f"foxapi_async.{name}")


def in_order(name: str) -> tuple[int, str]:
    """Sort constants first, then classes, then the rest, as ruff does."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


@pytest.mark.parametrize("module", [foxapi_async, *map(door, DOORS)], ids=lambda m: m.__name__)
def test_all_is_sorted_and_resolves(module: ModuleType) -> None:
    """``__all__`` has every public name once, in order, and every name exists."""
    names = list(module.__all__)
    assert names == sorted(set(names), key=in_order)
    for name in names:
        assert getattr(module, name) is not None


def test_dir_is_all() -> None:
    """``dir()`` shows the public names, lazy ones too, and the submodules."""
    for name in foxapi_async.__all__:
        getattr(foxapi_async, name)
    shown = {name for name in dir(foxapi_async) if not name.startswith("_")}
    promised = {name for name in foxapi_async.__all__ if not name.startswith("_")}
    assert promised <= shown
    assert all(inspect.ismodule(getattr(foxapi_async, name)) for name in shown - promised)


@pytest.mark.parametrize("shown", MEMBERS, ids=lambda shown: shown.__name__)
def test_a_class_shows_what_is_documented(shown: type) -> None:
    """``dir()`` of a class shows exactly the documented members."""
    assert {name for name in dir(shown) if not name.startswith("_")} == MEMBERS[shown]


def public_classes() -> set[type]:
    """Return every public class of a module, without enumerations."""
    modules = (foxapi_async, *map(door, DOORS))
    offered = {getattr(module, name) for module in modules for name in module.__all__}
    return {one for one in offered if inspect.isclass(one) and not issubclass(one, Enum)}


def test_a_public_member_is_a_field_or_says_what_it_is() -> None:
    """Every public member of a class is a field or has a docstring."""
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
    """A missing name of a lazy package raises ``AttributeError``."""
    name = "FoxSesion"
    with pytest.raises(AttributeError, match=name):
        getattr(foxapi_async, name)


# The blocking classes have the names of the asynchronous ones.
@pytest.mark.parametrize("name", [name for name in DOORS if name != "sync"])
def test_a_name_has_one_meaning(name: str) -> None:
    """A name that the package and a module share is one object."""
    for shared in set(door(name).__all__) & set(foxapi_async.__all__):
        assert getattr(door(name), shared) is getattr(foxapi_async, shared)


def test_public_classes_pickle_by_reference() -> None:
    """A public class can be imported by its module and name, as pickle does."""
    for module in (foxapi_async, *map(door, DOORS)):
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isclass(value):
                assert pickle.loads(pickle.dumps(value)) is value
