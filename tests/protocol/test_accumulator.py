"""Laws of accumulating deltas, and of merging them with the stored result."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from foxapi_async._protocol.accumulator import Accumulator
from foxapi_async._protocol.completion_merge import (
    lacks_streamed_member,
    merge_completions,
    missing_suffix,
)
from foxapi_async._wire.base import Decoder
from foxapi_async._wire.chunk import Delta, delta_decoder
from foxapi_async._wire.completion import (
    ChatCompletion,
    Source,
    decode_completion,
    with_origin,
)

pieces = st.one_of(st.none(), st.text("ab你", max_size=3))
calls = st.integers(0, 2).flatmap(
    lambda index: st.fixed_dictionaries(
        {"index": st.just(index)},
        optional={
            "id": st.just(f"call-{index}"),
            "type": st.just("function"),
            "function": st.fixed_dictionaries(
                {}, optional={"name": st.sampled_from(["f", "g"]), "arguments": pieces}
            ),
            "signature": st.integers(0, 3),
        },
    )
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
    """Accumulate chunks naively, member by member, as JSON."""
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
    """Add the choice of one chunk."""
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
        if function.get("name") not in {None, call["function"]["name"]}:
            call["function"]["name"] += function["name"]
        call["function"]["arguments"] += function.get("arguments") or ""


def read(stream: list[dict[str, Any]]) -> list[Delta]:
    """Decode deltas from JSON."""
    return [delta_decoder.decode(json.dumps(item).encode()) for item in stream]


@given(st.lists(chunks, max_size=12), st.lists(st.integers(0, 12), max_size=3))
def test_deltas_accumulate_as_in_the_naive_fold(
    stream: list[dict[str, Any]], cuts: list[int]
) -> None:
    """All members equal those of the naive fold, for any batches of deltas."""
    accumulator = Accumulator()
    found = read(stream)
    places = sorted({0, *(min(cut, len(found)) for cut in cuts), len(found)})
    for start, end in pairwise(places):
        accumulator.extend(found[start:end])
        accumulator.completion()
    completion = accumulator.completion()
    expected = Decoder(ChatCompletion).decode(json.dumps(fold(stream)).encode())
    assert completion == with_origin(expected, "stream", b"")
    assert accumulator.chunks == len(stream)
    assert accumulator.text == completion.text
    assert accumulator.reasoning == completion.reasoning


@given(st.text('{}"a你', min_size=1), st.lists(st.integers(0, 40)))
def test_tool_calls_merge_wherever_they_are_split(arguments: str, cuts: list[int]) -> None:
    """The arguments of two interleaved calls are joined, each with its own parts."""
    accumulator = Accumulator()
    places = sorted({0, len(arguments), *(cut % len(arguments) for cut in cuts)})
    for start, end in pairwise(places):
        for index in (1, 0):
            call: dict[str, Any] = {
                "index": index,
                "function": {"arguments": f"{arguments[start:end]}{index}"},
            }
            if start == 0:
                call |= {"id": f"call-{index}", "type": "function"}
                call["function"]["name"] = "search"
            message = {"tool_calls": [call]}
            accumulator.extend(read([{"id": "c", "choices": [{"index": 0, "delta": message}]}]))
    tool_calls = accumulator.completion().message.tool_calls or ()
    assert [(whole.id, whole.function.name) for whole in tool_calls] == [
        ("call-0", "search"),
        ("call-1", "search"),
    ]
    for index, whole in enumerate(tool_calls):
        parts = (f"{arguments[start:end]}{index}" for start, end in pairwise(places))
        assert whole.function.arguments == "".join(parts)


def test_a_snapshot_is_independent() -> None:
    """Later deltas do not change an earlier completion, nor the other way round."""
    accumulator = Accumulator()
    (delta,) = read(
        [
            {
                "id": "c",
                "choices": [
                    {"index": 0, "delta": {"content": "a"}, "logprobs": {"content": [1], "n": 2}}
                ],
            }
        ]
    )
    accumulator.extend([delta])
    first = accumulator.completion()
    accumulator.extend([delta])
    assert (first.text, accumulator.text) == ("a", "aa")
    assert first.choices[0].logprobs == {"content": [1], "n": 2}
    assert accumulator.completion().choices[0].logprobs == {"content": [1, 1], "n": 2}


def test_without_a_delta_the_completion_is_empty() -> None:
    """An accumulator without a delta gives a completion without choices."""
    completion = Accumulator().completion()
    assert (completion.text, completion.choices, completion.source) == ("", (), "stream")


def stored(message: dict[str, Any], **members: Any) -> ChatCompletion:
    """Decode a stored result of one choice."""
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    whole = {"id": "stored", "choices": [choice], "usage": {"total_tokens": 9}} | members
    return decode_completion(Raw(json.dumps(whole).encode()))


def accumulated(message: dict[str, Any], **members: Any) -> ChatCompletion:
    """Accumulate a stream of one chunk."""
    accumulator = Accumulator()
    choice = {"index": 0, "delta": message, "finish_reason": "length"}
    accumulator.extend(read([{"id": "streamed", "choices": [choice]} | members]))
    return accumulator.completion()


@pytest.mark.parametrize(
    ("stored_message", "streamed_message", "text", "reasoning", "source"),
    [
        ({"content": "a"}, {"content": "a"}, "a", "", "task"),
        ({"content": "a"}, {"content": "b"}, "a", "", "task"),
        ({"content": "a"}, {"content": "a", "reasoning_content": "r"}, "a", "r", "task+stream"),
        ({"content": "a"}, {"reasoning_content": "r"}, "a", "r", "task+stream"),
        ({"content": ""}, {"content": "b", "reasoning_content": "r"}, "b", "r", "stream"),
        ({"content": None}, {"content": "b"}, "b", "", "stream"),
        ({"content": None}, {}, "", "", "task"),
        ({"content": "a", "reasoning_content": "s"}, {"reasoning_content": "r"}, "a", "s", "task"),
    ],
)
def test_the_stored_content_wins_unless_it_is_empty(
    stored_message: dict[str, Any],
    streamed_message: dict[str, Any],
    text: str,
    reasoning: str,
    source: Source,
) -> None:
    """Members that the stored result lacks come from the stream, and ``source`` says so."""
    task = stored(stored_message)
    completion = merge_completions(task, accumulated(streamed_message))
    assert (completion.text, completion.reasoning) == (text, reasoning)
    assert completion.source == source
    assert completion.raw == task.raw
    assert (completion.id, completion.finish_reason) == ("stored", "stop")
    assert completion.usage == task.usage


@pytest.mark.parametrize(
    ("stored_message", "streamed_message", "is_lacking"),
    [
        ({"content": "a"}, {"content": "b"}, False),
        ({"content": ""}, {"content": "b"}, True),
        ({"content": None}, {"content": "b"}, True),
        ({"content": ""}, {"content": " \n"}, False),
        ({"content": ""}, {"reasoning_content": "r"}, False),
        ({"content": "a"}, {"refusal": "no"}, True),
        ({"content": "a"}, {"content": "a", "tool_calls": [{"index": 0, "id": "x"}]}, True),
        ({}, {}, False),
    ],
)
def test_a_stored_result_may_lack_a_streamed_member(
    stored_message: dict[str, Any], streamed_message: dict[str, Any], *, is_lacking: bool
) -> None:
    """A text, refusal or tool call is lacking if the stream has one and the result has none."""
    assert (
        lacks_streamed_member(stored(stored_message), accumulated(streamed_message)) is is_lacking
    )


def test_without_a_stream_the_stored_result_is_returned() -> None:
    """Without a streamed completion the stored one is returned as the same object."""
    task = stored({"content": "a"})
    assert merge_completions(task, None) is task


def test_every_choice_is_merged() -> None:
    """Choices are merged by index; a choice that only the stream has is added."""
    streamed = accumulated(
        {"reasoning_content": "r0"},
        choices=[
            {"index": index, "delta": {"content": f"t{index}", "reasoning_content": f"r{index}"}}
            for index in (2, 0)
        ],
    )
    task = stored(
        {},
        choices=[{"index": index, "message": {"content": f"s{index}"}} for index in (1, 0)],
    )
    completion = merge_completions(task, streamed)
    contents = [
        (choice.index, choice.message.content, choice.message.reasoning_content)
        for choice in completion.choices
    ]
    assert contents == [(0, "s0", "r0"), (1, "s1", None), (2, "t2", "r2")]
    assert completion.source == "task+stream"


def test_members_that_only_the_stream_has_are_taken() -> None:
    """Tool calls, finish reason and usage that the task lacks come from the stream."""
    call = {"index": 0, "id": "1", "function": {"name": "f", "arguments": "{}"}}
    streamed = accumulated({"tool_calls": [call]}, usage={"total_tokens": 3})
    task = stored({}, usage=None, choices=[{"index": 0, "message": {"content": ""}}])
    completion = merge_completions(task, streamed)
    assert completion.message.tool_calls == streamed.message.tool_calls
    assert (completion.finish_reason, completion.usage) == ("length", streamed.usage)
    assert completion.source == "stream"


@given(st.text("ab"), st.text("ab"))
def test_a_suffix_is_missing_only_after_a_prefix(delivered: str, text: str) -> None:
    """The delivered text and the suffix are the stored text; otherwise there is no suffix."""
    suffix = missing_suffix(delivered, text)
    assert (suffix is not None) == text.startswith(delivered)
    assert suffix is None or delivered + suffix == text
