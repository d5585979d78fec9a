"""Laws of Ctrl-C: every wait ends at once, and nothing that is billed is lost."""

import gc
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from foxapi_async.sync import FoxSession, LLMHandle, as_completed
from foxapi_async.sync._loop_thread import BlockingCall, LoopThread
from foxapi_async.testing import BackgroundGateway

NEVER = "count 1 to 100000"

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="no signal can be sent to one thread on Windows"
)


@contextmanager
def interrupted(when: Callable[[], bool]) -> Iterator[None]:
    """Expect the block to end by Ctrl-C, which comes as soon as ``when`` holds."""

    def interrupt() -> None:
        while not when():
            pass
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    thread = threading.Thread(target=interrupt, daemon=True)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        yield
    thread.join(5)


def until(holds: Callable[[], object]) -> None:
    """Return when the condition holds; the timeout of the test is the limit."""
    while not holds():
        pass


def submit(fox: FoxSession, messages: str = NEVER, **params: Any) -> LLMHandle:
    """Submit a generation that takes very long."""
    return fox.llm.submit(model="gpt-5.5", messages=messages, **params)


def parse(_: FoxSession, handle: LLMHandle) -> object:
    """Wait for a handle, and parse its answer."""
    return handle.parse(list[int])


WAITS: dict[str, Callable[[FoxSession, LLMHandle], object]] = {
    "result": lambda _, handle: handle.result(),
    "parse": parse,
    "result with a timeout": lambda _, handle: handle.result(timeout=100),
    "as_completed": lambda _, handle: list(as_completed([handle])),
    "updates": lambda _, handle: list(handle.updates()),
}


@pytest.mark.parametrize("wait", WAITS)
def test_ctrl_c_ends_a_wait(fox: FoxSession, wait: str) -> None:
    """No wait is left in the session, and the handle can be waited for again."""
    handle = submit(fox)
    with interrupted(lambda: fox.stats().waiting == 1):
        WAITS[wait](fox, handle)
    # An iterator lives as long as the traceback that has it.
    gc.collect()
    assert fox.stats().waiting == 0
    assert handle.refresh().id == handle.id


def test_ctrl_c_in_a_submit_leaves_the_handle_unclaimed(
    fox: FoxSession, served: BackgroundGateway
) -> None:
    """The POST that was under way is accepted later, and its handle is in ``fox.unclaimed``."""
    served.faults.add("submit:slow:seconds=0.05,size=100")
    with pytest.warns(RuntimeWarning, match=r"in fox\.unclaimed"):
        with interrupted(lambda: len(served.billed) == 1):
            submit(fox, "count 1 to 3")
        until(lambda: fox.unclaimed)
    (handle,) = fox.unclaimed
    assert handle.id == served.billed[0]
    assert handle.result().text == "1, 2, 3"
    assert fox.unclaimed == ()


def test_ctrl_c_while_handles_are_submitted_loses_none(
    fox: FoxSession, served: BackgroundGateway
) -> None:
    """What was submitted before comes from the next steps, and the rest is in ``fox.unclaimed``."""
    served.faults.add("submit:slow:seconds=0.05,size=100")

    def handles() -> Iterator[LLMHandle]:
        for _ in range(3):
            yield submit(fox, "count 1 to 3")

    finished = as_completed(handles())
    with pytest.warns(RuntimeWarning, match=r"in fox\.unclaimed"):
        with interrupted(lambda: len(served.billed) == 2):
            next(finished)
        until(lambda: fox.unclaimed)
    taken = [handle.id for handle in finished]
    assert sorted([*taken, *(handle.id for handle in fox.unclaimed)]) == sorted(served.billed)


def test_ctrl_c_in_generate_leaves_the_handle_unclaimed(
    fox: FoxSession, served: BackgroundGateway
) -> None:
    """The task goes on, and the session has its handle."""
    with interrupted(lambda: fox.stats().waiting == 1):
        fox.llm.generate(model="gpt-5.5", messages=NEVER)
    (handle,) = fox.unclaimed
    assert (handle.id,) == served.billed


def test_ctrl_c_in_parse_leaves_the_handle_unclaimed(
    fox: FoxSession, served: BackgroundGateway
) -> None:
    """The answer is read from the handle later."""
    with interrupted(lambda: fox.stats().waiting == 1):
        fox.llm.parse(list[int], model="gpt-5.5", messages=NEVER)
    (handle,) = fox.unclaimed
    assert (handle.id,) == served.billed
    assert handle.refresh().id == handle.id


def test_ctrl_c_in_map_ends_it(fox: FoxSession, served: BackgroundGateway) -> None:
    """No wait is left; the rows that were submitted are unclaimed, and no other row is sent."""
    rows = [NEVER, NEVER, NEVER, NEVER]
    mapped = fox.llm.map(rows, model="gpt-5.5", messages=lambda row: row, in_flight=2)
    with interrupted(lambda: fox.stats().waiting == 2):
        list(mapped)
    # Another loop over it would go on with the next row.
    del mapped
    gc.collect()
    until(lambda: fox.stats().waiting == 0)
    assert len(served.billed) == 2
    assert {handle.id for handle in fox.unclaimed} == set(served.billed)


def test_ctrl_c_in_partials_ends_them(fox: FoxSession, served: BackgroundGateway) -> None:
    """The stream is closed, and the handle gives the answer."""
    served.faults.add("stream:stall:chunk=1,times=1")
    handle = submit(fox, "count 1 to 3", stream=True)
    # A rule that has not acted on this stream would stall the one that `result` opens.
    with interrupted(lambda: served.faults.hits == (1,)), handle.stream() as stream:
        list(stream.partials(list[int]))
    assert fox.stats().streams == 0
    assert handle.result().text == "1, 2, 3"


def test_ctrl_c_in_a_stream_loses_no_chunk(fox: FoxSession, served: BackgroundGateway) -> None:
    """The loop goes on with the next chunk, however often it is interrupted."""
    served.faults.add("stream:stall:seconds=0.05,chunk=5")
    texts: list[str] = []
    with submit(fox, "count 1 to 20", stream=True).stream() as stream:
        with interrupted(lambda: len(texts) == 5):
            texts.extend(delta.text for delta in Appending(stream, texts))
        texts += [delta.text for delta in stream]
    assert "".join(texts) == ", ".join(str(number) for number in range(1, 21))


class Appending:
    """Iterates over a stream and notes each text before the next read."""

    def __init__(self, stream: Any, texts: list[str]) -> None:
        self._stream = iter(stream)
        self._texts = texts

    def __iter__(self) -> Iterator[Any]:
        while True:
            self._texts.append(next(self._stream).text)
            yield from ()


def test_ctrl_c_while_closing_closes(served: BackgroundGateway) -> None:
    """A close that waits for a POST is cut short, and the thread ends nevertheless."""
    served.faults.add("submit:stall")
    fox = FoxSession(served.key, base_url=served.url)
    submitting = threading.Thread(target=lambda: _swallow(lambda: submit(fox)))
    submitting.start()
    until(lambda: fox.stats().submits_in_flight == 1)
    with interrupted(lambda: "closed" in repr(fox)):
        fox.close()
    submitting.join(5)
    assert not submitting.is_alive()
    fox.close()


def _swallow(call: Callable[[], object]) -> None:
    with pytest.raises(Exception, match=r"submit|session"):
        call()


def test_a_result_that_comes_with_ctrl_c_is_kept() -> None:
    """A call that ends before its cancellation gives its result to ``on_undelivered``."""
    thread = LoopThread()
    kept: list[str] = []
    ended = threading.Event()

    def keep(result: str) -> None:
        kept.append(result)
        ended.set()

    class Interrupted(BlockingCall[str]):
        """A call whose wait is interrupted just after the result has come."""

        def _end(self, result: str | None, error: BaseException | None) -> None:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            super()._end(result, error)

    async def handle() -> str:
        return "handle"

    for function in (handle, lambda: "handle"):
        ended.clear()
        with pytest.raises(KeyboardInterrupt):
            Interrupted(thread, function, keep).run()
        assert ended.wait(5)
    assert kept == ["handle", "handle"]
    thread.stop()
    thread.join()


def test_an_undelivered_result_becomes_unclaimed(fox: FoxSession) -> None:
    """A handle, and the completion of ``generate``, lead to their billed tasks."""
    inside: Any = fox
    caller = inside._caller
    handle: Any = submit(fox, "count 1 to 3")
    completion = fox.llm.generate(model="gpt-5.5", messages="count 1 to 2")
    assert completion.task
    caller.call(caller._add_unclaimed, handle._async)
    caller.call(caller._add_unclaimed, completion)
    assert [one.id for one in fox.unclaimed] == [handle.id, completion.task.id]
