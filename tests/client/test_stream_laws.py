"""However the network behaves, each chunk is delivered once, in order, to the end."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foxapi_async import (
    ChatStream,
    Delta,
    FoxSession,
    LLMHandle,
    StreamInterruptedError,
    StreamPolicy,
)
from foxapi_async.gateway import Gateway
from foxapi_async.testing import Close, Fault, FaultProxy, Reset, Stall, StripQuery, Trickle, settle

if TYPE_CHECKING:
    from tests.client.conftest import ScriptedService

T = TypeVar("T")
KEY = "sk-secret-0123456789abcdef"
STREAM = "/v1/llm/generations/*/stream"


class Connection(NamedTuple):
    """The faults of one connection: whether offset is ignored, where and how it breaks."""

    ignores_offset: bool
    how: Callable[..., Fault]
    place: int
    is_in_body: bool
    pieces: tuple[int, ...]

    def faults(self) -> list[Fault]:
        """Return the faults of the proxy."""
        faults: list[Fault] = [StripQuery("offset")] if self.ignores_offset else []
        if self.pieces:
            faults.append(Trickle(*self.pieces))
        faults.append(self.how(body=self.place) if self.is_in_body else self.how(response=0))
        return faults


class World:
    """A gateway, a fault proxy and a session, in an event loop that many trials share."""

    def __init__(self, runner: asyncio.Runner, fault_proxy: FaultProxy, fox: FoxSession) -> None:
        self.runner = runner
        self.fault_proxy = fault_proxy
        self.fox = fox

    def run(self, trial: Coroutine[Any, Any, None]) -> None:
        """Run one trial without faults at first, and check that it leaves nothing behind."""

        async def alone() -> None:
            self.fault_proxy.clear()
            before = asyncio.all_tasks()
            releasing = asyncio.create_task(self._release())
            try:
                await trial
            finally:
                releasing.cancel()
                await asyncio.wait((releasing,))
            assert self.fox.stats().streams == 0
            left = asyncio.all_tasks() - before
            assert not [task for task in left if "foxapi_async/_client" in repr(task)]

        self.runner.run(alone())

    async def _release(self) -> None:
        """Release each stalled connection a little later."""
        while True:
            await self.fault_proxy.wait_for_stalls()
            await settle(40)
            self.fault_proxy.release()

    def break_line(self, connections: Sequence[Connection], *, ignores_offset: bool) -> None:
        """Add the faults to the next connections; the last rule stays."""
        for connection in connections:
            self.fault_proxy.on("GET", STREAM, *connection.faults(), times=1)
        if ignores_offset:
            self.fault_proxy.on("GET", STREAM, StripQuery("offset"))


@asynccontextmanager
async def opened(gateway: Gateway) -> AsyncIterator[tuple[FaultProxy, FoxSession]]:
    """Open a proxy and a session on a gateway."""
    async with gateway, FaultProxy(gateway.url) as fault_proxy:
        policy = StreamPolicy(initial=0.001, max_delay=0.01)
        async with FoxSession(KEY, base_url=fault_proxy.url, streaming=policy) as fox:
            yield fault_proxy, fox


def worlds(gateway: Gateway) -> Iterator[World]:
    """Build a world and close it."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        fault_proxy, fox = runner.run(stack.enter_async_context(opened(gateway)))
        yield World(runner, fault_proxy, fox)
        runner.run(stack.aclose())
        runner.run(settle())


@pytest.fixture
def world() -> Iterator[World]:
    """Build a world whose models generate without delays."""
    yield from worlds(Gateway(queue_delay=0, token_delay=0))


@pytest.fixture
def scripted_world(scripted_service: "ScriptedService") -> Iterator[World]:
    """Build a world whose streams the scripted service sends."""
    gateway = Gateway(queue_delay=0, token_delay=0)
    gateway.app.middlewares.append(scripted_service.handle)
    yield from worlds(gateway)


async def step(stream: ChatStream) -> Delta:
    """Read one delta, as a coroutine for ``create_task``."""
    return await anext(stream)


async def read(stream: ChatStream, cancel_after: Sequence[int]) -> list[Delta]:
    """Read to the end; cancel the first reads after these numbers of loop iterations."""
    deltas: list[Delta] = []
    async with stream:
        for turns in cancel_after:
            reading = asyncio.create_task(step(stream))
            await settle(turns)
            reading.cancel()
            try:
                deltas.append(await reading)
            except asyncio.CancelledError:
                continue
            except StopAsyncIteration:
                return deltas
        deltas += [delta async for delta in stream]
    return deltas


async def read_in_two(
    handle: LLMHandle, cancel_after: Sequence[int], at: int | None
) -> list[Delta]:
    """Read a stream at once, or up to ``at`` and then the rest from the cursor."""
    if at is None:
        return await read(handle.stream(), cancel_after)
    first: list[Delta] = []
    async with handle.stream() as stream:
        async for delta in stream:
            first.append(delta)
            if len(first) >= at:
                break
        cursor = stream.cursor
        # The stored tail is not a chunk.
        assert stream.offset == sum(delta.id != "stored" for delta in first)
    return first + await read(handle.stream(resume=cursor), cancel_after)


connections = st.builds(
    Connection,
    ignores_offset=st.booleans(),
    how=st.sampled_from([Reset, Close, Stall]),
    place=st.integers(0, 2500),
    is_in_body=st.sampled_from([True, True, True, False]),
    pieces=st.sampled_from([(), (), (13, 200), (1, 500, 90)]),
)
cancel_after = st.lists(st.integers(0, 60), max_size=6)
positions = st.none() | st.integers(1, 12)
prompts = st.sampled_from(
    [
        ("gpt-5.5", "count 1 to 12"),
        ("gpt-5.5", "ha ha ha ha ha ha ha ha"),
        ("kimi-k2.6", "count 1 to 6"),
        ("gemini-3-pro-preview", "你好 你好 你好 \u2028 你好"),
    ]
)
# A new world for each trial would take most of the time; `World.run` cleans it.
shared = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
# After the fourth disconnect in a row the stored text would end the stream.
models = given(
    prompt=prompts,
    cuts=st.lists(connections, max_size=3),
    ignores=st.booleans(),
    turns=cancel_after,
    at=positions,
)
scripts = given(
    texts=st.lists(st.sampled_from("ab"), max_size=12)
    | st.builds(
        lambda part, times: list(part * times), st.text("abc", max_size=4), st.integers(0, 4)
    ),
    cuts=st.lists(connections, max_size=6),
    ignores=st.booleans(),
    counts=st.booleans(),
    turns=cancel_after,
    at=positions,
)


def check_models(
    world: World,
    prompt: tuple[str, str],
    cuts: Sequence[Connection],
    turns: Sequence[int],
    at: int | None,
    *,
    ignores: bool,
) -> None:
    """Compare the deltas through a proxy with faults with those through one without."""

    async def trial() -> None:
        model, messages = prompt
        handle = await world.fox.llm.submit(model=model, messages=messages, stream=True)
        world.break_line(cuts, ignores_offset=ignores)
        deltas = await read_in_two(handle, turns, at)
        world.fault_proxy.clear()
        assert deltas == [delta async for delta in handle.stream()]
        completion = await handle
        assert "".join(delta.text for delta in deltas) == completion.text
        assert "".join(delta.reasoning for delta in deltas) == completion.reasoning

    world.run(trial())


def check_scripts(
    scripted_world: World,
    scripted_service: "ScriptedService",
    texts: Sequence[str],
    cuts: Sequence[Connection],
    turns: Sequence[int],
    at: int | None,
    *,
    ignores: bool,
    counts: bool,
) -> None:
    """Compare the deltas with the script, where ``done`` may lack the count of the chunks."""
    scripted_service.chunks = [scripted_service.chunk(text) for text in texts]
    scripted_service.total = None if counts else -1
    # The trials share the service: the result of another trial would end a stream cut four times.
    scripted_service.stored = None
    if not counts:
        # Only the stored text proves an end without a count; the rest may be one delta.
        scripted_service.store("".join(texts))

    async def trial() -> None:
        handle = await scripted_world.fox.llm.submit(
            model="gpt-5.5", messages="anything", stream=True
        )
        scripted_world.break_line(cuts, ignores_offset=ignores)
        deltas = await read_in_two(handle, turns, at if texts else None)
        found = [delta.text for delta in deltas]
        assert "".join(found) == "".join(texts)
        assert found == list(texts) or not counts

    scripted_world.run(trial())


@shared
@models
def test_any_cuts_give_the_uncut_stream(world: World, **drawn: Any) -> None:
    """Cut, stalled, trickled, replayed, cancelled or resumed, a stream has the same deltas."""
    check_models(world, **drawn)


@shared
@scripts
def test_streams_that_repeat_themselves_are_not_mistaken(
    scripted_world: World, scripted_service: "ScriptedService", **drawn: Any
) -> None:
    """New chunks that equal delivered ones are not taken for a replay."""
    check_scripts(scripted_world, scripted_service, **drawn)


NOTHINGS: Sequence[object] = (None, 5, [], {})
ODD: dict[str, dict[str, Sequence[object]]] = {
    "chunk": {
        "created": (None, "x", [], 1.5),
        "id": NOTHINGS,
        "model": NOTHINGS,
        "object": NOTHINGS,
        "usage": (*NOTHINGS, {"total_tokens": None}),
        "service_tier": NOTHINGS,
        "system_fingerprint": NOTHINGS,
        "new": ({"a": [None]},),
    },
    "choice": {
        "index": (None, "0"),
        "logprobs": (*NOTHINGS, {"content": 5}, {"content": [1]}),
        "finish_reason": NOTHINGS,
        "new": (1,),
    },
    "delta": {
        "role": NOTHINGS,
        "reasoning_content": (None, "", []),
        "tool_calls": (None, [], 5, [None]),
        "refusal": (None,),
        "new": ("x",),
    },
}
odd_members = st.sampled_from(
    [
        (place, name, value)
        for place, members in ODD.items()
        for name, values in members.items()
        for value in values
    ]
)


class OddChunk(NamedTuple):
    """A chunk of some UTF-16 units with odd members; its text is a string or a list of parts."""

    units: int
    members: list[tuple[str, str, object]]
    form: str

    def encode(self, text: str) -> bytes:
        """Return the JSON of a chunk with this text."""
        content: object = text
        if self.form == "parts":
            content = [{"type": "text", "text": text}]
        parts: dict[str, Any] = {"delta": {"content": content}}
        parts["choice"] = {"index": 0, "delta": parts["delta"]}
        parts["chunk"] = {"id": "c", "choices": [parts["choice"]]}
        for place, name, value in self.members:
            parts[place][name] = value
        return json.dumps(parts["chunk"]).encode()


EMPTY: list[bytes] = [
    b"null",
    b"{}",
    b'{"choices":null}',
    b'{"choices":[]}',
    b'{"choices":[{"index":0,"delta":null}]}',
    b'{"choices":[{"delta":{"content":null}}]}',
    b'{"choices":[null]}',
]
odd_chunks = st.builds(
    OddChunk,
    units=st.integers(1, 3),
    members=st.lists(odd_members, max_size=3),
    form=st.sampled_from(["text", "text", "parts"]),
)


def written(text: str, parts: Sequence[OddChunk | bytes]) -> list[bytes]:
    """Return chunks of ``text``, cut between UTF-16 units, with empty ones between them."""
    units = text.encode("utf-16-le")
    chunks: list[bytes] = []
    for part in parts:
        if isinstance(part, bytes):
            chunks.append(part)
        elif units:
            said, units = units[: 2 * part.units], units[2 * part.units :]
            chunks.append(part.encode(said.decode("utf-16-le", "surrogatepass")))
    rest = OddChunk(0, [], "text").encode(units.decode("utf-16-le", "surrogatepass"))
    return [*chunks, rest] if units else chunks


async def outcome_of(doing: Awaitable[T]) -> T | StreamInterruptedError:
    """Return a result, or the error in its place."""
    try:
        return await doing
    except StreamInterruptedError as error:
        return error


@shared
@given(
    truth=st.text(st.sampled_from("ab你\U0001f98a\U0001f600"), max_size=12),
    parts=st.lists(odd_chunks | st.sampled_from(EMPTY), max_size=10),
    cuts=st.lists(connections, max_size=3),
    is_stored=st.booleans(),
    counts=st.booleans(),
    ignores=st.booleans(),
    is_lost=st.booleans(),
    turns=cancel_after,
)
def test_odd_streams_give_the_truth_or_an_error(
    scripted_world: World,
    scripted_service: "ScriptedService",
    truth: str,
    parts: Sequence[OddChunk | bytes],
    cuts: Sequence[Connection],
    turns: Sequence[int],
    *,
    is_stored: bool,
    counts: bool,
    ignores: bool,
    is_lost: bool,
) -> None:
    """A stream ends without an error only if the delivered text is the whole text."""
    scripted_service.chunks = written(truth, parts)
    scripted_service.total = None if counts else -1
    scripted_service.store(truth if is_stored else "")
    scripted_service.stream_status = 200
    scripted_service.script.clear()

    async def trial() -> None:
        handle = await scripted_world.fox.llm.submit(
            model="kimi-k2.6", messages="anything", stream=True
        )
        scripted_world.break_line(cuts, ignores_offset=ignores)
        if is_lost:
            scripted_service.script.append(scripted_service.send_all)
            scripted_service.stream_status = 404
        deltas = await outcome_of(read(handle.stream(), turns))
        if isinstance(deltas, StreamInterruptedError):
            text = deltas.partial
            assert truth.startswith(text)
            assert deltas.completion is not None
            assert deltas.completion.text == text
        else:
            text = "".join(delta.text for delta in deltas)
            # If neither the stream nor the stored result has text, an empty text is right.
            assert text == truth or not (text or is_stored)
        completion = await outcome_of(handle)
        if isinstance(completion, StreamInterruptedError):
            assert not is_stored
            assert truth.startswith(completion.partial)
        else:
            assert completion.text == truth or not (text or is_stored)

    scripted_world.run(trial())


@pytest.mark.soak
@settings(shared, max_examples=2000)
@models
def test_any_cuts_give_the_uncut_stream_soak(world: World, **drawn: Any) -> None:
    """Two thousand streams with faults have the deltas of one without."""
    check_models(world, **drawn)


@pytest.mark.soak
@settings(shared, max_examples=2000)
@scripts
def test_streams_that_repeat_themselves_soak(
    scripted_world: World, scripted_service: "ScriptedService", **drawn: Any
) -> None:
    """Two thousand streams that repeat themselves are delivered as they were sent."""
    check_scripts(scripted_world, scripted_service, **drawn)
