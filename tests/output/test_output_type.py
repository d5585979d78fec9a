# ruff: noqa: D101 a docstring would stand in the schema
"""Laws of the types of answers: their schema, what is refused, and how an answer is fitted."""

import enum
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, TypedDict

import msgspec
import pydantic
import pytest
from msgspec import UNSET, Meta, Struct, UnsetType

from foxapi_async._output.answer_text import AnswerError, read_json
from foxapi_async._output.answer_value import fit
from foxapi_async._output.json_schema import TypeNotSupportedError
from foxapi_async._output.output_type import output_type


class Size(enum.Enum):
    """The size of a thing."""

    LARGE = "large"
    SMALL = "small"


class Pet(Struct):
    """A pet of a person."""

    name: Annotated[str, Meta(description="What it is called.", min_length=1)]
    size: Size = Size.SMALL


class Owner(Struct, forbid_unknown_fields=True):
    name: str
    pets: list[Pet] = []
    nick: str | UnsetType = UNSET
    friend: "Owner | None" = None


@dataclass
class Place:
    at: tuple[float, float]
    label: tuple[str, int]
    when: datetime
    price: Decimal


class Point(NamedTuple):
    lat: float
    lon: float


class Model(pydantic.BaseModel):
    """A model."""

    count: int = pydantic.Field(alias="number")
    price: Decimal
    pair: tuple[int, str] = (1, "x")


class AnyMember(Struct):
    value: list[dict[str, Any]]


class BytesMember(TypedDict):
    data: bytes


def wanted(annotation: Any) -> dict[str, Any]:
    """Return what a request for the type says."""
    found: dict[str, Any] = output_type(annotation).response_format["json_schema"]
    return found


def test_the_schema_of_a_struct() -> None:
    """Docstrings and ``Meta`` describe, optional members may be null, and no default is lost."""
    assert wanted(Owner) == {
        "name": "Owner",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "pets": {
                    "anyOf": [
                        {"type": "array", "items": {"$ref": "#/$defs/Pet"}},
                        {"type": "null"},
                    ]
                },
                "nick": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                "friend": {"anyOf": [{"$ref": "#/$defs/Owner"}, {"type": "null"}]},
            },
            "required": ["name", "pets", "nick", "friend"],
            "additionalProperties": False,
            "$defs": {
                "Pet": {
                    "type": "object",
                    "properties": {
                        "name": {
                            "type": "string",
                            "description": "What it is called. At least 1 characters.",
                        },
                        "size": {"anyOf": [{"$ref": "#/$defs/Size"}, {"type": "null"}]},
                    },
                    "required": ["name", "size"],
                    "additionalProperties": False,
                    "description": "A pet of a person.",
                },
                "Size": {
                    "type": "string",
                    "enum": ["large", "small"],
                    "description": "The size of a thing.",
                },
                "Owner": wanted(Owner)["schema"]["$defs"]["Owner"],
            },
        },
    }


def test_tuples_and_formats() -> None:
    """A tuple of several types is an object, one of a single type a list, a decimal a number."""
    schema = wanted(Place)["schema"]
    assert "description" not in schema
    assert schema["properties"]["at"] == {
        "type": "array",
        "items": {"type": "number"},
        "minItems": 2,
        "maxItems": 2,
    }
    assert list(schema["properties"]["label"]["properties"]) == ["item_1", "item_2"]
    assert schema["properties"]["when"] == {"type": "string", "format": "date-time"}
    assert schema["properties"]["price"] == {"type": "number"}
    place = output_type(Place).decode(
        '{"at": [1, 2.5], "label": {"item_2": 7, "item_1": "x"}, "when": "2026-01-02T03:04:05Z", '
        '"price": 12345678901234567890.10}'
    )
    assert place.label == ("x", 7)
    assert place.price == Decimal("12345678901234567890.10")


def test_a_named_tuple_has_named_items() -> None:
    """The items of a named tuple are asked for by their names; a list is read too."""
    value = wanted(Point)["schema"]["properties"]["value"]
    assert list(value["properties"]) == ["lat", "lon"]
    assert output_type(Point).decode('{"value": {"lon": 2, "lat": 1}}') == Point(1, 2)
    assert output_type(Point).decode('{"value": [1, 2]}') == Point(1, 2)


def test_free_names_are_not_strict() -> None:
    """A dict has no form in strict mode: its schema is sent whole, and closed where it can be."""
    found = wanted(dict[str, Pet])
    assert found["strict"] is False
    assert found["schema"]["$defs"]["Pet"]["additionalProperties"] is False
    assert found["schema"]["$defs"]["Pet"]["required"] == ["name"]
    assert output_type(dict[str, Pet]).decode('{"a": {"name": "x"}}') == {"a": Pet("x")}


def test_a_model_of_pydantic() -> None:
    """A model has pydantic's own schema, made strict, and is checked by pydantic."""
    found = wanted(Model)
    assert found["strict"] is True
    assert list(found["schema"]["properties"]) == ["number", "price", "pair"]
    assert found["schema"]["properties"]["price"] == {"type": "number"}
    model = output_type(Model).decode(
        '{"number": 2, "price": 0.10, "pair": {"item_1": 3, "item_2": "y"}}'
    )
    assert model == Model(number=2, price=Decimal("0.1"), pair=(3, "y"))
    with pytest.raises(AnswerError, match="valid integer") as caught:
        output_type(Model).decode('{"number": "2", "price": 1}')
    assert caught.value.path == "number"


@pytest.mark.parametrize(
    ("annotation", "path"),
    [
        (Any, "Any"),
        (object, "object"),
        (dict, "dict{}"),
        (list, "list[]"),
        (AnyMember, "AnyMember.value[]{}"),
        (BytesMember, "BytesMember.data"),
        (list[bytes], "list[bytes][]"),
        (set[Pet], "set[Pet][]"),
        (dict[tuple[int, int], str], "dict[tuple[int, int], str]"),
        (Callable[[], int], "Callable[[], int]"),
        (complex, "complex"),
        (Pet | Owner, "Pet | Owner"),
        (pydantic.TypeAdapter(dict[str, Any]), "dict[str, Any]{}"),
        (pydantic.create_model("Bag", members=(list[Any], ...)), "Bag.members[]"),
        (pydantic.create_model("Blob", data=(bytes, ...)), "Blob.data"),
        (pydantic.create_model("Call", hook=(Callable[[], int], ...)), "Call"),
        (pydantic.create_model("Models", all=(set[Point], ...)), None),
    ],
)
def test_a_type_that_cannot_be_asked_for(annotation: Any, path: str | None) -> None:
    """A type without a schema is refused with the path of the part that has none."""
    if path is None:
        assert wanted(annotation)
        return
    with pytest.raises(TypeNotSupportedError) as caught:
        wanted(annotation)
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("annotation", "name"),
    [
        (Pet, "Pet"),
        (list[Pet], "list_Pet"),
        (Pet | None, "Pet_None"),
        (Literal["ä"], "Literal"),
        (dict[str, dict[str, dict[str, dict[str, dict[str, dict[str, dict[str, int]]]]]]], None),
        (pydantic.TypeAdapter(list[Model]), "list_Model"),
    ],
)
def test_the_name_of_a_schema(annotation: Any, name: str | None) -> None:
    """The name is 1 to 64 letters, digits, hyphens and underscores."""
    found = wanted(annotation)["name"]
    assert name is None or found == name
    assert 1 <= len(found) <= 64
    assert found.replace("_", "a").replace("-", "a").isalnum()
    assert found.isascii()


def test_null_of_an_optional_member_is_not_given() -> None:
    """Null for a member with a default that may not be null leaves it at its default."""
    owner = output_type(Owner).decode(
        '{"name": "x", "pets": [{"name": "a", "size": null}], "nick": null, "friend": null}'
    )
    assert owner == Owner("x", [Pet("a")])
    assert owner.nick is UNSET
    with pytest.raises(AnswerError, match="got `null`"):
        output_type(Owner).decode('{"name": null}')


class Cat(Struct, tag="cat"):
    name: str
    lives: int = 9


class Dog(Struct, tag="dog"):
    name: str
    lives: str = "one"


class First(pydantic.BaseModel):
    a: int
    b: int = 1


class Second(pydantic.BaseModel):
    a: int
    c: int | None


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        (Cat | Dog, '{"value": {"type": "dog", "name": "x", "lives": null}}', Dog("x")),
        (Cat | Dog | None, '{"value": null}', None),
        (list[Pet] | Pet | None, '{"value": {"name": "x", "size": null}}', Pet("x")),
        (list[Pet] | Pet, '{"value": [{"name": "x", "size": null}]}', [Pet("x")]),
        (First | Second, '{"value": {"a": 1, "b": null}}', First(a=1)),
        (First | Second, '{"value": {"a": 1, "c": null}}', Second(a=1, c=None)),
    ],
)
def test_null_in_a_union(annotation: Any, text: str, value: object) -> None:
    """The type of a union is found by its JSON type, its tag and its member names."""
    assert output_type(annotation).decode(text) == value


@pytest.mark.parametrize("annotation", [Pet, pydantic.create_model("P", name=(str, ...))])
def test_an_unknown_member_is_an_error(annotation: Any) -> None:
    """A member that the type does not have is an error, which does not show its name."""
    with pytest.raises(AnswerError, match="unknown member 'nmae'") as caught:
        output_type(annotation).decode('{"name": "x", "nmae": "y"}')
    assert "nmae" not in caught.value.safe


def test_a_model_that_allows_more_takes_more() -> None:
    """A model of pydantic that allows further members gets them, and is not strict."""
    annotation: Any = pydantic.create_model(
        "Open", __config__=pydantic.ConfigDict(extra="allow"), a=(int, ...)
    )
    assert wanted(annotation)["strict"] is False
    assert output_type(annotation).decode('{"a": 1, "b": 2}').b == 2


def deep(levels: int) -> str:
    """Return an answer of many owners in each other."""
    return '{"name": "x", "friend": ' * levels + "null" + "}" * levels


def test_a_deep_answer_is_an_error() -> None:
    """An answer that is nested too deep is an error and not a crash."""
    assert output_type(Owner).decode(deep(50))
    for levels in (800, 2000, 50_000):
        with pytest.raises(AnswerError, match="nested too deep"):
            output_type(Owner).decode(deep(levels))


class Left(pydantic.BaseModel):
    next: "Left | Right | None"
    end: int | None = None


class Right(pydantic.BaseModel):
    next: "Left | Right | None"
    end: str | None = None


def test_a_union_is_found_in_linear_time() -> None:
    """A deep answer that fits several types at each level takes no exponential time."""
    value = read_json('{"next": ' * 60 + "null" + ', "end": 1.5}' * 60)
    assert fit(value, output_type(Left).schema) == value


def test_a_type_is_built_once() -> None:
    """The schema and the decoder of a type are kept."""
    assert output_type(Pet) is output_type(Pet)
    assert output_type(list[Pet]) is output_type(list[Pet])
    unhashable = Annotated[int, {"a": []}]
    assert output_type(unhashable).decode('{"value": 1}') == 1


def secret(value: date) -> Any:
    """Raise with the answer in the text."""
    raise ValueError(f"secret {value}")


class Checked(Struct):
    word: Literal["a"] | None = None
    on: date | None = None

    def __post_init__(self) -> None:
        if self.on is not None:
            secret(self.on)


class CheckedModel(pydantic.BaseModel):
    word: Literal["a"] | None = None
    on: Annotated[date | None, pydantic.AfterValidator(secret)] = None
    more: dict[str, int] = {}


@pytest.mark.parametrize("annotation", [Checked, CheckedModel])
@pytest.mark.parametrize(
    "text",
    [
        '{"word": "secret"}',
        '{"on": "2026-01-01"}',
        '{"secret": 1}',
        '{"word": "a", "secret": [{"secret": 1}]}',
        '{"more": {"secret": "secret"}}',
        '{"on": "secret"}',
    ],
)
def test_the_text_for_users_has_no_word_of_the_answer(annotation: Any, text: str) -> None:
    """The safe text and path of an error have no word of the answer."""
    with pytest.raises(AnswerError) as caught:
        output_type(annotation).decode(text)
    assert "secret" not in f"{caught.value.safe}{caught.value.safe_path}"
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_a_type_of_msgspec_needs_no_pydantic() -> None:
    """Types of msgspec are decoded by msgspec."""
    assert output_type(Pet).decode(msgspec.json.encode(Pet("x")).decode()) == Pet("x")


class _Digit(enum.IntEnum):
    """The numbers to which true and false are equal."""

    ZERO = 0
    ONE = 1


@pytest.mark.parametrize("kind", [Literal[0, 1], _Digit, Literal["a", 1], int])
@pytest.mark.parametrize("answer", ["true", "false"])
def test_true_is_not_one(kind: Any, answer: str) -> None:
    """A boolean is no number, in a model of pydantic either."""
    model = pydantic.create_model("Model", a=(kind, ...))
    cases: list[tuple[Any, str]] = [
        (model, f'{{"a": {answer}}}'),
        (kind, f'{{"value": {answer}}}'),
    ]
    for annotation, text in cases:
        with pytest.raises(AnswerError):
            output_type(annotation).decode(text)
