"""A short run of the fuzzer, and requests with any JSON members."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foxapi_async.gateway import Gateway
from foxapi_async.gateway.api_errors import APIError
from foxapi_async.gateway.request_validation import MAX_DEPTH, check_bounds
from tests.gateway import fuzzing

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
MEMBERS = (
    *("model", "messages", "stream", "n", "stop", "tools", "tool_choice", "response_format"),
    *("max_tokens", "temperature", "metadata", "logit_bias", "reasoning", "sync", "unheard_of"),
)
HELLO: dict[str, Any] = {"model": "gpt-5.5", "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize("seed", [1, 2])
async def test_no_request_breaks_the_gateway(tmp_path: Path, seed: int) -> None:
    """Every fuzzed request gets a response of the contract, and the gateway stays up."""
    async with Gateway(data=tmp_path / "fox.db", queue_delay=0, token_delay=0) as gateway:
        findings = await fuzzing.run(gateway, seed, iter(range(300)))
    assert findings.requests == 300
    assert findings.accepted
    assert {200, 400, 404, 422} <= findings.statuses.keys()


def test_a_fuzzed_request_can_be_sent_again() -> None:
    """Each request depends on the seed and its number alone."""
    assert fuzzing.request_of(3, 7) == fuzzing.request_of(3, 7) != fuzzing.request_of(4, 7)


@settings(max_examples=25)
@given(members=st.lists(st.dictionaries(st.sampled_from(MEMBERS), VALUES, max_size=4), max_size=8))
def test_any_members_are_accepted_or_refused(members: list[dict[str, Any]]) -> None:
    """A body of any JSON values creates a task that ends, or is an error in the envelope."""

    async def send() -> None:
        async with Gateway(queue_delay=0, token_delay=0) as gateway:
            findings = fuzzing.Findings()
            for item in members:
                body = json.dumps(HELLO | item).encode()
                data = (
                    b"POST %b HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %b\r\n"
                    b"Connection: close\r\nContent-Type: application/json\r\n"
                    b"Content-Length: %d\r\n\r\n%b"
                    % (fuzzing.SUBMIT.encode(), fuzzing.KEY.encode(), len(body), body)
                )
                fuzzing.check(data, await fuzzing.exchange(gateway.port, data), findings)
            assert not findings.silent
            await fuzzing.check_tasks(gateway, findings)

    asyncio.run(send())


@given(value=VALUES, levels=st.integers(0, 2 * MAX_DEPTH))
def test_depth_is_counted_like_a_parser(value: Any, levels: int) -> None:
    """A body is refused exactly when its arrays and objects are nested too deeply."""

    def depth(value: Any) -> int:
        if isinstance(value, dict | list):
            parts = value.values() if isinstance(value, dict) else value
            return 1 + max(map(depth, parts), default=0)
        return 0

    for _ in range(levels):
        value = [value, '"[{\\']
    # Enough pairs of brackets that each body is scanned token by token.
    body = json.dumps({"a": "[{" * MAX_DEPTH, "b": value}).encode()
    if depth(value) + 1 > MAX_DEPTH:
        with pytest.raises(APIError, match="levels deep"):
            check_bounds(body)
    else:
        check_bounds(body)
