"""The blocking API as the type checkers see it: right uses have their types, wrong ones are errors.

Nothing here runs. An unused ``type: ignore`` is an error, so each of them is a test.
"""

from collections.abc import Iterator
from typing import Any, assert_type

from foxapi_async import ChatCompletion, Delta, MediaResults, Stats, Task
from foxapi_async.sync import (
    ChatStream,
    CompletionProgress,
    FoxSession,
    LLMHandle,
    Recovery,
    TaskHandle,
    as_completed,
)


def right(fox: FoxSession) -> None:
    """Every verb has one return type."""
    handle = fox.llm.submit(model="gpt-5.5", messages="hi", max_tokens=64, key="row")
    assert_type(handle, LLMHandle)
    assert_type(handle.result(timeout=5), ChatCompletion)
    assert_type(handle.refresh(), Task)
    assert_type(handle.updates(), Iterator[Task])
    assert_type(handle.stream(), ChatStream)
    for delta in handle.stream():
        assert_type(delta, Delta)
    with fox.llm.stream(model="gpt-5.5", messages="hi") as stream:
        assert_type(stream, ChatStream)
        assert_type(stream.handle, LLMHandle)
        assert_type(stream.completion(), ChatCompletion)
        assert_type(next(stream), Delta)
    assert_type(fox.llm.generate(model="gpt-5.5", prompt="hi", timeout=5), ChatCompletion)
    assert_type(fox.tasks.handle("task-1"), LLMHandle)
    video = fox.tasks.handle("task-1", kind="video")
    assert_type(video, TaskHandle[MediaResults])
    assert_type(video.result(), MediaResults)
    assert_type(fox.images.submit(model="m", prompt="a fox", n=2), TaskHandle[MediaResults])
    assert_type(fox.videos.generate(model="m", prompt="a fox", timeout=5), MediaResults)
    assert_type(fox.recover(), Recovery)
    assert_type(fox.recover().handles, tuple[LLMHandle | TaskHandle[MediaResults], ...])
    assert_type(fox.stats(), Stats)
    assert_type(handle.bind(fox), LLMHandle)
    with fox.with_options(validation="off") as copy:
        assert_type(copy, FoxSession)
    fox.close()


def many(handles: list[LLMHandle]) -> None:
    """Keep the class of handles in an iterator, and give blocking handles to progress."""

    def progress(event: CompletionProgress) -> None:
        assert_type(event.handle, TaskHandle[Any])

    for handle in as_completed(handles, progress=progress):
        assert_type(handle, LLMHandle)


async def wrong(fox: FoxSession, handle: LLMHandle) -> None:
    """Await no blocking object, and use no unknown keyword."""
    await handle  # type: ignore[misc]
    await handle.result()  # type: ignore[misc]
    async with fox:  # type: ignore[attr-defined]
        pass
    fox.llm.submit(model="gpt-5.5", mesages="hi")  # type: ignore[call-overload]
    fox.aclose()  # type: ignore[attr-defined]
    FoxSession(http=None)  # type: ignore[call-arg]
