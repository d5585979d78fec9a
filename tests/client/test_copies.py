"""Laws of copying: what is known is whole, what is bound stays bound, a connection is but one."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from foxapi_async import FoxSession, LLMHandle, as_completed

COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
}
every_way = pytest.mark.parametrize("duplicate", COPIES.values(), ids=COPIES)


async def submit(fox: FoxSession) -> LLMHandle:
    """Submit a short count that is streamed."""
    return await fox.llm.submit(model="gpt-5.5", messages="count 1 to 3", stream=True)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
async def test_a_copied_handle_stays_bound(
    fox: FoxSession, duplicate: Callable[[Any], Any]
) -> None:
    """A handle in a structure that is copied is awaited and compared as the one that was copied."""
    handle = await submit(fox)
    media = fox.tasks.handle(handle.id, "image")
    rows = duplicate({"row": [handle, media]})
    assert (await rows["row"][0]).text == "1, 2, 3"
    assert rows["row"] == [handle, media]
    assert handle.done()


@every_way
async def test_what_the_service_said_is_copied_whole(
    fox: FoxSession, duplicate: Callable[[Any], Any]
) -> None:
    """Completions, deltas, snapshots and figures are equal to their copies, raw bytes included."""
    handle = await submit(fox)
    async with handle.stream() as stream:
        deltas = [delta async for delta in stream]
        said = stream.snapshot()
    completion = await handle
    for value in (completion, *deltas, said, handle.task, fox.stats()):
        copied = duplicate(value)
        assert type(copied) is type(value)
        assert copied == value
    assert duplicate(completion).raw == completion.raw
    assert duplicate(completion).source == completion.source


@every_way
async def test_what_is_tied_to_a_connection_refuses_to_be_copied(
    fox: FoxSession, duplicate: Callable[[Any], Any]
) -> None:
    """A copy of a session, a stream or an iterator is refused with a way out, and harms nothing."""
    handle = await submit(fox)
    stream, finished, updates = handle.stream(), as_completed([handle]), handle.updates()
    for tied in (fox, stream, finished, updates):
        with pytest.raises(TypeError, match="can be neither copied nor pickled"):
            duplicate(tied)
    assert "".join([delta.text async for delta in stream]) == "1, 2, 3"
    assert [one async for one in finished] == [handle]
    assert [task.status async for task in updates][-1] == "completed"
