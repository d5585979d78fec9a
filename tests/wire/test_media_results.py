"""Laws of the results of media tasks: none is lost or rejected for its form (contract §9)."""

import copy
import json
import pickle
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from foxapi_async import MediaResult, MediaResults
from foxapi_async._wire.media_results import bind_results, decode_media, session_of
from foxapi_async._wire.task import TaskSummary
from foxapi_async.types import (
    CharacterResult,
    ElementResult,
    ProfileResult,
    TranscriptResult,
    TranscriptWord,
    VoiceResult,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["url", "image_url", "text", "voice_id", "words", "duration", "other"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


def decode(*values: object, task: TaskSummary | None = None) -> MediaResults:
    """Decode results as they come from the network."""
    return decode_media(tuple(Raw(json.dumps(value).encode()) for value in values), task)


def one(value: object) -> MediaResult:
    """Decode a single result."""
    (result,) = decode(value)
    return result


def summary(model: str = "gpt-image-2", created: int | None = 1000) -> TaskSummary:
    """Return the task behind results."""
    return TaskSummary(
        id="task-unified-1",
        model=model,
        created=created,
        seconds=None,
        usage=None,
        request_id=None,
    )


def test_a_file_has_its_link_and_what_the_service_says_of_it() -> None:
    """The named members are typed; the others are in ``extra``; the JSON is kept."""
    value = {
        "url": "https://x/1.png",
        "content_type": "image/png",
        "width": 64,
        "height": 32,
        "file_size": 99,
        "filename": "1.png",
        "seed": 7,
        "duration": 2,
        "new": [1],
    }
    result = one(value)
    assert type(result) is MediaResult
    assert result.urls == ("https://x/1.png",)
    assert (result.content_type, result.width, result.height) == ("image/png", 64, 32)
    assert (result.file_size, result.filename, result.seed) == (99, "1.png", 7)
    assert result.duration == 2.0
    assert result.extra == {"new": [1]}
    assert json.loads(result.raw) == value


def test_links_of_every_name_and_depth_are_found() -> None:
    """``urls`` has each link once, ``url`` first; ``file_url`` is an input and no result."""
    result = one(
        {
            "audio_url": "https://x/a",
            "url": "https://x/u",
            "image_url": "https://x/a",
            "file_url": "https://x/input",
            "results": [{"transcription_url": "https://x/t"}, {"result_url": "https://x/r"}],
            "image_urls": ["https://x/i", 7],
        }
    )
    assert result.urls == (
        "https://x/u",
        "https://x/a",
        "https://x/t",
        "https://x/r",
        "https://x/i",
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"voice_id": "v-1"}, VoiceResult(voice_id="v-1")),
        (
            {"voice_id": "v-1", "url": "https://x/v"},
            VoiceResult(voice_id="v-1", url="https://x/v"),
        ),
        ({"element_id": 17}, ElementResult(element_id="17")),
        (
            {"character_id": "c", "name": "Reynard"},
            CharacterResult(character_id="c", name="Reynard"),
        ),
        (
            {"result_type": "profile", "profile_id": "p"},
            ProfileResult(profile_id="p", result_type="profile"),
        ),
        (
            {
                "text": "hi",
                "language_code": "en",
                "words": [{"text": "hi", "start": 0, "end": 1.5, "type": "word"}],
            },
            TranscriptResult(
                text="hi",
                language_code="en",
                words=(TranscriptWord(text="hi", start=0.0, end=1.5, type="word"),),
            ),
        ),
        ("what was said", TranscriptResult(text="what was said")),
        ("https://x/2", MediaResult(url="https://x/2")),
        ({"url": "https://x/3", "text": "la"}, None),
    ],
)
def test_the_type_of_a_result_follows_from_its_members(
    value: Any, expected: MediaResult | None
) -> None:
    """Each kind of result is known by a member that only it has, and never by a model."""
    result = one(value)
    assert type(result) is type(expected or MediaResult())
    assert expected is None or result == expected


def test_odd_results_are_kept() -> None:
    """Nulls are dropped, nested lists are flat, and what has no form is in ``raw``."""
    results = decode(None, "https://x/1", [{"url": "https://x/2"}, None], 7, True)
    assert results.urls == ("https://x/1", "https://x/2")
    assert [result.raw for result in results] == [
        b'"https://x/1"',
        b'{"url":"https://x/2"}',
        b"7",
        b"true",
    ]
    assert decode_media((Raw(b'{"url":"https://x/3","score":NaN}'),)).urls == ("https://x/3",)


@pytest.mark.parametrize("values", [[], [None], [[], [None]]])
def test_no_result_at_all_is_an_error(values: list[object]) -> None:
    """Results of nothing but nulls cannot be decoded."""
    with pytest.raises(msgspec.DecodeError):
        decode(*values)


def test_optional_members_of_the_wrong_type_are_kept() -> None:
    """No optional member makes a paid result fail; a link in another form is still a link."""
    result = one(
        {
            "url": {"url": "https://x/1"},
            "video_url": ["https://x/2", "https://x/3"],
            "duration": "12.5",
            "seed": "many",
            "content_type": 7,
        }
    )
    assert (result.url, result.video_url) == ("https://x/1", "https://x/2")
    assert result.urls == ("https://x/1", "https://x/2", "https://x/3")
    assert (result.duration, result.seed) == (12.5, None)
    assert result.extra["seed"] == "many"


@given(st.lists(JSON, max_size=4))
def test_any_json_is_decoded(values: list[Any]) -> None:
    """Every JSON is decoded, shown, written and pickled, or is no result at all."""
    try:
        results = decode(*values)
    except msgspec.DecodeError:
        return
    for result in results:
        assert all(isinstance(link, str) and link for link in result.urls)
        assert result._repr_html_()
        json.loads(result.to_json())
    assert pickle.loads(pickle.dumps(results)) == results
    assert repr(results)


def test_deep_results_end_in_a_result_or_a_decode_error() -> None:
    """No depth of nesting is a crash."""
    for depth in (50, 900, 5000):
        for body in (b"[" * depth + b"1" + b"]" * depth, b'{"url":' * depth + b"1" + b"}" * depth):
            try:
                results = decode_media((Raw(body),))
            except msgspec.DecodeError:
                continue
            assert results.urls == ()


def test_results_are_a_sequence() -> None:
    """Results behave like a tuple; a slice has the same task."""
    task = summary()
    results = decode({"url": "https://x/1"}, {"url": "https://x/2"}, task=task)
    first, second = results
    assert (len(results), results[0], results[-1]) == (2, first, second)
    assert results[:1] == MediaResults([first])
    assert results[:1].task is task
    assert second in results
    assert results.index(second) == 1
    assert list(reversed(results)) == [second, first]
    assert results != (first, second)
    with pytest.raises(IndexError):
        results[2]


@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))]
)
def test_copies_keep_all_but_the_session(duplicate: Any) -> None:
    """Copies and pickles are equal, with the JSON and the task; a pickle has no session."""
    session: Any = object()
    results = bind_results(decode({"voice_id": "v", "more": [1]}, task=summary()), session)
    assert session_of(results[0]) is session
    copied = duplicate(results)
    assert copied == results
    assert (copied.task, copied[0].raw, copied[0].task) == (
        results.task,
        results[0].raw,
        results[0].task,
    )
    assert session_of(copied[0]) in {session, None}
    assert session_of(pickle.loads(pickle.dumps(results[0]))) is None
    assert session_of(copy.copy(results[0])) is session


def test_links_end_a_day_after_the_submit() -> None:
    """Links are valid for 24 hours, those of Suno for 72 (contract Q4)."""
    value = {"url": "https://x/1"}
    assert decode(value, task=summary())[0].expires_at == 1000 + 24 * 3600
    assert decode(value, task=summary("suno-v4"))[0].expires_at == 1000 + 72 * 3600
    assert decode(value, task=summary(created=None))[0].expires_at is None
    assert decode({"voice_id": "v"}, task=summary())[0].expires_at is None
    assert one(value).expires_at is None


def test_a_notebook_shows_only_images_that_are_safe_to_load() -> None:
    """Thumbnails are links over https or from this machine, escaped; the others are text."""
    shown = decode(
        {"url": 'https://x/1.png?a="<script>'},
        {"url": "http://127.0.0.1:1/2", "content_type": "image/png"},
        {"url": "http://evil.example/3.png"},
        {"url": "javascript:alert(1)//.png"},
        {"url": "https://x/4.mp4"},
        {"url": "https://[broken/5.png"},
    )._repr_html_()
    assert shown.count("<img ") == 2
    assert "<script>" not in shown
    assert 'src="javascript' not in shown
    assert 'referrerpolicy="no-referrer"' in shown


def test_private_representations_hide_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """``FOXAPI_REPR`` hides links as it hides answers."""
    monkeypatch.setenv("FOXAPI_REPR", "private")
    results = decode({"url": "https://x/secret.png"}, {"text": "secret"})
    assert "secret" not in repr(results) + repr(list(results)) + results._repr_html_()
