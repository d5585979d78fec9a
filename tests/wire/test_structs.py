"""Laws of the wire structs: what is decoded, what is kept, and what is rejected."""

import copy
import json
import pickle
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from msgspec.structs import replace

from foxapi_async._protocol.accumulator import Accumulator
from foxapi_async._wire.base import encode
from foxapi_async._wire.chunk import delta_decoder
from foxapi_async._wire.completion import decode_completion, encode_completion, with_origin
from foxapi_async._wire.error_body import decode_error
from foxapi_async._wire.paths import is_task_id, stream_path, task_path
from foxapi_async._wire.request import request_decoder
from foxapi_async._wire.task import UnifiedTask, task_decoder

SEED_TASK = {
    "id": "task-llm-1776874565-yq3szvcu",
    "object": "llm.generation.task",
    "type": "llm",
    "model": "claude-opus-4-7",
    "status": "pending",
    "progress": 0,
    "created": 1776874565,
    "stream": None,
    "results": None,
    "error": None,
}

scalars = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text()
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10
)


def test_the_task_of_the_seed_survives_a_round_trip() -> None:
    """The example of the seed is decoded and encoded with its ten members and no other."""
    task = task_decoder.decode(msgspec.json.encode(SEED_TASK))
    assert task.id == SEED_TASK["id"]
    assert dict(task.extra) == {}
    same = UnifiedTask(**{name: getattr(task, name) for name in SEED_TASK})
    assert msgspec.json.decode(msgspec.json.encode(same)) == SEED_TASK


@given(st.dictionaries(st.text(), values))
def test_unknown_members_are_kept(members: dict[str, object]) -> None:
    """An unknown member is in ``extra``, and no member is an error."""
    task = task_decoder.decode(msgspec.json.encode(members | {"id": "t", "status": "odd"}))
    assert (task.id, task.status) == ("t", "odd")
    known = set(task.__struct_fields__)
    for name, value in members.items():
        if name not in known:
            assert task.extra[name] == value
    assert pickle.loads(pickle.dumps(task)) == task


@given(st.binary())
def test_any_bytes_are_a_task_or_a_decode_error(data: bytes) -> None:
    """Bytes that are no task raise ``DecodeError`` and no other exception."""
    try:
        task = task_decoder.decode(data)
    except msgspec.DecodeError:
        return
    assert task.id


@pytest.mark.parametrize(
    "data", [b"[" * 100_000, b'{"a":' * 100_000, b'{"id":"\xff","status":"x"}', b'{"id":"t"}']
)
def test_hostile_bytes_are_a_decode_error(data: bytes) -> None:
    """Very deep nesting, invalid UTF-8 and a missing status raise ``DecodeError``."""
    with pytest.raises(msgspec.DecodeError):
        task_decoder.decode(data)


def test_a_member_of_the_wrong_type_is_in_extra() -> None:
    """A member other than ``id`` and ``status`` with a wrong type is moved to ``extra``."""
    task = task_decoder.decode(
        b'{"id":"t","status":"failed","progress":"half","usage":7,"created":"12"}'
    )
    assert (task.progress, task.usage, task.created) == (0, None, 12)
    assert task.extra == {"progress": "half", "usage": 7, "created": "12"}


@pytest.mark.parametrize(
    "results",
    ['["1, 2, 3"]', '"1, 2, 3"', '{"text":"1, 2, 3"}', '[{"choices":[{"text":"1, 2, 3"}]}]'],
)
def test_a_result_in_another_form_is_found(results: str) -> None:
    """A bare text, and a result that is not in a list, are results."""
    task = task_decoder.decode(f'{{"id":"t","status":"completed","results":{results}}}'.encode())
    assert task.results is not None
    assert decode_completion(task.results[0]).text == "1, 2, 3"
    assert task_decoder.decode(encode(task)) == task


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999"])
def test_numbers_that_are_not_json_become_null(number: str) -> None:
    """NaN and infinite numbers become null, and all other members are decoded."""
    choice = f'{{"message":{{"content":"x"}},"logprobs":{{"top":{number}}}}}'
    body = f'{{"id":"t","status":"completed","results":[{{"choices":[{choice}]}}]}}'
    results = task_decoder.decode(body.encode()).results
    assert results is not None
    completion = decode_completion(results[0])
    assert (completion.text, completion.choices[0].logprobs) == ("x", {"top": None})


def test_choices_without_an_index_are_numbered() -> None:
    """Choices without an index, or with a repeated one, are numbered in their order."""
    two = b'{"choices":[{"index":null,"message":{"content":"a"}},{"message":{"content":"b"}}]}'
    completion = decode_completion(Raw(two))
    assert [(one.index, one.message.content) for one in completion.choices] == [(0, "a"), (1, "b")]


def test_a_negative_index_is_no_index() -> None:
    """A choice with a negative index is the first one, stored or streamed."""
    stored = b'{"choices":[{"index":-1,"message":{"content":"a"}}]}'
    assert decode_completion(Raw(stored)).choices[0].index == 0
    chunks = [
        delta_decoder.decode(
            f'{{"choices":[{{"index":{n},"delta":{{"content":"{text}"}}}}]}}'.encode()
        )
        for n, text in ((0, "a"), (-1, "b"), (0, "c"))
    ]
    accumulator = Accumulator()
    accumulator.extend(chunks)
    assert accumulator.text == "".join(delta.text for delta in chunks) == "abc"
    assert chunks[1].choices[0].extra == {"index": -1}


def test_a_task_and_a_chunk_can_be_written_as_json() -> None:
    """All three ways to encode a struct keep the unknown members in their objects."""
    body = {**SEED_TASK, "results": [{"n": [1]}], "novel": {"a": None}}
    task = task_decoder.decode(msgspec.json.encode(body))
    assert task.to_dict() | {"usage": None, "task_info": None} == task.to_dict()
    assert {name: value for name, value in task.to_dict().items() if name in body} == body
    assert json.loads(task.to_json()) == task.to_dict()
    assert msgspec.json.decode(msgspec.json.encode(task))["extra"] == {"novel": {"a": None}}
    delta = delta_decoder.decode(b'{"choices":[{"delta":{"content":"a","odd":1}}]}')
    assert delta.to_dict()["choices"][0]["delta"] == {"content": "a", "odd": 1}
    half = replace(delta, id="\ud83d")
    assert json.loads(half.to_json()) == half.to_dict()


def test_extra_members_cannot_be_changed() -> None:
    """``extra`` is read-only, and can be copied and pickled."""
    extra = task_decoder.decode(b'{"id":"t","status":"x","novel":1}').extra
    assert pickle.loads(pickle.dumps(extra)) == copy.deepcopy(extra) == {"novel": 1}
    with pytest.raises(TypeError, match="read-only"):
        extra["novel"] = 2
    with pytest.raises(TypeError, match="read-only"):
        extra.update(novel=2)


@pytest.mark.parametrize(
    ("result", "text", "finish_reason"),
    [
        (
            b'{"choices":[{"message":{"content":"1, 2, 3"},"finish_reason":"stop"}]}',
            "1, 2, 3",
            "stop",
        ),
        (b'{"message":{"content":"1, 2, 3"},"finish_reason":"stop"}', "1, 2, 3", "stop"),
        (b'{"message":{"content":null}}', "", None),
        (b'{"text":"hello"}', "hello", None),
        (b'{"content":"hello","new":1}', "hello", None),
    ],
)
def test_every_known_form_of_a_result_is_decoded(
    result: bytes, text: str, finish_reason: str | None
) -> None:
    """A full completion and the short forms are decoded, and ``raw`` has their bytes."""
    completion = decode_completion(Raw(result))
    assert (completion.text, completion.finish_reason) == (text, finish_reason)
    assert (completion.source, completion.raw) == ("task", result)
    assert pickle.loads(pickle.dumps(completion)) == completion


@pytest.mark.parametrize(
    "result", [b"[]", b"1", b"{}", b"null", b'{"choices":7}', b'{"message":"hi"}']
)
def test_a_result_without_a_message_is_a_decode_error(result: bytes) -> None:
    """A result without a message raises ``DecodeError``."""
    with pytest.raises(msgspec.DecodeError):
        decode_completion(Raw(result))


def test_json_cannot_forge_the_origin_of_a_completion() -> None:
    """Members named ``source`` and ``raw`` do not change the origin."""
    completion = decode_completion(
        Raw(b'{"choices":[],"message":{"content":"x"},"source":"stream","raw":"y","(origin)":1}')
    )
    assert completion.source == "task"
    assert with_origin(completion, "stream", b"").source == "stream"


def test_the_properties_of_a_chunk_are_those_of_its_first_choice() -> None:
    """The properties are those of the first choice, and empty for a chunk without one."""
    delta = delta_decoder.decode(
        b'{"choices":[{"index":1,"delta":{"role":"assistant","content":"a","reasoning_content":"b",'
        b'"novel":[1]},"finish_reason":"stop"}],"obfuscation":"zz"}'
    )
    assert (delta.index, delta.role, delta.text, delta.reasoning) == (1, "assistant", "a", "b")
    assert delta.finish_reason == "stop"
    assert delta.extra == {"obfuscation": "zz"}
    assert delta.choices[0].delta is not None
    assert delta.choices[0].delta.extra == {"novel": [1]}
    for tail in (b'{"choices":[]}', b'{"choices":[{"index":0}]}', b"{}"):
        empty = delta_decoder.decode(tail)
        assert (empty.text, empty.reasoning, empty.tool_calls, empty.role) == ("", "", (), None)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ('["a", {"type": "text", "text": "b"}]', "ab"),
        ('{"type": "text", "text": "a"}', "a"),
        ('[{"type": "thinking", "thinking": "x"}, {"type": "text", "text": "a"}]', "a"),
        ('{"a": [1, null]}', '{"a":[1,null]}'),
        ("7", "7"),
        ('"\\ud83d"', "\ufffd"),
        ("null", ""),
    ],
)
def test_a_text_is_decoded_in_every_form(content: str, text: str) -> None:
    """Text parts are joined, and any other JSON value becomes its JSON text."""
    message = f'{{"role":null,"content":{content}}}'
    assert delta_decoder.decode(f'{{"choices":[{{"delta":{message}}}]}}'.encode()).text == text
    completion = decode_completion(Raw(f'{{"choices":[{{"message":{message}}}]}}'.encode()))
    assert (completion.text, completion.message.role) == (text, "assistant")
    assert completion.message.extra["role"] is None
    assert json.loads(completion.to_json())["choices"][0]["message"]["role"] == "assistant"


# No known member has one of these values.
odd: st.SearchStrategy[Any] = st.sampled_from([None, [], [7], True, {"?": [1]}, "odd"])
MEMBERS = {
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    "system_fingerprint": "f",
    "service_tier": "s",
}
KNOWN_NAMES = {*MEMBERS, "choices", "message", "content", "text"}
MESSAGE = {"role": "assistant", "refusal": "no", "reasoning_content": "hm"}
CALL = {"id": "call", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@given(st.data())
def test_no_odd_member_costs_a_paid_answer(data: st.DataObject) -> None:
    """For any values of optional members, at any depth, the completion has its text."""

    def corrupted(members: dict[str, Any]) -> dict[str, Any]:
        named = data.draw(st.sets(st.sampled_from(sorted(members))))
        return {**members, **{name: data.draw(odd) for name in named}, **data.draw(unknown)}

    unknown: st.SearchStrategy[dict[str, Any]]
    unknown = st.sampled_from([{}, {"novel": None}, {"novel": {"a": [1, None]}, "": "x"}])
    message = corrupted(MESSAGE | {"tool_calls": [corrupted(CALL), data.draw(odd)]})
    choice = corrupted({"index": 0, "finish_reason": "stop", "logprobs": None})
    body = corrupted(MEMBERS) | {"choices": [choice | {"message": message | {"content": "text"}}]}
    raw = json.dumps(body).encode()
    completion = decode_completion(Raw(raw))
    assert completion.text == "text"
    assert completion.raw == raw
    assert decode_completion(Raw(encode_completion(completion))) == completion
    assert pickle.loads(pickle.dumps(completion)) == completion
    again = json.loads(completion.to_json())
    assert again == completion.to_dict()
    assert again["choices"][0]["message"]["content"] == "text"
    assert msgspec.json.encode(completion)
    for name, value in body.items():
        if name not in KNOWN_NAMES:
            assert again[name] == value


@given(st.dictionaries(st.text().filter(lambda name: name not in {"model", "messages"}), values))
def test_a_request_keeps_unknown_members(extra: dict[str, object]) -> None:
    """Unknown members are in the body of the request, each in its object."""
    body = {"model": "m", "messages": [{"role": "user", "content": "x", "cache": {"(extra)": 1}}]}
    unknown = {f"x-{name}": value for name, value in extra.items()}
    request = request_decoder.convert(body | unknown)
    assert msgspec.json.decode(encode(request)) == body | unknown


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ('{"error":{"message":"m","type":"t","code":"c"}}', ("m", "t", "c", None, True)),
        ('{"error":{"message":"m","code":503}}', ("m", None, "503", None, True)),
        (
            '{"error":{"code":"service_unavailable"}}',
            (None, None, "service_unavailable", None, True),
        ),
        ('{"error":{"why":1}}', ('{"why":1}', None, None, None, True)),
        ('{"error":{"error":{"message":"m"},"code":"c"}}', ("m", None, "c", None, True)),
        ('{"message":"m"}', ("m", None, None, None, False)),
        ('{"error":"m"}', ("m", None, None, None, False)),
        ('{"error":"m","message":"n","code":7}', ("m; n", None, "7", None, False)),
        ('{"error":["m",{"message":"n","type":"t"}]}', ("m; n", "t", None, None, False)),
        ('{"error":500}', ("500", None, None, None, False)),
        ('{"detail":"m"}', ("m", None, None, None, False)),
        (
            '{"detail":[{"loc":["body","n"],"msg":"m","type":"t"}]}',
            ("body.n: m", "t", None, "body.n", False),
        ),
        ('["m"]', ("m", None, None, None, False)),
        ('"m"', ("m", None, None, None, False)),
    ],
)
def test_every_known_form_of_an_error_body_is_decoded(
    data: str, expected: tuple[object, ...]
) -> None:
    """The members of the envelope and of other frameworks' bodies are found (contract §8.1)."""
    body, enveloped = decode_error(data.encode())
    assert body is not None
    assert (body.message, body.type, body.code, body.param, enveloped) == expected


@pytest.mark.parametrize(
    "page", [b"", b"error code: 1010", b"<html>", b"[1]", b"\xff", b"[" * 10_000, b"{}", b"7"]
)
def test_a_page_of_a_proxy_is_no_error_body(page: bytes) -> None:
    """The page of a proxy is not an error of the service (contract Q6)."""
    assert decode_error(page) == (None, False)


@given(values)
def test_any_error_body_is_decoded(value: object) -> None:
    """Any JSON value in place of an error is decoded without an exception."""
    for data in (value, {"error": value}, {"detail": value}):
        decode_error(msgspec.json.encode(data))


@given(st.text())
def test_a_task_id_is_one_segment_of_a_path(text: str) -> None:
    """A valid task id stays in one segment of the path (contract §4.1)."""
    if is_task_id(text):
        assert task_path(text).count("/") == 3
        assert stream_path(text).count("/") == 5
        assert 0 < len(text) <= 256


@pytest.mark.parametrize("text", ["", ".", "..", "a/b", "a?b", "a b", "a\n", "é", "x" * 257])
def test_these_texts_are_no_task_ids(text: str) -> None:
    """Empty texts, dots alone, separators, white space and long texts are no task ids."""
    assert not is_task_id(text)
