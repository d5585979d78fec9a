"""Types made at random, and the wrong answers that are made of a right one."""

import dataclasses
import datetime as dt
import enum
import json
from collections import namedtuple
from collections.abc import Iterator
from decimal import Decimal
from itertools import count
from typing import Annotated, Any, Generic, Literal, NotRequired, TypedDict, TypeVar
from uuid import UUID

import attrs
import msgspec
import pydantic
from hypothesis import strategies as st
from msgspec import Meta

T = TypeVar("T")
_numbers = count()
SCALARS: tuple[Any, ...] = (
    int,
    float,
    str,
    bool,
    dt.date,
    dt.datetime,
    dt.time,
    dt.timedelta,
    UUID,
    Decimal,
    Literal["red", "green"],
    Literal[1, 2, 3],
    Literal[True, "yes", 1],
    enum.Enum("Color", {"RED": "red", "BLUE": "blue"}),
    enum.IntEnum("Size", {"SMALL": 1, "LARGE": 2}),
)
BOUNDED: tuple[Any, ...] = (
    Annotated[int, Meta(ge=3, le=9, description="Three to nine.")],
    Annotated[float, Meta(gt=0)],
    Annotated[list[int], Meta(min_length=2, max_length=3)],
)
MODEL_SCALARS: tuple[Any, ...] = (*SCALARS, enum.Enum("Step", {"HALF": 0.5, "ALL": "all"}))
MODEL_BOUNDED: tuple[Any, ...] = (
    Annotated[int, pydantic.Field(ge=3, le=9, description="Three to nine.")],
    Annotated[float, pydantic.Field(gt=0)],
    Annotated[list[int], pydantic.Field(min_length=2, max_length=3)],
)
_SET_ITEMS = st.sampled_from((int, str, bool, Literal["red", "green"], tuple[int, str]))


class Box(msgspec.Struct, Generic[T]):
    """A generic struct."""

    item: T
    more: list[T] = []


class ModelBox(pydantic.BaseModel, Generic[T]):
    """A generic model."""

    item: T
    more: list[T] = []


def _name(prefix: str) -> str:
    return f"{prefix}{next(_numbers)}"


def _members(items: st.SearchStrategy[Any]) -> st.SearchStrategy[list[tuple[str, Any, bool]]]:
    """Return the names and types of members, and whether each is required."""
    names = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=4, unique=True)
    return names.flatmap(
        lambda chosen: st.tuples(*(st.tuples(st.just(n), items, st.booleans()) for n in chosen))
    ).map(lambda made: sorted(made, key=lambda member: not member[2]))


def _struct(members: list[tuple[str, Any, bool]]) -> Any:
    fields = [(n, t) if required else (n, t | None, None) for n, t, required in members]
    return msgspec.defstruct(_name("Struct"), fields)


def _other_struct(members: list[tuple[str, Any, bool]]) -> Any:
    """Return a struct with other member names, closed, or written as an array."""
    fields = [
        (f"{n}_{n}", t) if required else (f"{n}_{n}", t | None, None) for n, t, required in members
    ]
    if len(members) % 2:
        return msgspec.defstruct(
            _name("Other"), fields, rename="camel", forbid_unknown_fields=True, omit_defaults=True
        )
    return msgspec.defstruct(_name("Other"), fields, array_like=True)


def _recursive_struct(members: list[tuple[str, Any, bool]]) -> Any:
    """Return a struct that has itself in it, by its name."""
    name = _name("Recursive")
    fields = [(n, t) if required else (n, t | None, None) for n, t, required in members]
    again = ("again", f"list[{name}] | None", None)
    globals()[name] = made = msgspec.defstruct(name, [*fields, again], module=__name__)
    return made


def _recursive_dataclass(members: list[tuple[str, Any, bool]]) -> Any:
    name = _name("Recursive")
    fields: list[Any] = [(n, t) for n, t, _ in members]
    again = ("again", f"{name} | None", dataclasses.field(default=None))
    made = dataclasses.make_dataclass(name, [*fields, again], kw_only=True, slots=True)
    made.__module__ = __name__
    globals()[name] = made
    return made


def _recursive_model(members: list[tuple[str, Any, bool]]) -> Any:
    name = _name("Recursive")
    fields: dict[str, Any] = {n: (t, ...) for n, t, _ in members}
    fields["again"] = (f"list[{name}]", [])
    made = pydantic.create_model(name, **fields)
    made.model_rebuild(_types_namespace={name: made})
    return made


def _struct_with_defaults(members: list[tuple[str, Any, bool]]) -> Any:
    """Return a struct whose optional members may not be null."""
    fields = [
        (n, t) if required else (n, t | msgspec.UnsetType, msgspec.UNSET)
        for n, t, required in members
    ]
    return msgspec.defstruct(_name("Sparse"), fields)


def _dataclass(members: list[tuple[str, Any, bool]]) -> Any:
    fields: list[Any] = [
        (n, t) if required else (n, t | None, dataclasses.field(default=None))
        for n, t, required in members
    ]
    return dataclasses.make_dataclass(_name("Data"), fields)


def _attrs(members: list[tuple[str, Any, bool]]) -> Any:
    fields = {
        n: attrs.field(type=t) if required else attrs.field(type=t | None, default=None)
        for n, t, required in members
    }
    return attrs.make_class(_name("Attrs"), fields)


def _typed_dict(members: list[tuple[str, Any, bool]]) -> Any:
    fields = {n: t if required else NotRequired[t] for n, t, required in members}
    make: Any = TypedDict
    return make(_name("Dict"), fields)


def _named_tuple(members: list[tuple[str, Any, bool]]) -> Any:
    names = [n for n, _, _ in members]
    defaults = [None for _, _, required in members if not required]
    make: Any = namedtuple  # noqa: PYI024 it has defaults
    made = make(_name("Named"), names, defaults=defaults)
    made.__annotations__ = {n: t if required else t | None for n, t, required in members}
    return made


def _model(members: list[tuple[str, Any, bool]]) -> Any:
    fields: dict[str, Any] = {
        n: (t, ...) if required else (t | None, None) for n, t, required in members
    }
    return pydantic.create_model(_name("Model"), **fields)


def _model_with_defaults(members: list[tuple[str, Any, bool]]) -> Any:
    fields: dict[str, Any] = {n: (t, ... if required else None) for n, t, required in members}
    return pydantic.create_model(_name("Sparse"), **fields)


def _model_with_aliases(members: list[tuple[str, Any, bool]]) -> Any:
    fields: dict[str, Any] = {
        n: (t, pydantic.Field(alias=f"the-{n}"))
        if required
        else (t | None, pydantic.Field(default=None, alias=f"the-{n}"))
        for n, t, required in members
    }
    return pydantic.create_model(_name("Aliased"), **fields)


def _root_model(items: Any) -> Any:
    root: Any = pydantic.RootModel
    return root[_of(list, items)]


def _discriminated_union(members: tuple[list[tuple[str, Any, bool]], ...]) -> Any:
    union: Any = None
    for number, one in enumerate(members):
        fields: dict[str, Any] = {
            n: (t, ...) if required else (t | None, None) for n, t, required in one
        }
        fields["kind"] = (Literal[f"kind{number}"], ...)
        made: Any = pydantic.create_model(_name("Case"), **fields)
        union = made if union is None else union | made
    return Annotated[union, pydantic.Field(discriminator="kind")]


def _tagged_union(members: tuple[list[tuple[str, Any, bool]], ...]) -> Any:
    union: Any = None
    for one in members:
        fields = [(n, t) if required else (n, t | None, None) for n, t, required in one]
        made = msgspec.defstruct(_name("Tagged"), fields, tag=True)
        union = made if union is None else union | made
    return union


def _of(generic: Any, *arguments: Any) -> Any:
    return generic[arguments]


def _containers(items: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        items.map(lambda item: _of(list, item)),
        items.map(lambda item: _of(tuple, item, ...)),
        st.tuples(items, items).map(lambda pair: _of(tuple, *pair)),
        items.map(lambda item: _of(dict, str, item)),
        items.map(lambda item: _of(dict, int, item)),
        _SET_ITEMS.map(lambda item: _of(set, item)),
        _SET_ITEMS.map(lambda item: _of(frozenset, item)),
        items.map(lambda item: item | None),
    )


def _grow(items: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    members = _members(items)
    makers = (
        *(_struct, _struct_with_defaults, _other_struct, _recursive_struct),
        *(_dataclass, _recursive_dataclass, _attrs, _typed_dict, _named_tuple),
    )
    return st.one_of(
        _containers(items),
        items.map(lambda item: _of(Box, item)),
        *(members.map(make) for make in makers),
        st.tuples(members, members).map(_tagged_union),
    )


def _grow_models(items: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    members = _members(items)
    makers = (
        *(_model, _model_with_defaults, _model_with_aliases, _recursive_model),
        *(_dataclass, _named_tuple),
    )
    return st.one_of(
        _containers(items),
        items.map(lambda item: _of(ModelBox, item)),
        items.map(_root_model),
        *(members.map(make) for make in makers),
        st.tuples(members, members).map(_discriminated_union),
    )


PLAIN_TYPES = st.recursive(st.sampled_from(SCALARS + BOUNDED), _grow, max_leaves=8)
MODEL_TYPES = st.recursive(
    st.sampled_from(MODEL_SCALARS + MODEL_BOUNDED), _grow_models, max_leaves=8
).flatmap(
    # A model is in it, or it would be a type of msgspec.
    lambda made: st.sampled_from((_model([("a", made, True)]), pydantic.TypeAdapter(made)))
)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each container in a JSON value with each of its keys."""
    if isinstance(value, dict | list):
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        for key in keys:
            yield value, key
            yield from places(value[key])


WRONG = ('{"x": 1}', '["x"]', '"wrong"', f"{10**30}", "1.25", "-7", "true", "null", "[]", "{}")


@st.composite
def mutated(draw: st.DrawFn, answer: Any) -> str:
    """Draw the text of an answer after one to three mutations."""
    value = json.loads(json.dumps(answer))
    for _ in range(draw(st.integers(1, 3))):
        found = list(places(value))
        container, key = draw(st.sampled_from(found))
        how = draw(st.sampled_from(("replace", "delete", "rename", "add", "shift")))
        if how == "delete":
            del container[key]
        elif how == "rename" and isinstance(container, dict):
            container[f"{key}_"] = container.pop(key)
        elif how == "add" and isinstance(container, dict):
            container["unknown"] = json.loads(draw(st.sampled_from(WRONG)))
        elif how == "shift":
            container[key] = [container[key]]
        else:
            container[key] = json.loads(draw(st.sampled_from(WRONG)))
        if not list(places(value)):
            break
    text = json.dumps(value)
    cut = draw(st.sampled_from(("no", "no", "no", "cut", "more", "twice")))
    if cut == "cut":
        return text[: draw(st.integers(0, len(text) - 1))]
    if cut == "more":
        return f"{text} and more"
    if cut == "twice" and isinstance(value, dict) and value:
        name = json.dumps(next(iter(value)))
        return f"{text[:-1]}, {name}: 1}}"
    return text


def says(encoded: Any, answer: Any) -> bool:
    """Tell whether a value, as JSON, says all that the answer says, and nothing else."""
    if isinstance(answer, dict) and isinstance(encoded, list):
        # A tuple is asked for as an object.
        answer = list(answer.values())
    if isinstance(answer, dict):
        return isinstance(encoded, dict) and all(
            item is None or (name in encoded and says(encoded[name], item))
            for name, item in answer.items()
        )
    if isinstance(answer, list):
        return isinstance(encoded, list) and _says_items(encoded, answer)
    return _says_scalar(encoded, answer)


def _says_items(encoded: list[Any], answer: list[Any]) -> bool:
    if len(encoded) == len(answer) and all(map(says, encoded, answer)):
        return True
    # A set has an order of its own, and no item twice.
    return len(encoded) <= len(answer) and all(
        any(says(one, item) for one in encoded) for item in answer
    )


def _says_scalar(encoded: Any, answer: Any) -> bool:
    if isinstance(answer, str):
        is_duration = answer.startswith("PT") and str(encoded).startswith("PT")
        return encoded == answer or is_duration
    if isinstance(answer, bool) or isinstance(encoded, bool) or answer is None:
        return encoded is answer
    # Decimals are written as texts.
    return float(encoded) == float(answer)
