"""Laws of typed answers over types made at random and the gateway's answers to their schemas."""

import json
from typing import Any

import msgspec
import pydantic
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from foxapi_async import OutputRefusedError, OutputTruncatedError, OutputValidationError
from foxapi_async._output.output_type import OutputType, output_type
from foxapi_async._output.strict_schema import make_strict
from foxapi_async._wire.completion import ChatCompletion, Choice, CompletionMessage
from foxapi_async.gateway.models.schema_values import generate
from tests.output.random_types import MODEL_TYPES, PLAIN_TYPES, mutated, says

LAWS = settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TYPES = st.one_of(PLAIN_TYPES, MODEL_TYPES)
EACH = pytest.mark.parametrize("types", [PLAIN_TYPES, MODEL_TYPES], ids=["plain", "pydantic"])


def schema_of(annotation: Any) -> dict[str, Any]:
    """Return the schema that a request for the type has."""
    schema: dict[str, Any] = output_type(annotation).response_format["json_schema"]["schema"]
    return schema


def completion_of(text: str, finish_reason: str = "stop", **members: Any) -> ChatCompletion:
    """Return a completion with this text."""
    message = CompletionMessage(content=text, **members)
    return ChatCompletion(choices=(Choice(message=message, finish_reason=finish_reason),))


def encoded(annotation: Any, value: Any) -> Any:
    """Return the JSON value that a value of the type is encoded as."""
    if isinstance(annotation, pydantic.TypeAdapter):
        return annotation.dump_python(value, mode="json", by_alias=True)
    if isinstance(value, pydantic.BaseModel):
        return value.model_dump(mode="json", by_alias=True)
    return msgspec.json.decode(msgspec.json.encode(value))


@EACH
@LAWS
@given(data=st.data())
def test_an_answer_of_the_schema_parses(types: st.SearchStrategy[Any], data: st.DataObject) -> None:
    """Whatever answers the schema of a type is a value of the type, and says the same."""
    annotation = data.draw(types)
    answer = generate(schema_of(annotation))
    value = completion_of(json.dumps(answer)).parse(annotation)
    inner = answer["value"] if OutputType(annotation).is_wrapped else answer
    assert says(encoded(annotation, value), inner)


@EACH
@LAWS
@given(data=st.data())
def test_a_wrong_answer_is_an_error(types: st.SearchStrategy[Any], data: st.DataObject) -> None:
    """A changed answer is one of the three errors, or the value that it now stands for."""
    annotation = data.draw(types)
    answer = generate(schema_of(annotation))
    if not answer:
        return
    text = data.draw(mutated(answer))
    try:
        value = completion_of(text).parse(annotation)
    except OutputValidationError as error:
        event(error.reason.partition(":")[0][:40])
        return
    changed = json.loads(text)
    inner = changed["value"] if OutputType(annotation).is_wrapped else changed
    assert says(encoded(annotation, value), inner)


@LAWS
@given(annotation=TYPES)
def test_a_cut_or_refused_answer_is_never_a_value(annotation: Any) -> None:
    """A whole answer that ends at the limit, or was filtered or refused, is an error too."""
    text = json.dumps(generate(schema_of(annotation)))
    with pytest.raises(OutputTruncatedError):
        completion_of(text, "length").parse(annotation)
    with pytest.raises(OutputRefusedError):
        completion_of(text, "content_filter").parse(annotation)
    with pytest.raises(OutputRefusedError):
        completion_of(text, refusal="no").parse(annotation)


@LAWS
@given(annotation=TYPES)
def test_a_strict_schema_is_strict(annotation: Any) -> None:
    """Strict objects are closed and require each member; a strict schema does not change again."""
    wanted = output_type(annotation).response_format["json_schema"]
    if not wanted["strict"]:
        return
    schema = wanted["schema"]
    assert schema["type"] == "object"
    assert make_strict(schema) == schema
    check_strict(schema, frozenset(schema.get("$defs", ())))


KNOWN = {
    "object": {"type", "properties", "required", "additionalProperties", "description", "$defs"},
    "array": {"type", "items", "minItems", "maxItems", "description"},
    "string": {"type", "enum", "format", "pattern", "description"},
    "number": {"type", "enum", "description", "minimum", "maximum", "exclusiveMinimum"},
    "boolean": {"type", "description"},
    "null": {"type"},
}


def check_strict(node: dict[str, Any], defs: frozenset[str]) -> None:
    """Check a part of a strict schema by the rules of strict mode."""
    if "$ref" in node:
        assert node.keys() == {"$ref"}
        assert node["$ref"].removeprefix("#/$defs/") in defs
        return
    if "anyOf" in node:
        assert node.keys() <= {"anyOf", "description"}
        for option in node["anyOf"]:
            check_strict(option, defs)
        return
    kinds = [node["type"]] if isinstance(node["type"], str) else node["type"]
    if len(kinds) > 1:
        # An enumeration of values of several types.
        assert node.keys() <= {"type", "enum", "description"}
        return
    for kind in kinds:
        assert node.keys() <= KNOWN["number" if kind == "integer" else kind]
    if "object" in kinds:
        assert node["additionalProperties"] is False
        assert node["required"] == list(node["properties"])
    for part in (*node.get("properties", {}).values(), *node.get("$defs", {}).values()):
        check_strict(part, defs)
    if "array" in kinds:
        check_strict(node["items"], defs)
