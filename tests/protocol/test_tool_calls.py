"""Laws of tool calls in pieces."""

import json
from typing import Any

import pytest

from foxapi_async._protocol.accumulator import Accumulator
from foxapi_async._protocol.completion_merge import missing_deltas
from foxapi_async._protocol.cursor import Cursor
from foxapi_async._wire.chunk import Delta, delta_decoder
from foxapi_async._wire.completion import ChatCompletion, Choice, CompletionMessage

OSLO, ROME = '{"city":"Oslo"}', '{"city":"Rome"}'


def piece(name: str | None = None, arguments: str | None = None, **members: Any) -> dict[str, Any]:
    """Return a piece of a call."""
    return {**members, "function": {"name": name, "arguments": arguments}}


def stream_of(*pieces: dict[str, Any]) -> list[Delta]:
    """Return one chunk for each piece."""
    choices = [{"index": 0, "delta": {"tool_calls": [one]}} for one in pieces]
    return [
        delta_decoder.decode(json.dumps({"id": "c", "choices": [one]}).encode()) for one in choices
    ]


def accumulated(stream: list[Delta]) -> ChatCompletion:
    """Return the accumulated completion."""
    accumulator = Accumulator()
    accumulator.extend(stream)
    return accumulator.completion()


def calls(completion: ChatCompletion) -> list[tuple[str, str, str]]:
    """Return the id, the name and the arguments of each call."""
    return [
        (call.id, call.function.name, call.function.arguments)
        for call in completion.message.tool_calls or ()
    ]


def by_index(stream: list[Delta]) -> dict[int, str]:
    """Join the arguments of the deltas by index."""
    joined: dict[int, str] = {}
    for delta in stream:
        for one in delta.tool_calls:
            text = (one.function.arguments or "") if one.function else ""
            joined[one.index] = joined.get(one.index, "") + text
    return joined


TWO = [("call_0", "weather", OSLO), ("call_1", "weather", ROME)]
STREAMS = {
    "new ids at one index": [
        piece("weather", OSLO, index=0, id="call_0"),
        piece("weather", ROME, index=0, id="call_1"),
    ],
    "new ids at one index, in pieces": [
        piece("weather", OSLO[:5], index=0, id="call_0"),
        piece(None, OSLO[5:], index=0),
        piece("weather", ROME[:5], index=0, id="call_1"),
        piece(None, ROME[5:], index=0),
    ],
    "ids without an index": [
        piece("weather", OSLO[:5], id="call_0"),
        piece("weather", ROME[:5], id="call_1"),
        piece(None, OSLO[5:], id="call_0"),
        piece(None, ROME[5:], id="call_1"),
    ],
    "an index that is null, and ids that are sent once": [
        piece("weather", OSLO[:5], index=None, id="call_0"),
        piece(None, OSLO[5:], index=None),
        piece("weather", ROME[:5], index=None, id="call_1"),
        piece(None, ROME[5:], index=None),
    ],
    "names in pieces": [
        piece("wea", None, index=0, id="call_0"),
        piece("ther", OSLO, index=0),
        piece("w", None, index=1, id="call_1"),
        piece("eather", ROME, index=1),
    ],
    "ids and names that are repeated": [
        piece("weather", OSLO[:5], index=0, id="call_0"),
        piece("weather", ROME[:5], index=1, id="call_1"),
        piece("weather", OSLO[5:], index=0, id="call_0"),
        piece("weather", ROME[5:], index=1, id="call_1"),
    ],
    "an id that comes late": [
        piece("weather", OSLO[:5], index=0),
        piece(None, OSLO[5:], index=0, id="call_0"),
        piece("weather", ROME, index=1, id="call_1"),
    ],
}


@pytest.mark.parametrize("pieces", STREAMS.values(), ids=STREAMS.keys())
def test_two_calls_stay_two(pieces: list[dict[str, Any]]) -> None:
    """Two calls are separated in every dialect, in the completion and in the deltas."""
    stream = stream_of(*pieces)
    assert calls(accumulated(stream)) == TWO
    delivered = list(Cursor().accept(stream))
    assert by_index(delivered) == {0: OSLO, 1: ROME}
    assert calls(accumulated(delivered)) == TWO


@pytest.mark.parametrize("count", range(1, 5))
def test_the_missing_deltas_complete_two_calls(count: int) -> None:
    """The missing deltas continue the calls of which only the first pieces were streamed."""
    stream = stream_of(*STREAMS["new ids at one index, in pieces"])
    whole = accumulated(stream)
    streamed = accumulated(stream[:count])
    rest = missing_deltas(whole, streamed, "")
    assert rest is not None
    again = accumulated([*stream[:count], Delta(id="c", choices=rest)])
    assert calls(again) == TWO


def test_arguments_are_compared_as_json() -> None:
    """Equal JSON arguments with other white space are the same arguments."""
    streamed = accumulated(stream_of(piece("weather", OSLO, index=0, id="call_0")))
    stored = accumulated(stream_of(piece("weather", '{ "city": "Oslo" }', index=0, id="call_0")))
    assert missing_deltas(stored, streamed, "") == ()
    assert (
        missing_deltas(accumulated(stream_of(piece("weather", ROME, index=0))), streamed, "")
        is None
    )


def test_a_streamed_choice_that_is_not_stored_cannot_continue() -> None:
    """If the stored result lacks a streamed choice, there are no missing deltas."""
    message = CompletionMessage(content="a")
    stored = ChatCompletion(choices=(Choice(message=message),))
    streamed = ChatCompletion(choices=(Choice(message=message), Choice(index=1, message=message)))
    assert missing_deltas(stored, streamed, "") is None


def test_a_digest_alone_can_continue_one_text_only() -> None:
    """Without the streamed completion, tool calls and other choices cannot be continued."""
    text = CompletionMessage(content="ab")
    assert missing_deltas(ChatCompletion(choices=(Choice(message=text),)), None, "b")
    both = ChatCompletion(choices=(Choice(message=text), Choice(index=1, message=text)))
    assert missing_deltas(both, None, "b") is None
    assert missing_deltas(accumulated(stream_of(*STREAMS["names in pieces"])), None, "") is None


@pytest.mark.parametrize("values", [([1], 2), (2, [1]), ([1], None), ({"a": 1}, [1]), ("x", 5)])
def test_logprobs_of_any_type_accumulate(values: tuple[Any, Any]) -> None:
    """Logprobs of different types are no error, and a list is kept."""
    stream = [
        delta_decoder.decode(
            json.dumps(
                {"id": "c", "choices": [{"index": 0, "delta": {}, "logprobs": {"content": value}}]}
            ).encode()
        )
        for value in values
    ]
    logprobs = accumulated(stream).choices[0].logprobs
    assert logprobs is not None
    lists = [value for value in values if isinstance(value, list)]
    assert logprobs["content"] == (lists[0] if lists else values[-1])
