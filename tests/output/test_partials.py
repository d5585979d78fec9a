"""Laws of the data of an answer that is not whole yet."""

import json
import sys
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from foxapi_async import ConfigError
from foxapi_async._output.output_type import output_type
from foxapi_async._output.partials import PartialAnswer

TEXTS = st.text(st.sampled_from('ab"\\\n{}[]:,1e-.é😀'), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-1e9, 1e9) | TEXTS,
    lambda items: st.lists(items, max_size=4) | st.dictionaries(TEXTS, items, max_size=4),
)
OBJECTS = st.dictionaries(TEXTS, VALUES, min_size=1, max_size=4)
ANY = output_type(dict[str, Any])


def parts(text: str, cuts: list[int], output: Any = ANY) -> list[Any]:
    """Return the data after each piece of a text."""
    answer = PartialAnswer(output)
    values: list[Any] = []
    for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        answer.add(text[begin:end])
        if (value := answer.value()) is not UNSET:
            values.append(value)
    return values


def begins(part: Any, whole: Any) -> bool:
    """Tell whether ``part`` is the beginning of ``whole``: only its last text is cut."""
    if isinstance(whole, str):
        return isinstance(part, str) and whole.startswith(part)
    if isinstance(whole, dict):
        names = list(whole)[: len(part)]
        return list(part) == names and all(begins(part[name], whole[name]) for name in names)
    if isinstance(whole, list):
        return len(part) <= len(whole) and all(map(begins, part, whole))
    return type(part) is type(whole) and part == pytest.approx(whole)


@given(value=OBJECTS, fenced=st.booleans(), ascii_only=st.booleans(), data=st.data())
def test_each_part_is_the_beginning(
    value: dict[str, Any], fenced: bool, ascii_only: bool, data: st.DataObject
) -> None:
    """Wherever the answer is cut, the data so far is the beginning of the whole."""
    text = json.dumps(value, ensure_ascii=ascii_only)
    text = f"```json\n{text}\n```" if fenced else text
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=20)))
    for part in parts(text, cuts):
        assert begins(part, value)


def test_every_character_is_seen() -> None:
    """A short answer is parsed at each character, and its texts grow."""
    text = '{"a": "xy\\"z", "b": [12, true]}'
    seen = parts(text, list(range(1, len(text))))
    assert [part for number, part in enumerate(seen) if part != seen[number - 1]] == [
        {},
        {"a": ""},
        {"a": "x"},
        {"a": "xy"},
        {"a": 'xy"'},
        {"a": 'xy"z'},
        {"a": 'xy"z', "b": []},
        {"a": 'xy"z', "b": [12]},
        {"a": 'xy"z', "b": [12, True]},
    ]


def test_a_wrapped_value_is_unwrapped() -> None:
    """The member around a value that is no object is not shown."""
    seen = parts('{"value": [1, 2]}', list(range(1, 17)), output_type(list[int]))
    assert [part for number, part in enumerate(seen) if part != seen[number - 1]] == [
        [],
        [1],
        [1, 2],
    ]


def test_what_is_no_json_has_no_data() -> None:
    """A text that is no JSON has no data, which is no error before its end."""
    text = "Sure! Here it is."
    assert parts(text, list(range(1, len(text)))) == []


def test_a_long_answer_is_parsed_seldom() -> None:
    """The parsed characters are linear in the length of the answer."""
    text = json.dumps({"text": "word " * 20_000})
    seen = parts(text, list(range(10, len(text), 10)))
    lengths = [len(part.get("text", "")) for part in seen]
    assert sum(lengths) < 70 * len(text)
    assert all(late <= early * 1.04 + 100 for early, late in pairwise(lengths))


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without jiter the error names the extra."""
    monkeypatch.setitem(sys.modules, "jiter", None)
    with pytest.raises(ConfigError, match=r"foxapi-async\[partials\]"):
        PartialAnswer(ANY)
