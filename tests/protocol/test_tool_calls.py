"""Laws of tool calls that come in pieces."""

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
    """Return a stream with one piece a chunk."""
    choices = [{"index": 0, "delta": {"tool_calls": [one]}} for one in pieces]
    return [
        delta_decoder.decode(json.dumps({"id": "c", "choices": [one]}).encode()) for one in choices
    ]


def summed(stream: list[Delta]) -> ChatCompletion:
    """Return what deltas add up to."""
    accumulator = Accumulator()
    accumulator.extend(stream)
    return accumulator.completion()


def calls(completion: ChatCompletion) -> list[tuple[str, str, str]]:
    """Return id, name and arguments of each call."""
    return [
        (call.id, call.function.name, call.function.arguments)
        for call in completion.message.tool_calls or ()
    ]


def by_index(stream: list[Delta]) -> dict[int, str]:
    """Join arguments as a reader of the deltas does."""
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
    "an index that is null, and ids that are told once": [
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
    """However a service tells its calls apart, they are two, in the sum and in the deltas."""
    stream = stream_of(*pieces)
    assert calls(summed(stream)) == TWO
    delivered = list(Cursor().accept(stream))
    assert by_index(delivered) == {0: OSLO, 1: ROME}
    assert calls(summed(delivered)) == TWO


@pytest.mark.parametrize("count", range(1, 5))
def test_the_rest_of_two_calls_makes_them_whole(count: int) -> None:
    """What a stored answer has beyond the pieces that came goes on the calls that it belongs to."""
    came = stream_of(*STREAMS["new ids at one index, in pieces"])
    whole = summed(came)
    said = summed(came[:count])
    rest = missing_deltas(whole, said, "")
    assert rest is not None
    again = summed([*came[:count], Delta(id="c", choices=rest)])
    assert calls(again) == TWO


def test_arguments_that_were_written_otherwise_are_the_same() -> None:
    """A stored answer may write the JSON of a call's arguments in its own way."""
    said = summed(stream_of(piece("weather", OSLO, index=0, id="call_0")))
    stored = summed(stream_of(piece("weather", '{ "city": "Oslo" }', index=0, id="call_0")))
    assert missing_deltas(stored, said, "") == ()
    assert missing_deltas(summed(stream_of(piece("weather", ROME, index=0))), said, "") is None


def test_a_choice_that_is_not_stored_goes_on_nowhere() -> None:
    """Words of a further choice that the stored answer lacks are no part of it."""
    message = CompletionMessage(content="a")
    stored = ChatCompletion(choices=(Choice(message=message),))
    said = ChatCompletion(choices=(Choice(message=message), Choice(index=1, message=message)))
    assert missing_deltas(stored, said, "") is None


def test_a_cursor_alone_knows_one_text_and_nothing_else() -> None:
    """Where only the position is known, calls and further choices cannot be gone on with."""
    text = CompletionMessage(content="ab")
    assert missing_deltas(ChatCompletion(choices=(Choice(message=text),)), None, "b")
    both = ChatCompletion(choices=(Choice(message=text), Choice(index=1, message=text)))
    assert missing_deltas(both, None, "b") is None
    assert missing_deltas(summed(stream_of(*STREAMS["names in pieces"])), None, "") is None


@pytest.mark.parametrize("values", [([1], 2), (2, [1]), ([1], None), ({"a": 1}, [1]), ("x", 5)])
def test_logprobs_of_any_type_add_up(values: tuple[Any, Any]) -> None:
    """A list in one chunk and something else in the next is no error, and the list stays."""
    stream = [
        delta_decoder.decode(
            json.dumps(
                {"id": "c", "choices": [{"index": 0, "delta": {}, "logprobs": {"content": value}}]}
            ).encode()
        )
        for value in values
    ]
    logprobs = summed(stream).choices[0].logprobs
    assert logprobs is not None
    lists = [value for value in values if isinstance(value, list)]
    assert logprobs["content"] == (lists[0] if lists else values[-1])
