"""The public surface: what is said to be there is there, in one place, under one name."""

import importlib
import inspect
import pickle
from types import ModuleType

import pytest

import foxapi_async

DOORS = ("config", "errors", "gateway", "hooks", "journal", "testing", "types")


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
