"""Laws of fingerprints: the same question, the same fingerprint."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from foxapi_async._protocol.fingerprint import fingerprint

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
requests = st.dictionaries(st.text(), values, max_size=6)


def body(value: object) -> bytes:
    """Write a value as JSON."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def turned_round(value: Any) -> Any:
    """Return the same JSON with every object's members in the opposite order."""
    if isinstance(value, dict):
        return {name: turned_round(member) for name, member in reversed(value.items())}
    return [turned_round(item) for item in value] if isinstance(value, list) else value


@given(requests)
def test_the_order_of_members_does_not_matter(request: dict[str, Any]) -> None:
    """Two texts of one JSON value have one fingerprint, of 32 hexadecimal digits."""
    mark = fingerprint(body(request))
    assert mark == fingerprint(body(turned_round(request)))
    assert len(bytes.fromhex(mark)) == 16


@given(requests, requests)
def test_another_request_has_another_fingerprint(one: dict[str, Any], two: dict[str, Any]) -> None:
    """Two requests have one fingerprint only if they ask the same."""
    for request in (one, two):
        request.pop("stream", None)
    same = json.dumps(one, sort_keys=True) == json.dumps(two, sort_keys=True)
    assert (fingerprint(body(one)) == fingerprint(body(two))) is same


@given(requests, st.booleans())
def test_how_the_answer_comes_does_not_matter(request: dict[str, Any], streamed: bool) -> None:
    """A question that is streamed is the same question."""
    request.pop("stream", None)
    assert fingerprint(body(request)) == fingerprint(body({**request, "stream": streamed}))
