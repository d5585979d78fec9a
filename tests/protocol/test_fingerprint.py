"""Laws of the fingerprint of a request."""

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


def reversed_members(value: Any) -> Any:
    """Return the same value with the members of every object reversed."""
    if isinstance(value, dict):
        return {name: reversed_members(member) for name, member in reversed(value.items())}
    return [reversed_members(item) for item in value] if isinstance(value, list) else value


@given(requests)
def test_the_order_of_members_does_not_matter(request: dict[str, Any]) -> None:
    """Equal JSON values have the same fingerprint of 32 hexadecimal digits."""
    digest = fingerprint(body(request))
    assert digest == fingerprint(body(reversed_members(request)))
    assert len(bytes.fromhex(digest)) == 16


@given(requests, requests)
def test_another_request_has_another_fingerprint(one: dict[str, Any], two: dict[str, Any]) -> None:
    """Two requests have the same fingerprint only if they are equal."""
    for request in (one, two):
        request.pop("stream", None)
    same = json.dumps(one, sort_keys=True) == json.dumps(two, sort_keys=True)
    assert (fingerprint(body(one)) == fingerprint(body(two))) is same


@given(requests)
def test_another_path_has_another_fingerprint(request: dict[str, Any]) -> None:
    """The path is a part of a request, and that of language models is the default."""
    paths = ["/v1/llm/generations", "/v1/images/generations", "/v1/videos/generations"]
    marks = [fingerprint(body(request), path) for path in paths]
    assert len(set(marks)) == 3
    assert marks[0] == fingerprint(body(request))
    assert (fingerprint(body({**request, "stream": 7}), paths[1]) == marks[1]) is (
        request.get("stream") == 7
    )


@given(requests, st.booleans())
def test_the_member_stream_does_not_matter(request: dict[str, Any], streamed: bool) -> None:
    """A request with ``stream`` has the same fingerprint as without."""
    request.pop("stream", None)
    assert fingerprint(body(request)) == fingerprint(body({**request, "stream": streamed}))
