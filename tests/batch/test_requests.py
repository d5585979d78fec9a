"""Laws of templates, requests and keys."""

import re
import sys
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from foxapi_async._batch.answer_schema import AnswerMismatchError, AnswerSchema, parse_schema
from foxapi_async._batch.requests import (
    PreparedRow,
    RequestMaker,
    RequestSettings,
    RowForm,
    form_of,
)
from foxapi_async._batch.rows import BatchFileError, InvalidRow, InvalidRowError, Row
from foxapi_async._batch.template import PromptTemplate
from foxapi_async.errors import ConfigError
from foxapi_async.types import ChatCompletion, Choice, CompletionMessage

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
COLUMNS = TEXTS.filter(lambda text: text and not set(text) & set("{}"))


@given(TEXTS)
def test_escaped_braces_are_braces(text: str) -> None:
    """A text with all braces doubled is that text, whatever the row has."""
    template = PromptTemplate(text.replace("{", "{{").replace("}", "}}"))
    assert template.fill({}) == text
    assert not template.columns


@given(st.lists(st.tuples(COLUMNS, TEXTS, TEXTS), max_size=5))
def test_columns_are_filled_once(parts: list[tuple[str, str, str]]) -> None:
    """Each name in braces becomes the column's text, whose own braces stay as they are."""
    values = {name: value for name, value, _ in parts}
    plain = [text.replace("{", "").replace("}", "") for *_, text in parts]
    template = "".join(f"{{{name}}}{text}" for (name, *_), text in zip(parts, plain, strict=True))
    filled = "".join(values[name] + text for (name, *_), text in zip(parts, plain, strict=True))
    assert PromptTemplate(template).fill(values) == filled


@pytest.mark.parametrize("text", ["{", "}", "{}", "a {b", "a b}", "{a{b}}"])
def test_a_brace_that_is_no_column_is_refused(text: str) -> None:
    """A brace that stands alone, or names nothing, is refused with its place."""
    with pytest.raises(BatchFileError, match="at character"):
        PromptTemplate(text)


@pytest.mark.parametrize("name", ["a.__class__", "a[0]", "a!r", "a:>9", "0"])
def test_a_name_is_a_column_and_nothing_else(name: str) -> None:
    """Attributes, indexes and formats are names of columns that the row lacks."""
    with pytest.raises(InvalidRowError, match="missing"):
        PromptTemplate(f"{{{name}}}").fill({"a": "secret"})
    assert PromptTemplate(f"{{{name}}}").fill({name: "x"}) == "x"


@pytest.mark.parametrize(
    ("value", "text"),
    [("ü", "ü"), (3, "3"), (True, "true"), (["a", 1], '["a",1]'), ({"k": 1.5}, '{"k":1.5}')],
)
def test_values_become_json(value: Any, text: str) -> None:
    """A text stays as it is; other values are JSON; null is no text."""
    assert PromptTemplate("{a}").fill({"a": value}) == text
    with pytest.raises(InvalidRowError, match="null"):
        PromptTemplate("{a}").fill({"a": None})


def maker(form: RowForm = "rows", /, **settings: Any) -> RequestMaker:
    """Return a maker of requests to one model."""
    settings.setdefault("model", "gpt-5.5")
    return RequestMaker(RequestSettings(**settings), form)


def prepared(row: PreparedRow | InvalidRow) -> PreparedRow:
    """Return a row that has a request."""
    assert isinstance(row, PreparedRow), row
    return row


def reason(row: PreparedRow | InvalidRow) -> str:
    """Return why a row has no request."""
    assert isinstance(row, InvalidRow), row
    return row.reason


def test_a_row_becomes_messages() -> None:
    """The template is the user's message, after the system message; --param is added."""
    made = maker(prompt="Say {text}", system="Be {brief}.", params={"max_tokens": 20, "new": 1})
    assert prepared(made.prepare(Row(1, {"text": "hi"}))).params == {
        "model": "gpt-5.5",
        "max_tokens": 20,
        "extra": {"new": 1},
        "messages": [
            {"role": "system", "content": "Be {brief}."},
            {"role": "user", "content": "Say hi"},
        ],
    }


def test_a_row_may_have_its_own_messages() -> None:
    """Without a template, the column ``messages`` or ``prompt`` is the request."""
    messages = [{"role": "user", "content": "hi"}]
    for values in ({"messages": messages}, {"prompt": "hi"}):
        assert prepared(maker().prepare(Row(1, values))).params["messages"] == messages
    assert "must be a text or a list" in reason(maker().prepare(Row(1, {"messages": 3})))
    assert "missing" in reason(maker().prepare(Row(1, {"text": "hi"})))
    assert "empty" in reason(maker().prepare(Row(1, {"prompt": " "})))


def test_an_image_is_a_url_or_bytes_and_no_path() -> None:
    """An image comes from a URL, a data URI or bytes; a row names no file of this machine."""
    made = maker(prompt="What is it?", image_column="image")
    content = prepared(made.prepare(Row(1, {"image": "https://a.example/x.png"}))).params[
        "messages"
    ][0]["content"]
    assert content[1] == {"type": "image_url", "image_url": {"url": "https://a.example/x.png"}}
    png = prepared(made.prepare(Row(1, {"image": b"\x89PNG\r\n\x1a\n" + bytes(20)})))
    assert png.params["messages"][0]["content"][1]["image_url"]["url"].startswith("data:image/png")
    for bad in ("/etc/passwd", 3, None, b"no image"):
        assert "image" in reason(made.prepare(Row(1, {"image": bad})))


BODY = {"model": "gpt-5.5", "messages": [{"role": "user", "content": "hi"}], "temperature": 0.5}
BATCH = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": BODY}


@pytest.mark.parametrize("url", ["/v1/chat/completions", "/v1/llm/generations"])
def test_a_batch_row_is_its_body(url: str) -> None:
    """An OpenAI Batch row for one of the two URLs is its body; options replace its members."""
    row = Row(1, BATCH | {"url": url, "body": BODY | {"seed": 1, "stream": False, "new": [1]}})
    assert form_of(row.values) == "batch"
    made = RequestMaker(RequestSettings(model="other", params={"seed": 2}), "batch")
    found = prepared(made.prepare(row))
    assert found.custom_id == "a"
    assert found.params == BODY | {"model": "other", "seed": 2, "extra": {"new": [1]}}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"custom_id": 7}, "custom_id"),
        ({"custom_id": ""}, "custom_id"),
        ({"method": "GET"}, "method"),
        ({"url": "/v1/embeddings"}, "url"),
        ({"url": ["/v1/chat/completions"]}, "url"),
        ({"body": "x"}, "body"),
        ({"body": BODY | {"stream": True}}, "stream"),
        ({"body": {"messages": [1]}}, "model"),
        ({"body": {"model": "gpt-5.5", "prompt": "hi"}}, "messages"),
    ],
)
def test_another_batch_row_is_refused(change: dict[str, Any], why: str) -> None:
    """A row that is no POST of a generation is invalid, and keeps its custom_id."""
    row = RequestMaker(RequestSettings(), "batch").prepare(Row(1, BATCH | change))
    assert why in reason(row)
    assert isinstance(row, InvalidRow)
    assert row.custom_id == (None if change.get("custom_id") else "a") or (
        change.get("custom_id") == ""
    )


@pytest.mark.parametrize("option", ["prompt", "system", "image_column"])
def test_options_of_rows_do_not_go_with_batch_rows(option: str) -> None:
    """An option that makes messages is refused for rows that have theirs."""
    with pytest.raises(BatchFileError, match="--" + option.replace("_", "-")):
        maker("batch", **{option: "x"})


def test_equal_requests_have_one_key() -> None:
    """The key is a hash of the request: other columns and their order do not matter to it."""
    made = maker(prompt="{text}")
    first = prepared(made.prepare(Row(1, {"text": "a", "other": 1})))
    second = prepared(made.prepare(Row(9, {"other": 2, "text": "a"})))
    third = prepared(made.prepare(Row(3, {"text": "b", "other": 1})))
    assert first.key == second.key != third.key
    assert first.id != second.id
    assert first.id == prepared(made.prepare(Row(5, {"text": "a", "other": 1}))).id
    assert re.fullmatch("[0-9a-f]{32}", first.key)
    other_model = prepared(maker(model="x", prompt="{text}").prepare(Row(1, {"text": "a"})))
    assert other_model.key != first.key


@pytest.mark.parametrize(
    ("value", "key"), [("k", "k"), (7, "7"), ("", None), (True, None), (None, None), ("\0", None)]
)
def test_a_key_column_names_the_row(value: object, key: str | None) -> None:
    """``--key-column`` takes a text or a whole number; anything else is invalid."""
    row = maker(prompt="{text}", key_column="id").prepare(Row(1, {"text": "a", "id": value}))
    if key is None:
        assert "'id'" in reason(row)
    else:
        assert prepared(row).key == key


@pytest.mark.parametrize(
    ("column", "hint"),
    [
        ("id;text", "';'"),
        ("id\ttext", r"\$'\\t'"),
        ("id|text", r"'\|'"),
        ("id,text", "','"),
    ],
)
def test_another_delimiter_is_named(column: str, hint: str) -> None:
    """A header with one column that has a delimiter is one of several columns."""
    maker = RequestMaker(RequestSettings(model="gpt-5.5", prompt="{text}"), "rows")
    with pytest.raises(BatchFileError, match=f"pass --delimiter {hint}$"):
        maker.check_columns([column], name="rows.csv")


def test_a_prompt_without_a_column_is_refused() -> None:
    """All rows would be one request, unless a key or an image tells them apart."""
    with pytest.raises(BatchFileError, match="--prompt names no column"):
        RequestMaker(RequestSettings(model="gpt-5.5", prompt="hello"), "rows")
    settings = RequestSettings(model="gpt-5.5", prompt="hello")
    for more in ({"key_column": "id"}, {"image_column": "image"}):
        RequestMaker(replace(settings, **more), "rows")


def test_missing_columns_are_known_before_a_request() -> None:
    """A column that an option names and the input lacks is refused with those it has."""
    for option, settings in (
        ("--prompt", {"prompt": "{no}"}),
        ("--key-column", {"prompt": "{text}", "key_column": "no"}),
        ("--image-column", {"prompt": "{text}", "image_column": "no"}),
        ("--prompt", {}),
    ):
        with pytest.raises(BatchFileError, match=f"{option}.* has 'text', 'id'$"):
            maker(**settings).check_columns(["text", "id"], name="rows.csv")
    maker(prompt="{text}").check_columns(["text"], name="rows.csv")


def test_a_row_that_is_no_json_is_invalid() -> None:
    """Half of a surrogate pair in a value is an invalid row."""
    assert "JSON" in reason(maker(prompt="{a}").prepare(Row(1, {"a": "\ud800"})))


SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def answer(text: str, finish_reason: str = "stop") -> ChatCompletion:
    """Return a completion with a text."""
    message = CompletionMessage(content=text)
    return ChatCompletion(choices=(Choice(message=message, finish_reason=finish_reason),))


def test_answers_are_checked_against_the_schema() -> None:
    """An answer that fits is parsed; the error of another shows its path and no text of it."""
    schema = AnswerSchema(SCHEMA)
    assert schema.parse(answer('{"n": 3}')) == {"n": 3}
    for text, why in (
        ('{"n": "hidden"}', "type"),
        ("hidden", "not JSON"),
        ('{"hidden": 1}', "required"),
    ):
        with pytest.raises(AnswerMismatchError, match=why) as caught:
            schema.parse(answer(text))
        assert "hidden" not in str(caught.value)
    with pytest.raises(AnswerMismatchError, match="cut off"):
        schema.parse(answer('{"n": 3}', "length"))


def test_a_schema_loads_no_other_document() -> None:
    """A reference to a URL is an error of the answer, and nothing is fetched."""
    schema = AnswerSchema({"$ref": "http://127.0.0.1:1/schema"})
    with pytest.raises(AnswerMismatchError, match="cannot be applied"):
        schema.parse(answer("1"))


def test_a_wrong_schema_is_refused() -> None:
    """A file that is no schema is refused before anything is sent."""
    with pytest.raises(BatchFileError, match="--schema"):
        AnswerSchema({"type": "nothing"})
    for text in (b"[]", b"{", b" " * 2_000_000):
        with pytest.raises(BatchFileError, match=r"--schema s\.json"):
            parse_schema(text, "s.json")
    assert parse_schema(msgspec.json.encode(SCHEMA), "s.json") == SCHEMA


def test_the_schema_is_sent_as_a_strict_format() -> None:
    """``--schema`` is the request's ``response_format``."""
    made = maker(prompt="{a}", schema=SCHEMA, schema_name="city")
    assert prepared(made.prepare(Row(1, {"a": "x"}))).params["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "city", "strict": True, "schema": SCHEMA},
    }


def test_the_check_of_answers_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without jsonschema, the error says how to install it."""
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    with pytest.raises(ConfigError, match=r"foxapi-async\[batch\]"):
        AnswerSchema(SCHEMA)
