"""Laws of the history of chunks."""

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
    """Decode a chunk."""
    return delta_decoder.decode(json.dumps(chunk).encode())


@given(chunks, chunks)
def test_contents_are_equal_exactly_if_the_choices_are(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    """The content of a chunk is exact, and gives its choices back."""
    first, second = read(one), read(other)
    assert (content_of(first) == content_of(second)) == (first.choices == second.choices)
    assert choices_of(content_of(first)) == first.choices


@given(st.lists(chunks, max_size=8), st.integers(0, 8), st.integers(0, 8))
def test_a_slice_has_the_metadata_of_its_chunks(
    stream: list[dict[str, Any]], start: int, size: int
) -> None:
    """The metadata of a chunk is in the slice of the chunk, and in no other slice."""
    history = ChunkHistory()
    history.extend([read(chunk) for chunk in stream])
    end = min(start + size, len(stream))
    start = min(start, end)
    parts = [history.slice(*ends) for ends in ((0, start), (start, end), (end, len(stream)))]
    assert [content for part in parts for content in part[0]] == history.contents
    assert [delta for part in parts for delta in part[1]] == [
        delta for _, delta in history.metadata
    ]
    for contents, metadata in parts:
        assert len(metadata) <= len(contents)
    indexes = {index for index, _ in history.metadata}
    for index, chunk in enumerate(map(read, stream)):
        if chunk.usage is not None or chunk.extra:
            assert index in indexes
