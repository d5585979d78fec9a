"""Laws of the mask: no text shows a key, in any escaped form."""

import json
from collections.abc import Callable
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foxapi_async._protocol.mask import Mask
from foxapi_async._wire.base import Decoder, encode
from foxapi_async._wire.completion import ChatCompletion
from foxapi_async._wire.task import task_decoder

KEY = "sk-f0xAb9Zq7LmN2pR5tUv8WyXc3DeG6hJ1kQs4"

keys = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=60)
texts = st.text(max_size=30)


def in_unicode(text: str) -> str:
    """Escape every character as JSON may."""
    return "".join(f"\\u{ord(char):04x}" for char in text)


ESCAPES: dict[str, Callable[[str], str]] = {
    "plain": str,
    "JSON": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "JSON in full": in_unicode,
    "JSON in capitals": lambda text: "".join(f"\\u{ord(char):04X}" for char in text),
    "JSON in JSON": lambda text: json.dumps(in_unicode(text))[1:-1],
    "its first character": lambda text: in_unicode(text[0]) + text[1:],
    "every third": lambda text: "".join(
        in_unicode(char) if number % 3 == 0 else char for number, char in enumerate(text)
    ),
    "URL": lambda text: quote(text, safe=""),
    "URL in full": lambda text: "".join(f"%{ord(char):02x}" for char in text),
    "URL twice": lambda text: quote("".join(f"%{ord(char):02X}" for char in text)),
    "URL in JSON": lambda text: in_unicode("".join(f"%{ord(char):02X}" for char in text)),
    "Python": lambda text: "".join(f"\\x{ord(char):02x}" for char in text),
    "a repr": lambda text: repr(text.encode())[2:-1],
    "HTML": lambda text: "".join(f"&#{ord(char)};" for char in text),
    "HTML in hex": lambda text: "".join(f"&#x{ord(char):X};" for char in text),
}


def shown(text: str, key: str) -> list[str]:
    """Return the runs of eight characters of ``key`` that ``text`` shows."""
    return [key[at : at + 8] for at in range(len(key) - 7) if key[at : at + 8] in text]


@given(
    key=keys,
    before=texts,
    after=texts,
    escape=st.sampled_from(sorted(ESCAPES)),
    cut=st.tuples(st.integers(0, 400), st.integers(0, 400)),
)
def test_no_cut_of_any_spelling_shows_eight_characters_in_a_row(
    key: str, before: str, after: str, escape: str, cut: tuple[int, int]
) -> None:
    """Cutting a text before and after masking shows no part of the key, escaped or not."""
    mask = Mask(key)
    text = before + ESCAPES[escape](key) + after
    for part in (text[cut[0] :], text[: cut[0]], text[min(cut) : max(cut)], text):
        seen = mask.text(part)
        for reading in (seen, mask.text(seen)[cut[1] :]):
            assert not shown(reading, key)
            assert not shown(reading.replace("\\/", "/"), key)
    assert mask.may_contain(text.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("escape", ESCAPES)
def test_a_whole_key_is_replaced_by_its_ends(escape: str) -> None:
    """The placeholder of a whole key shows its ends, so that its owner recognises it."""
    text = f"bad key {ESCAPES[escape](KEY)}, sorry"
    assert Mask(KEY).text(text) == "bad key sk-f…kQs4, sorry"
    assert Mask(KEY).name(text) == "bad key sk-f…kQs4, sorry"
    assert Mask(KEY).may_contain(text.encode())


@given(texts)
def test_other_texts_are_not_changed(text: str) -> None:
    """A text that has no part of the key is returned unchanged."""
    assert Mask(KEY).text(text) == text
    assert Mask(KEY).name(text) == text


def test_names_may_share_a_word_with_the_key() -> None:
    """The name of a status or a model may be a word of the key."""
    mask = Mask("image-processing-team-key")
    assert mask.name("processing") == "processing"
    assert mask.text("processing") == "…"
    assert mask.name("x image-processing-team-key") == "x imag…-key"


def test_a_key_of_three_characters_is_not_masked() -> None:
    """A key that is too short to be a secret is not masked."""
    assert Mask("abc").text("abcabc") == "abcabc"
    assert not Mask("abc").may_contain(b"abc \\u0061")
    assert Mask("abcd").text("xabcdx") == "x…x"


def test_structs_are_masked_for_errors_and_for_the_journal() -> None:
    """``struct`` leaves raw results unchanged; ``record`` masks every member."""
    hidden = ESCAPES["JSON in full"](KEY)
    data = (
        f'{{"id":"task-1","status":"failed","error":{{"message":"bad {hidden}","code":"c"}},'
        f'"results":[{{"text":"{hidden}","n":[1.5,"{KEY}"]}}],"news":{{"{hidden}":1}}}}'
    )
    task = task_decoder.decode(data.encode())
    mask = Mask(KEY)
    seen = mask.struct(task, data.encode())
    assert seen.error is not None
    assert seen.error.message == "bad sk-f…kQs4"
    assert dict(seen.extra) == {"news": {"sk-f…kQs4": 1}}
    assert seen.results == task.results
    kept = encode(mask.record(task))
    assert not shown(kept.decode(), KEY)
    assert b"\\u0073" not in kept
    assert task_decoder.decode(kept).results is not None
    answer = Decoder(ChatCompletion).decode(
        b'{"choices":[{"message":{"content":"it is %s","odd":"%s"}}]}'
        % (KEY.encode(), hidden.encode())
    )
    assert mask.record(answer).text == "it is sk-f…kQs4"
    assert KEY.encode() not in encode(mask.record(answer))


@given(
    key=keys,
    escape=st.sampled_from(sorted(ESCAPES)),
    cut=st.tuples(st.integers(0, 400), st.integers(0, 400)),
    depth=st.integers(0, 30),
    padding=st.sampled_from([0, 1000]),
)
def test_every_name_in_a_struct_is_masked_at_any_depth(
    key: str, escape: str, cut: tuple[int, int], depth: int, padding: int
) -> None:
    """A name at any depth of a short or a long body is masked as a single name is."""
    part = ESCAPES[escape](key)[min(cut) : max(cut)]
    nested: object = part
    for _ in range(depth):
        nested = {"x": [nested]}
    members = ({"model": part}, {"news": nested}, {part: 1}, {"stream": {"url": part}})
    mask = Mask(key)
    for member in members:
        data = json.dumps({"id": "t", "status": "s", **member}).encode() + b" " * padding
        seen = mask.struct(task_decoder.decode(data), data)
        found, expected = (
            encode(seen).decode(),
            json.dumps(member).replace(json.dumps(part), json.dumps(mask.name(part))),
        )
        for name, value in json.loads(expected).items():
            assert json.loads(found)[name] == value


def test_nothing_is_copied_where_nothing_is_masked() -> None:
    """A value without the key is returned as the same object."""
    data = msgspec.json.encode({"id": "t", "status": "s", "results": [{"a": "b % \\u00e9"}]})
    task = task_decoder.decode(data)
    mask = Mask(KEY)
    assert mask.record(task) is task
    assert mask.struct(task, data) is task
    assert mask.json(data) is data


@given(st.recursive(texts | st.integers() | st.floats() | st.none(), st.lists, max_leaves=5))
def test_json_stays_json(value: object) -> None:
    """Masked JSON is valid JSON."""
    data = json.dumps([value, KEY]).encode()
    masked = json.loads(Mask(KEY).json(data))
    assert masked[1] == "sk-f…kQs4"
    assert repr(masked[0]) == repr(json.loads(data)[0])
