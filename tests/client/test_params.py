"""Laws of what may be submitted, before anything is sent."""

import math
from pathlib import Path
from typing import Any

import msgspec
import pytest

from foxapi_async import RequestValidationError, audio, file, image, text, video
from foxapi_async._client.params import (
    LLMParams,
    SubmitParams,
    build_request,
    encode_request,
    validate,
)
from foxapi_async._wire.request import GenerationRequest, member_names

BASIC: dict[str, Any] = {"model": "gpt-5.5", "messages": "hello"}


def body(**params: Any) -> dict[str, Any]:
    """Return the JSON that is sent for ``params``."""
    decoded: dict[str, Any] = msgspec.json.decode(encode_request(build_request(BASIC | params)))
    return decoded


def test_keywords_are_the_members_of_the_request() -> None:
    """The typed keywords and the request's members are the same, but for key, extra and sync."""
    keywords = set(SubmitParams.__annotations__) | set(LLMParams.__annotations__)
    assert keywords - {"key", "extra"} == member_names(GenerationRequest) - {"sync"}


def test_only_what_was_given_is_sent() -> None:
    """An absent keyword is not sent, and ``None`` is sent as null."""
    assert body() == {"model": "gpt-5.5", "messages": [{"role": "user", "content": "hello"}]}
    assert body(stop=None, temperature=0.5)["stop"] is None


def test_a_typo_is_a_type_error_that_names_the_right_word() -> None:
    """An unknown keyword costs nothing but an error with the nearest known one."""
    with pytest.raises(TypeError, match=r"'max_token'.*'max_tokens'"):
        build_request(BASIC | {"max_token": 64})
    with pytest.raises(TypeError, match=r"extra="):
        build_request(BASIC | {"zzzzzz": 1})
    with pytest.raises(TypeError, match=r"'messages'"):
        build_request({"model": "gpt-5.5"})


def test_extra_reaches_the_body_and_cannot_shadow_a_keyword() -> None:
    """What the SDK does not know passes through ``extra``; what it knows has a keyword."""
    assert body(extra={"seed_bias": 1})["seed_bias"] == 1
    with pytest.raises(TypeError, match="max_tokens"):
        build_request(BASIC | {"extra": {"max_tokens": 5}})


@pytest.mark.parametrize("params", [{"sync": True}, {"extra": {"sync": True}}])
def test_sync_is_refused(params: dict[str, Any]) -> None:
    """``sync=True`` answers without a task id, so it is refused wherever it is put."""
    with pytest.raises(RequestValidationError) as caught:
        build_request(BASIC | params)
    assert caught.value.param == "sync"


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"max_tokens": "many"}, "max_tokens"),
        ({"temperature": math.nan}, "temperature"),
        ({"top_p": math.inf}, "top_p"),
        ({"messages": 7}, "messages"),
        ({"messages": [{"content": "no role"}]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages[0].content[0]"),
        ({"extra": {"x": object()}}, "request"),
        ({"messages": "\ud800"}, "request"),
    ],
)
def test_a_wrong_value_names_its_place(params: dict[str, Any], param: str) -> None:
    """A value that cannot be sent is refused with the place where it stands."""
    with pytest.raises(RequestValidationError) as caught:
        encode_request(build_request(BASIC | params))
    assert caught.value.violations[0].param == param


def test_validation_knows_three_manners() -> None:
    """Known models are checked, unknown ones are passed, refused or not looked at."""
    known = build_request({"model": "claude-opus-4-7", "messages": [{"role": "user"}]})
    unknown = build_request(BASIC | {"model": "gpt-9"})
    with pytest.raises(RequestValidationError, match="max_tokens"):
        validate(known, "known")
    validate(unknown, "known")
    with pytest.raises(RequestValidationError, match="gpt-9"):
        validate(unknown, "strict")
    validate(known, "off")
    validate(unknown, "off")


def test_the_repr_of_a_request_shows_no_prompt() -> None:
    """Requests turn up in logs and errors; what they say does not."""
    assert "hello" not in repr(build_request(BASIC))


def test_blocks_are_built_from_whatever_is_at_hand(tmp_path: Path) -> None:
    """A URL stays a URL; bytes and files become data URIs of the right type."""
    picture = tmp_path / "fox.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n")
    content = [
        text("look"),
        image("https://x/1.png"),
        image(picture),
        audio(b"ID3...", mime="audio/mpeg"),
        file(b"%PDF-1.7"),
        video("data:video/mp4;base64,AA=="),
    ]
    sent = body(messages=[{"role": "user", "content": content}])["messages"][0]["content"]
    assert [block["type"] for block in sent] == [
        "text",
        "image_url",
        "image_url",
        "audio_url",
        "file_url",
        "video_url",
    ]
    assert sent[2]["image_url"]["url"] == "data:image/png;base64,iVBORw0KGgo="
    assert sent[4]["file_url"]["url"].startswith("data:application/pdf;base64,")


def test_a_medium_that_cannot_be_told_is_an_error() -> None:
    """A bare file name is not a URL, and nameless bytes of no known kind need their type."""
    with pytest.raises(ValueError, match="Path"):
        image("fox.png")
    with pytest.raises(ValueError, match="mime"):
        image(b"????")
