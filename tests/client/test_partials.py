"""Laws of the parts of a typed answer that are read from a stream."""

from itertools import pairwise
from typing import Any

import pytest
from msgspec import Struct

from foxapi_async import FoxSession, OutputTruncatedError, OutputValidationError, PollPolicy
from foxapi_async.gateway import Gateway
from foxapi_async.testing import FaultProxy

MODEL = "gpt-5.5"


class Story(Struct):
    """A story."""

    title: str
    lines: list[str]
    mood: str = "calm"


ANSWER = '{"title": "The fox", "lines": ["It ran.", "It slept."], "mood": null}'
STORY = Story("The fox", ["It ran.", "It slept."])
WHOLE = {"title": "The fox", "lines": ["It ran.", "It slept."]}


async def test_the_last_part_is_the_answer(gateway: Gateway, fast_polling: PollPolicy) -> None:
    """The parts grow, the last one is the whole answer, and ``parsed`` is its value."""
    gateway.replies.add(ANSWER)
    async with (
        FoxSession("sk", base_url=gateway.url, polling=fast_polling) as fox,
        fox.llm.stream(model=MODEL, messages="x", response_format=Story) as stream,
    ):
        with pytest.raises(RuntimeError, match="nothing was parsed yet"):
            assert stream.parsed
        parts = [part async for part in stream.partials(Story)]
        assert stream.parsed == STORY
        assert (await stream.completion()).text == ANSWER
    assert parts[-1] == WHOLE
    assert len(parts) > 3
    titles = [part.get("title", "") for part in parts]
    assert all(late.startswith(early) for early, late in pairwise(titles))


async def test_parts_of_a_resumed_stream(gateway: Gateway, fast_polling: PollPolicy) -> None:
    """A resumed stream has the part before its position too."""
    gateway.replies.add(ANSWER)
    async with FoxSession("sk", base_url=gateway.url, polling=fast_polling) as fox:
        handle = await fox.llm.submit(model=MODEL, messages="x", stream=True, response_format=Story)
        async with handle.stream() as stream:
            async for part in stream.partials(Story):
                if part.get("title"):
                    break
        async with handle.stream(resume=stream.cursor) as stream:
            parts = [part async for part in stream.partials(Story)]
        assert parts[0]["title"]
        assert parts[-1] == WHOLE
        assert stream.parsed == STORY


@pytest.mark.parametrize("after", [600, 900, 1500])
async def test_a_cut_loses_no_part(
    gateway: Gateway, fault_proxy: FaultProxy, fast_polling: PollPolicy, after: int
) -> None:
    """A connection that is lost changes nothing in the answer."""
    gateway.replies.add(ANSWER)
    gateway.faults.add(f"stream:cut:chunk={after // 300}")
    async with FoxSession("sk", base_url=fault_proxy.url, polling=fast_polling) as fox:
        async with fox.llm.stream(model=MODEL, messages="x", response_format=Story) as stream:
            parts = [part async for part in stream.partials(Story)]
        assert parts[-1] == WHOLE
        assert stream.parsed == STORY


async def test_a_wrong_answer_ends_in_its_error(gateway: Gateway, fast_polling: PollPolicy) -> None:
    """An answer that is not of the type, or is cut, is an error after its parts."""
    reply: Any = {"text": ANSWER, "finish_reason": "length"}
    for answer, error in (('{"title": 1}', OutputValidationError), (reply, OutputTruncatedError)):
        gateway.replies.add(answer)
        async with (
            FoxSession("sk", base_url=gateway.url, polling=fast_polling) as fox,
            fox.llm.stream(model=MODEL, messages="x", response_format=Story) as stream,
        ):
            with pytest.raises(error):
                async for _ in stream.partials(Story):
                    pass
            with pytest.raises(RuntimeError):
                assert stream.parsed


async def test_leaving_the_loop_closes_the_connection(
    gateway: Gateway, fast_polling: PollPolicy
) -> None:
    """A loop that is left closes its connection at once; the answer is still awaited."""
    gateway.replies.add(ANSWER)
    async with FoxSession("sk", base_url=gateway.url, polling=fast_polling) as fox:
        handle = await fox.llm.submit(model=MODEL, messages="x", stream=True, response_format=Story)
        async with handle.stream() as stream:
            async for _ in stream.partials(Story):
                assert fox.stats().streams == 1
                break
            assert fox.stats().streams == 0
        assert await handle.parse(Story) == STORY
