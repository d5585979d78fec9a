"""What deltas add up to does not depend on how they were cut."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foxapi_async._protocol.accumulate import Accumulator, complete, missing_suffix
from foxapi_async._wire.chunk import Delta, deltas
from foxapi_async._wire.completion import (
    ChatCompletion,
    Choice,
    CompletionMessage,
    Source,
    read_completion,
)
from foxapi_async._wire.shape import encode
from msgspec import Raw

pieces = st.one_of(st.none(), st.text("ab你", max_size=3))
calls = st.fixed_dictionaries(
    {"index": st.integers(0, 2)},
    optional={
        "id": st.sampled_from(["call-1", "call-2"]),
        "type": st.just("function"),
        "function": st.fixed_dictionaries(
            {}, optional={"name": st.sampled_from(["f", "g"]), "arguments": pieces}
        ),
        "signature": st.integers(0, 3),
    },
)
messages = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from(["assistant", None]),
        "content": pieces,
        "reasoning_content": pieces,
        "refusal": pieces,
        "tool_calls": st.one_of(st.none(), st.lists(calls, max_size=3)),
        "mood": st.integers(0, 3),
    },
)
choices = st.fixed_dictionaries(
    {"index": st.integers(0, 2)},
    optional={
        "delta": st.one_of(st.none(), messages),
        "finish_reason": st.sampled_from([None, "stop", "length"]),
        "logprobs": st.one_of(
            st.none(), st.fixed_dictionaries({"content": st.lists(st.integers(0, 9), max_size=2)})
        ),
        "seat": st.integers(0, 3),
    },
)
chunks = st.fixed_dictionaries(
    {"id": st.sampled_from(["", "c1"]), "choices": st.lists(choices, max_size=3)},
    optional={
        "created": st.just(7),
        "model": st.sampled_from(["", "kimi-k2.6"]),
        "usage": st.one_of(st.none(), st.fixed_dictionaries({"total_tokens": st.integers(0, 9)})),
        "system_fingerprint": st.sampled_from([None, "fp"]),
        "service_tier": st.sampled_from([None, "default"]),
        "provider": st.integers(0, 3),
    },
)


def fold(stream: list[dict[str, Any]]) -> dict[str, Any]:
    """Add up chunks naively, member by member, as JSON."""
    head = next((item for item in stream if item["id"] or item.get("model")), {})
    whole: dict[str, Any] = {
        "id": head.get("id", ""),
        "object": "chat.completion",
        "created": head.get("created", 0),
        "model": head.get("model", ""),
    }
    found: dict[int, dict[str, Any]] = {}
    for item in stream:
        for name in ("usage", "system_fingerprint", "service_tier", "provider"):
            if item.get(name) is not None:
                whole[name] = item[name]
        for piece in item["choices"]:
            choice = found.setdefault(piece["index"], {"message": {"tool_calls": {}}})
            fold_choice(choice, piece)
    whole["choices"] = [{"index": index, **found[index]} for index in sorted(found)]
    for choice in whole["choices"]:
        by_index = choice["message"].pop("tool_calls")
        if by_index:
            choice["message"]["tool_calls"] = [by_index[index] for index in sorted(by_index)]
    return whole


def fold_choice(choice: dict[str, Any], piece: dict[str, Any]) -> None:
    """Add one piece of a choice."""
    for name in ("finish_reason", "seat"):
        if piece.get(name) is not None:
            choice[name] = piece[name]
    if piece.get("logprobs"):
        tokens = choice.setdefault("logprobs", {"content": []})["content"]
        tokens.extend(piece["logprobs"]["content"])
    message, delta = choice["message"], piece.get("delta") or {}
    for name in ("content", "reasoning_content", "refusal"):
        if delta.get(name):
            message[name] = message.get(name, "") + delta[name]
    for name in ("role", "mood"):
        if delta.get(name) is not None:
            message[name] = delta[name]
    for part in delta.get("tool_calls") or []:
        call = message["tool_calls"].setdefault(
            part["index"], {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
        )
        call.update({name: part[name] for name in ("id", "type", "signature") if name in part})
        function = part.get("function") or {}
        call["function"]["name"] = function.get("name") or call["function"]["name"]
        call["function"]["arguments"] += function.get("arguments") or ""


def read(stream: list[dict[str, Any]]) -> list[Delta]:
    """Build deltas as they come from the wire."""
    return [deltas.read(json.dumps(item).encode()) for item in stream]


@given(st.lists(chunks, max_size=12), st.lists(st.integers(0, 12), max_size=3))
def test_deltas_add_up_as_a_naive_fold(stream: list[dict[str, Any]], cuts: list[int]) -> None:
    """Texts, tool calls, finish reasons, usage and unknown members are those of the naive fold."""
    accumulator = Accumulator()
    found = read(stream)
    places = sorted({0, *cuts, len(found)})
    for start, end in zip(places, places[1:], strict=False):
        accumulator.extend(found[start:end])
        accumulator.completion()
    completion = accumulator.completion()
    expected = read_completion(Raw(json.dumps(fold(stream) | {"choices": []}).encode() if False else b'{"text":""}'))
    assert expected
    whole = json.loads(encode(completion))
    assert _bare(whole) == _bare(fold(stream))
    assert (completion.source, completion.raw) == ("stream", b"")
    assert accumulator.chunks == len(stream)
    assert accumulator.text == completion.text
    assert accumulator.reasoning == completion.reasoning
