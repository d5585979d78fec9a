"""Laws of decoding bytes to events and deltas, for any split of the bytes."""

import json
import tracemalloc
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import DecodeError

from foxapi_async._protocol.accumulator import Accumulator
from foxapi_async._protocol.chunk_decoder import ChunkDecoder
from foxapi_async._protocol.sse import EventDecoder, ServerEvent, decode_frame, encode_event
from foxapi_async._wire.chunk import Delta, StreamDone, StreamErrorEvent, delta_decoder
from foxapi_async.errors import InvalidResponseError

ROOMY = 1 << 24
NAMES = [b"chunk", b"done", b"error", b"message", b"ping", b""]
TEXTS = [
    "a",
    "你好",
    "x\n\ny",
    "\r\n",
    " data: z",
    "event: chunk\ndata: ",
    "\U0001f98a",
    '"',
    "\u2028\x85",
]


class Reading(NamedTuple):
    """The decoded content of a stream."""

    deltas: list[Delta]
    done: StreamDone | None = None
    error_event: StreamErrorEvent | None = None
    is_bad: bool = False


def lines_of(stream: bytes) -> Iterator[tuple[bytes, bool]]:
    """Yield each line and whether it has a line end, byte by byte."""
    line = bytearray()
    after_cr = False
    for byte in stream.removeprefix(b"\xef\xbb\xbf"):
        if byte == ord("\n") and after_cr:
            after_cr = False
            continue
        after_cr = byte == ord("\r")
        if byte in b"\r\n":
            yield bytes(line), True
            line.clear()
        else:
            line.append(byte)
    if line:
        yield bytes(line), False


def reference(stream: bytes, limit: int = ROOMY) -> tuple[list[ServerEvent], bool, bool]:
    """Return the events by the standard, whether one is over the limit, and one is pending."""
    events: list[ServerEvent] = []
    name, data, size = "", "", 0
    has_data = False
    for raw, is_ended in lines_of(stream):
        size += len(raw) + is_ended
        if size > limit or (size == limit and raw):
            return events, True, False
        if not is_ended:
            return events, False, True
        line = raw.decode("utf-8", "surrogateescape")
        if not line:
            if has_data:
                value = data[:-1].encode("utf-8", "surrogateescape")
                events.append(ServerEvent(name or "message", value))
            name, data, has_data, size = "", "", False, 0
            continue
        field, colon, value_text = line.partition(":")
        if colon and value_text.startswith(" "):
            value_text = value_text[1:]
        if field == "data":
            data += value_text + "\n"
            has_data = True
        elif field == "event":
            name = value_text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return events, False, size > 0


def reference_reading(stream: bytes, limit: int = ROOMY) -> Reading:
    """Decode the chunks from the events of ``reference``."""
    events, is_over, _ = reference(stream, limit)
    found: list[Delta] = []
    for event in events:
        data = event.data.strip()
        if event.name == "done":
            total = members_of(data).get("total_chunks")
            return Reading(found, done=StreamDone(total_chunks=total))
        if event.name == "error":
            return Reading(found, error_event=StreamErrorEvent(message=message_of(data)))
        if event.name not in {"chunk", "message"} or data in {b"", b"null"}:
            continue
        if data == b"[DONE]":
            return Reading(found, done=StreamDone())
        try:
            delta = delta_decoder.decode(data)
        except DecodeError:
            return Reading(found, is_bad=True)
        if "error" in delta.extra:
            return Reading(found, error_event=StreamErrorEvent(message=message_of(data)))
        found.append(delta)
    return Reading(found, is_bad=is_over)


def members_of(data: bytes) -> dict[str, Any]:
    """Return the members of a JSON object; empty for any other value."""
    try:
        value = json.loads(data)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def message_of(data: bytes) -> str:
    """Return the message in the data of an error, or the data."""
    members = members_of(data)
    inner = members.get("error", members)
    message = inner.get("message") if isinstance(inner, dict) else inner
    return message or data[:400].decode("utf-8", "replace")


def read(pieces: Iterable[bytes], limit: int = ROOMY) -> Reading:
    """Decode the pieces with ``ChunkDecoder``."""
    decoder = ChunkDecoder(limit)
    found: list[Delta] = []
    for piece in pieces:
        assert not (decoder.ended and decoder.feed(piece))
        found.extend(decoder.feed(piece))
    assert decoder.ended == any((decoder.done, decoder.error_event, decoder.error))
    done = decoder.done and StreamDone(total_chunks=decoder.done.total_chunks)
    error_event = decoder.error_event and StreamErrorEvent(
        message=decoder.error_event.message.strip()
    )
    return Reading(found, done, error_event, decoder.error is not None)


def read_events(pieces: Iterable[bytes], limit: int = ROOMY) -> tuple[list[ServerEvent], bool]:
    """Return the events of the pieces, and whether a frame is over the limit."""
    decoder = EventDecoder(limit)
    events = [event for piece in pieces for event in events_in(decoder, piece)]
    return events, decoder.error is not None


def events_in(decoder: EventDecoder, data: bytes) -> list[ServerEvent]:
    """Return the events that end in ``data``."""
    frames = decoder.split_block(decoder.extract_block(data))
    return [event for event in map(decode_frame, frames) if event is not None]


def split(stream: bytes, cuts: Iterable[int]) -> list[bytes]:
    """Split a stream at the given positions."""
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    return [stream[start:end] for start, end in pairwise(places)]


def chunk_json(text: str, *, is_ascii: bool, **members: object) -> bytes:
    """Encode one chunk."""
    value = {"id": "x", "choices": [{"index": 0, "delta": {"content": text}}], **members}
    return json.dumps(value, ensure_ascii=is_ascii).encode()


@st.composite
def frames(draw: st.DrawFn) -> list[bytes]:
    """Draw the lines of one frame of any dialect, mostly of the usual one."""
    data = chunk_json(draw(st.sampled_from(TEXTS)), is_ascii=draw(st.booleans()))
    usual = [b"event: chunk", b"data: " + data, b""]
    middle = data.index(b":") + 1
    return draw(
        st.one_of(
            st.just(usual),
            st.just(usual),
            st.just([b"data: " + data, b""]),
            st.sampled_from(
                [
                    [b"data:" + data, b""],
                    [b"event:chunk", b"data:" + data, b""],
                    [b"event: message", b"data: " + data, b""],
                    [b"data: " + data, b"event: chunk", b""],
                    [b"id: 7", *usual],
                    [b"id: 7", b"data: " + data, b""],
                    [b"event: chunk", b"id: 8", b"data: " + data, b""],
                    [b": ping", *usual],
                    [b": data: no", *usual],
                    [b"data: " + data[:middle], *usual],
                    [b"retry: 10", *usual],
                    [b": ping"],
                    [b": ping", b""],
                    [b"", b"", b""],
                    [b"data", b""],
                    [b"data:", b""],
                    [b"data: ", b""],
                    [b"event: ping", b"data: {}", b""],
                    [b"data: null", b""],
                    [b"event: chunk", b"data: null", b""],
                    [b"event: chunk", b"data: ", b""],
                    [b"event: chunk", b""],
                    [b"unknown: field", b"nothing", b""],
                    [b"event: chunk", b"data: " + data[:middle], b"data: " + data[middle:], b""],
                    [b"data: " + data[:-1] + b',"new":[1]}', b""],
                    [b"event: chunk", b"data: " + data[:-1] + b',"new":{"a":null}}', b""],
                ]
            ),
        )
    )


def ends() -> st.SearchStrategy[list[bytes]]:
    """Draw a frame that ends a stream, with success or an error."""
    return st.sampled_from(
        [
            [b"event: done", b'data: {"total_chunks":3}', b""],
            [b"event: done", b"data:", b""],
            [b"event: done", b"data: ok", b""],
            [b"data: [DONE]", b""],
            [b"data:[DONE]", b""],
            [b"event: error", b'data: {"message":"no"}', b""],
            [b"event: error", b"data: plain", b""],
            [b'data: {"error":{"message":"overloaded","code":503}}', b""],
            [b'data: {"error":"overloaded"}', b""],
            [b"event: chunk", b"data: {broken", b""],
            [b"event: chunk", b"data: [1]", b""],
            [b"data: <html>", b""],
            [b"event: chunk", b'data: {"id":"\xff"}', b""],
            [b'data: {"id":1}', b""],
            [b"data: " + b"[" * 5000, b""],
        ]
    )


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Draw a stream with any line ends: frames, and perhaps an end and frames after it."""
    parts = draw(st.lists(frames(), max_size=8))
    if draw(st.booleans()):
        parts += [draw(ends()), *draw(st.lists(frames(), max_size=2))]
    lines = [line for part in parts for line in part]
    newline = draw(st.sampled_from([b"\n", b"\n", b"\r\n", b"\r", None]))
    if newline is None:
        kinds = st.sampled_from([b"\n", b"\r\n", b"\r"])
        newlines = draw(st.lists(kinds, min_size=len(lines), max_size=len(lines)))
    else:
        newlines = [newline] * len(lines)
    stream = b"".join(line + end for line, end in zip(lines, newlines, strict=True))
    bom = draw(st.sampled_from([b"", b"", b"", b"\xef\xbb\xbf", b"\xef\xbb", b"\xef\xbb\xbf" * 2]))
    return (bom + stream)[: draw(st.sampled_from([None, None, -1, -2, -9]))]


def cuts() -> st.SearchStrategy[list[int]]:
    """Draw positions to split a stream at."""
    return st.lists(st.integers(0, 2000), max_size=12)


def at_frames(stream: bytes) -> list[bytes]:
    """Split a stream after every frame."""
    pieces = stream.replace(b"\n\n", b"\n\n\0").split(b"\0")
    return [piece for piece in pieces if piece]


@given(stream=streams(), places=cuts())
def test_any_split_gives_the_events_of_the_standard(stream: bytes, places: list[int]) -> None:
    """For any split, the events are those of the standard."""
    events, _, is_pending = reference(stream)
    single = [stream[at : at + 1] for at in range(len(stream))]
    for pieces in ([stream], split(stream, places), single, at_frames(stream)):
        assert read_events(pieces) == (events, False)
    decoder = EventDecoder(ROOMY)
    events_in(decoder, stream)
    assert not (decoder.at_boundary and is_pending)


@given(text=st.binary(max_size=60), places=cuts())
def test_garbage_gives_the_events_of_the_standard(text: bytes, places: list[int]) -> None:
    """Any bytes give the events of the standard."""
    stream = b"data: " + text + b"\n\n" + text
    assert read_events(split(stream, places))[0] == reference(stream)[0]


@given(stream=streams(), places=cuts())
def test_the_fast_paths_equal_the_reference(stream: bytes, places: list[int]) -> None:
    """For any split, the deltas and the end are those of the reference."""
    expected = reference_reading(stream)
    single = [stream[at : at + 1] for at in range(len(stream))]
    for pieces in ([stream], split(stream, places), single, at_frames(stream)):
        assert read(pieces) == expected


@given(stream=streams(), places=cuts(), limit=st.integers(4, 200))
def test_the_limit_does_not_depend_on_the_cuts(
    stream: bytes, places: list[int], limit: int
) -> None:
    """For any split, exactly the events before a frame over the limit are delivered."""
    events, is_over, _ = reference(stream, limit)
    expected = reference_reading(stream, limit)
    single = [stream[at : at + 1] for at in range(len(stream))]
    for pieces in ([stream], split(stream, places), single, at_frames(stream)):
        assert read_events(pieces, limit) == (events, is_over)
        assert read(pieces, limit) == expected


@given(
    name=st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), min_size=1),
    data=st.text(st.characters(exclude_characters="\r", exclude_categories=["Cs"])),
    places=cuts(),
)
def test_an_encoded_event_is_decoded(name: str, data: str, places: list[int]) -> None:
    """Decoding an encoded event gives the same event."""
    frame = encode_event(name, data.encode())
    expected = ServerEvent(name, data.encode())
    assert read_events(split(frame * 2, places))[0] == [expected] * 2


def test_an_encoded_event_cannot_leave_its_frame() -> None:
    """Each line end in the data starts another ``data`` line."""
    frame = encode_event("chunk", b"a\n\nevent: done\r\ndata: b\rc")
    assert frame == b"event: chunk\ndata: a\ndata: \ndata: event: done\ndata: data: b\ndata: c\n\n"


def test_other_fields_change_no_event() -> None:
    """``id``, ``retry`` and unknown fields change no event, whatever their values."""
    stream = b"id: 1\nretry: 250\ndata: a\n\nid: 2\0\nretry: x\ndata: b\n\n"
    stream += b"id\nretry: " + b"9" * 5000 + b"\ndata:  c\n\nData: d\n\n"
    events = [ServerEvent("message", data) for data in (b"a", b"b", b" c")]
    assert read_events([stream]) == (events, False)


def test_unicode_line_separators_are_text() -> None:
    """U+2028 and U+0085 do not end a line of an event stream."""
    data = chunk_json("a\u2028b\u2029c\x85d", is_ascii=False)
    (delta,) = ChunkDecoder(ROOMY).feed(encode_event("chunk", data))
    assert delta.text == "a\u2028b\u2029c\x85d"


def test_the_deltas_before_an_invalid_frame_are_returned() -> None:
    """The deltas before it are returned, and the error has an excerpt of the frame."""
    good = encode_event("chunk", chunk_json("a", is_ascii=True))
    decoder = ChunkDecoder(ROOMY)
    found = decoder.feed(good * 2 + encode_event("chunk", b"<html>" + b"x" * 1000) + good)
    assert [delta.text for delta in found] == ["a", "a"]
    assert isinstance(decoder.error, InvalidResponseError)
    assert decoder.error.body == "<html>" + "x" * 394
    assert decoder.ended
    assert not decoder.feed(good)


def test_unknown_members_are_kept() -> None:
    """Every chunk has its unknown members in ``extra``."""
    new = chunk_json("a", is_ascii=True, provider="x")
    old = chunk_json("b", is_ascii=True)
    decoder = ChunkDecoder(ROOMY)
    found: list[Delta] = []
    for number in range(3000):
        found += decoder.feed(encode_event("chunk", new if number % 50 == 0 else old))
    assert [delta.extra.get("provider") for delta in found] == (["x"] + [None] * 49) * 60


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_a_frame_over_the_limit_is_an_error(newline: bytes) -> None:
    """A frame without an end is an error at the limit, which bounds the memory."""
    decoder = ChunkDecoder(1 << 20)
    piece = b"x" * 1022 + newline
    tracemalloc.start()
    for _ in range(4096):
        decoder.feed(piece)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(decoder.error, InvalidResponseError)
    assert "limits.max_event_bytes = 1048576" in str(decoder.error)
    assert peak < 1.5 * (1 << 20)


def test_blank_events_are_no_chunks() -> None:
    """Events with null or empty data are counted, and require a full replay."""
    decoder = ChunkDecoder(ROOMY)
    good = encode_event("chunk", chunk_json("a", is_ascii=True))
    assert not decoder.feed(b": ping\n\nevent: ping\ndata: null\n\n")
    assert (decoder.blank_events, decoder.needs_full_replay) == (0, False)
    found = decoder.feed(good + b"event: chunk\ndata: null\n\ndata:\n\n" + good)
    assert [delta.text for delta in found] == ["a", "a"]
    assert (decoder.blank_events, decoder.needs_full_replay, decoder.ended) == (2, True, False)


@given(
    text=st.text(st.sampled_from("a\U0001f98a\U0001f600你"), min_size=1),
    cuts=st.lists(st.integers(0, 60)),
    member=st.sampled_from(["content", "reasoning_content", "refusal", "arguments"]),
    is_one_read=st.booleans(),
)
def test_a_split_surrogate_pair_is_joined(
    text: str, cuts: list[int], member: str, *, is_one_read: bool
) -> None:
    """A text that is split between UTF-16 units is whole in the completion."""
    units = text.encode("utf-16-le")
    places = sorted({0, len(units), *(cut * 2 % len(units) for cut in cuts)})
    stream: list[bytes] = []
    for start, end in pairwise(places):
        piece = units[start:end].decode("utf-16-le", "surrogatepass")
        message: dict[str, Any] = {member: piece}
        if member == "arguments":
            message = {"tool_calls": [{"index": 0, "function": message}]}
        data = json.dumps({"id": "x", "choices": [{"index": 0, "delta": message}]}).encode()
        stream.append(encode_event("chunk", data))
    decoder = ChunkDecoder(ROOMY)
    found: list[Delta] = []
    for piece_of_stream in [b"".join(stream)] if is_one_read else stream:
        found += decoder.feed(piece_of_stream)
    accumulator = Accumulator()
    accumulator.extend(found)
    whole = accumulator.completion().message
    if member == "arguments":
        assert whole.tool_calls
        assert whole.tool_calls[0].function.arguments == text
    else:
        assert getattr(whole, member) == text
    assert len(found) == len(stream)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["a\\ud83d", "b"], ["a", "\ufffdb"]),
        (["\\ude00a"], ["\ufffda"]),
        (["a\\ud83d"], ["a"]),
        (["\\ud83d", "\\ud83d", "\\ude00"], ["", "\ufffd", "\U0001f600"]),
        (["\\\\ud83d", "\\\\ude00"], ["\\ud83d", "\\ude00"]),
    ],
)
def test_a_lone_surrogate_is_replaced(texts: list[str], expected: list[str]) -> None:
    """A lone surrogate becomes U+FFFD and is no error."""
    decoder = ChunkDecoder(ROOMY)
    found: list[Delta] = []
    for text in texts:
        data = b'{"choices":[{"index":0,"delta":{"content":"%b"}}]}' % text.encode()
        found += decoder.feed(encode_event("chunk", data))
    assert [delta.text for delta in found] == expected
    assert not decoder.ended


def test_the_end_of_both_dialects_is_recognised() -> None:
    """FoxAPI's ``done`` has the total, ``[DONE]`` has none, and both end the stream."""
    data = chunk_json("a", is_ascii=True)
    for stream, done in (
        (
            encode_event("chunk", data) + b'event: done\ndata: {"total_chunks":1}\n\n',
            StreamDone(total_chunks=1),
        ),
        (b"data: " + data + b"\n\ndata: [DONE]\n\n", StreamDone()),
    ):
        reading = read([stream + encode_event("chunk", data)])
        assert (len(reading.deltas), reading.done) == (1, done)


def dialects() -> Sequence[bytes]:
    """Return one frame in each dialect."""
    data = chunk_json("a", is_ascii=True)
    return [
        encode_event("chunk", data),
        b"data: " + data + b"\n\n",
        b"data:" + data + b"\n\n",
        b"event:chunk\ndata:" + data + b"\n\n",
        b"event: chunk\r\ndata: " + data + b"\r\n\r\n",
        b"id: 1\ndata: " + data + b"\n\n",
    ]


@pytest.mark.parametrize("frame", dialects())
@settings(max_examples=20)
@given(sizes=st.lists(st.integers(1, 5), max_size=6))
def test_a_read_may_have_any_number_of_equal_frames(frame: bytes, sizes: list[int]) -> None:
    """One or several frames in a read are decoded, in every dialect."""
    reading = read([frame * size for size in sizes])
    assert [delta.text for delta in reading.deltas] == ["a"] * sum(sizes)
