"""What is kept of a chunk tells it from every other."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from foxapi_async._protocol.chunk_history import ChunkHistory, choices_of, content_of
from foxapi_async._wire.chunk import Delta, delta_decoder

words = st.sampled_from([None, "", "a", "b"])
messages = st.fixed_dictionaries(
    {},
    optional={
        "role": words,
        "content": words,
        "reasoning_content": words,
        "refusal": words,
        "tool_calls": st.sampled_from([None, [], [{"index": 0}]]),
        "mood": st.integers(0, 1),
    },
)
choices: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "index": st.integers(0, 1),
        "delta": st.none() | messages,
        "finish_reason": words,
        "logprobs": st.sampled_from([None, {}, {"content": []}]),
        "seat": st.integers(0, 1),
    },
)
chunks: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "id": st.sampled_from(["", "x"]),
        "model": st.sampled_from(["", "y"]),
        "choices": st.lists(choices, max_size=2),
        "usage": st.sampled_from([None, {}, {"total_tokens": 3}]),
        "system_fingerprint": words,
        "service_tier": words,
        "provider": st.integers(0, 1),
    },
)


def read(chunk: dict[str, Any]) -> Delta:
    """Build a delta as it comes from the wire."""
    return delta_decoder.decode(json.dumps(chunk).encode())


@given(chunks, chunks)
def test_two_chunks_say_the_same_only_if_their_choices_are_equal(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    """The short form is exact, and gives the choices back."""
    first, second = read(one), read(other)
    assert (content_of(first) == content_of(second)) == (first.choices == second.choices)
    assert choices_of(content_of(first)) == first.choices


@given(st.lists(chunks, max_size=8), st.integers(0, 8), st.integers(0, 8))
def test_a_part_has_the_notes_on_its_chunks(
    stream: list[dict[str, Any]], start: int, size: int
) -> None:
    """Whatever is noted of a chunk is told with it, and nothing is told twice."""
    transcript = ChunkHistory()
    transcript.extend([read(chunk) for chunk in stream])
    end = min(start + size, len(stream))
    start = min(start, end)
    parts = [transcript.slice(*ends) for ends in ((0, start), (start, end), (end, len(stream)))]
    assert [said for part in parts for said in part[0]] == transcript.contents
    assert [note for part in parts for note in part[1]] == [note for _, note in transcript.metadata]
    for said, notes in parts:
        assert len(notes) <= len(said)
    noted = {index for index, _ in transcript.metadata}
    for index, chunk in enumerate(map(read, stream)):
        if chunk.usage is not None or chunk.extra:
            assert index in noted
