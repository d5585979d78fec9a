"""Laws of blocking calls: they do what the asynchronous ones do, in any thread."""

import contextvars
import copy
import gc
import pickle
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from foxapi_async import (
    ChatCompletion,
    ConfigError,
    PollPolicy,
    SessionClosedError,
    Task,
    TaskFailedError,
    TaskTimeoutError,
    TransferProgress,
    UnboundHandleError,
)
from foxapi_async.errors import RequestValidationError, StreamConsumedError
from foxapi_async.hooks import Event, TaskSubmitted
from foxapi_async.sync import (
    ChatStream,
    CompletionProgress,
    FoxSession,
    LLMHandle,
    TaskHandle,
    as_completed,
)
from foxapi_async.testing import BackgroundGateway

NEVER = "count 1 to 100000"


def submit(fox: FoxSession, last: int = 3, **params: Any) -> LLMHandle:
    """Submit a generation that counts."""
    return fox.llm.submit(model="gpt-5.5", messages=f"count 1 to {last}", **params)


def loop_threads() -> list[threading.Thread]:
    """Return the threads of blocking sessions."""
    return [thread for thread in threading.enumerate() if thread.name == "foxapi-sync"]


def open_session(served: BackgroundGateway, **settings: Any) -> FoxSession:
    """Build a session without opening it."""
    return FoxSession(served.key, base_url=served.url, **settings)


def test_a_generation_is_submitted_and_awaited(fox: FoxSession) -> None:
    """Submit, result, generate, get, refresh and list return what the asynchronous calls return."""
    handle = submit(fox)
    completion = handle.result()
    assert isinstance(completion, ChatCompletion)
    assert completion.text == "1, 2, 3"
    assert handle.done()
    assert handle.result(timeout=0) is completion
    assert fox.llm.generate(model="gpt-5.5", messages="count 1 to 2").text == "1, 2"
    assert isinstance(fox.tasks.get(handle.id), Task)
    assert handle.refresh().id == handle.id
    assert fox.models.list()
    assert fox.stats().tasks == 2
    assert [task.status for task in handle.updates()] == ["completed"]


def test_a_stream_is_read_by_a_loop(fox: FoxSession) -> None:
    """The deltas are those of the text, and the stream has its position and its handle."""
    handle = submit(fox, 5, stream=True)
    assert "".join(delta.text for delta in handle.stream()) == "1, 2, 3, 4, 5"
    with fox.llm.stream(model="gpt-5.5", messages="count 1 to 5") as stream:
        first = next(stream)
        assert stream.offset == 1
        assert isinstance(stream.handle, LLMHandle)
        assert stream.snapshot().text == first.text
        rest = stream.handle.stream(resume=stream.cursor)
        assert first.text + "".join(delta.text for delta in rest) == "1, 2, 3, 4, 5"
        assert stream.completion().text == "1, 2, 3, 4, 5"
    with pytest.raises(StreamConsumedError):
        next(stream)


def test_handles_come_as_they_finish(fox: FoxSession) -> None:
    """Each handle comes once, is equal to the submitted one, and progress has it too."""
    handles = [submit(fox, last) for last in (2, 3, 4)]
    seen: list[CompletionProgress] = []
    finished = list(as_completed(iter(handles), progress=seen.append))
    assert set(finished) == set(handles)
    assert [handle.result().text for handle in handles] == ["1, 2", "1, 2, 3", "1, 2, 3, 4"]
    assert {one.handle for one in seen} == set(handles)
    assert list(as_completed([])) == []


def test_an_iterator_of_handles_may_submit_them(fox: FoxSession) -> None:
    """It is read in the thread that takes them, and at most ``in_flight`` are not taken."""
    read: list[LLMHandle] = []
    taken: list[LLMHandle] = []
    seen: list[CompletionProgress] = []

    def handles() -> Iterator[LLMHandle]:
        for last in range(1, 31):
            read.append(submit(fox, last))
            yield read[-1]

    for handle in as_completed(handles(), in_flight=4, progress=seen.append):
        taken.append(handle)
        assert len(read) - len(taken) < 4
    assert set(taken) == set(read)
    assert len(read) == 30
    assert {one.handle for one in seen} == set(read)
    assert {one.total for one in seen} == {None}


def test_threads_share_an_iterator_that_submits(fox: FoxSession) -> None:
    """One of them reads it at a time, and each handle goes to one of them."""

    def handles() -> Iterator[LLMHandle]:
        for last in range(1, 25):
            yield submit(fox, last)

    finished = as_completed(handles(), in_flight=3)
    with ThreadPoolExecutor(4) as pool:
        shares = list(pool.map(lambda _: list(finished), range(4)))
    texts = {handle.result().text for share in shares for handle in share}
    assert len(texts) == sum(map(len, shares)) == 24


def test_an_iterator_that_raises_loses_no_handle(fox: FoxSession) -> None:
    """Its error comes after the handles that it has yielded."""

    def handles() -> Iterator[LLMHandle]:
        yield submit(fox)
        yield submit(fox)
        raise OSError("the disk is gone")

    finished = as_completed(handles())
    assert {next(finished).result().text for _ in range(2)} == {"1, 2, 3"}
    with pytest.raises(OSError, match="the disk is gone"):
        next(finished)
    assert list(finished) == []
    assert list(as_completed(iter([]))) == []
    with pytest.raises(ConfigError, match="in_flight"):
        as_completed(iter([]), in_flight=0)
    numbers: Any = iter([3])
    with pytest.raises(TypeError, match="got int: pass what"):
        list(as_completed(numbers))


def test_what_progress_raises_comes_out_of_the_loop(fox: FoxSession) -> None:
    """A mistake in the callable is raised in the thread that iterates."""

    def broken(_: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(as_completed([submit(fox)], progress=broken))


def test_a_half_taken_iterator_ends_its_waits(fox: FoxSession) -> None:
    """Leaving a loop over ``as_completed``, updates or a stream leaves no wait and no stream."""
    handles = [submit(fox), submit(fox, stream=True)]
    for _ in as_completed([handles[0], submit(fox, 100_000)]):
        break
    for _ in handles[1].updates():
        break
    for _ in handles[1].stream():
        break
    assert fox.stats().waiting == 0
    assert fox.stats().streams == 0


def test_a_named_stream_that_is_dropped_half_read_warns(fox: FoxSession) -> None:
    """The warning of the asynchronous stream is raised by the blocking one."""
    stream: ChatStream | None = submit(fox, 50, stream=True).stream()
    assert stream is not None
    next(stream)
    with pytest.warns(ResourceWarning, match="dropped half-read"):
        stream = None
        assert fox.stats().streams == 0
    assert stream is None


def test_an_error_keeps_its_type_its_attributes_and_both_stacks(
    fox: FoxSession, served: BackgroundGateway
) -> None:
    """The traceback names the call of the user and the place in the session."""
    served.faults.add("submit:fail:code=timeout")
    handle = submit(fox)
    with pytest.raises(TaskFailedError) as failed:
        handle.result()
    assert failed.value.task_id == handle.id
    shown = "".join(traceback.format_exception(failed.value))
    assert "handle.result()" in shown
    assert "handle.py" in shown
    assert len(shown.splitlines()) < 40
    with pytest.raises(RequestValidationError):
        fox.llm.submit(model="gpt-5.5", messages=[])
    misspelt: Any = fox.llm.submit
    with pytest.raises(TypeError, match="did you mean"):
        misspelt(model="gpt-5.5", mesages="hi")


def test_an_error_leaves_no_cycle(fox: FoxSession) -> None:
    """A raised error is freed by its reference count, with the frames that it has."""
    gc.collect()
    gc.disable()
    try:
        misspelt: Any = fox.llm.submit
        text = ""
        try:
            misspelt(model="gpt-5.5", mesages="hi")
        except TypeError as error:
            text = str(error)
        found = [one for one in gc.get_objects() if isinstance(one, TypeError)]
        assert text not in map(str, found)
    finally:
        gc.enable()


def test_a_wait_ends_after_its_timeout(fox: FoxSession) -> None:
    """``result(timeout)`` raises ``TaskTimeoutError``, and the handle can be waited for again."""
    handle = fox.llm.submit(model="gpt-5.5", messages=NEVER)
    with pytest.raises(TaskTimeoutError):
        handle.result(timeout=0.01)
    assert not handle.done()


def test_a_key_gives_an_equal_handle(fox: FoxSession) -> None:
    """Two submits with one key return equal handles of one task."""
    first, second = submit(fox, key="row"), submit(fox, key="row")
    assert first == second
    assert len({first, second}) == 1
    assert first != submit(fox)
    assert fox.stats().tasks == 2


def test_a_handle_is_pickled_and_bound(fox: FoxSession) -> None:
    """An unpickled handle says that it is unbound, and works when it is bound."""
    handle = submit(fox)
    again: LLMHandle = pickle.loads(pickle.dumps(handle))
    assert (type(again), again.id) == (LLMHandle, handle.id)
    with pytest.raises(UnboundHandleError, match="bind"):
        again.result()
    with pytest.raises(UnboundHandleError, match="bind"):
        list(as_completed([again]))
    assert again.bind(fox) is again
    assert again.result().text == "1, 2, 3"
    assert copy.deepcopy([handle]) == [handle]
    video = fox.tasks.handle("task-video-1-a", kind="video")
    assert isinstance(pickle.loads(pickle.dumps(video)), TaskHandle)


def test_a_session_is_neither_copied_nor_pickled(fox: FoxSession) -> None:
    """So is a stream; the error names what to use in their place."""
    objects: list[object] = [fox, fox.llm, submit(fox, stream=True).stream(), as_completed([])]
    for one in objects:
        with pytest.raises(TypeError):
            pickle.dumps(one)


def test_a_journal_is_recovered(
    served: BackgroundGateway, fast_polling: PollPolicy, tmp_path: Path
) -> None:
    """``recover`` returns blocking handles of the tasks that an earlier session left."""
    journal = tmp_path / "tasks.db"
    with open_session(served, journal=journal) as fox:
        left = submit(fox, key="row")
    with open_session(served, journal=journal, polling=fast_polling) as fox:
        (handle,) = fox.recover().handles
        assert isinstance(handle, LLMHandle)
        assert (handle.id, handle.result().text) == (left.id, "1, 2, 3")


def test_options_are_changed_by_a_copy(fox: FoxSession, served: BackgroundGateway) -> None:
    """A copy shares the connections, and closing it closes nothing."""
    events: list[Event] = []
    loud = fox.with_options(hooks=[events.append])
    assert isinstance(loud, FoxSession)
    submit(loud)
    loud.close()
    assert fox.stats().tasks == 1
    assert any(isinstance(event, TaskSubmitted) for event in events)
    assert len(served.billed) == 1


def test_threads_share_a_session(fox: FoxSession, served: BackgroundGateway) -> None:
    """Calls of many threads run at the same time in one loop thread."""

    def generate(last: int) -> str:
        return submit(fox, last).result().text

    with ThreadPoolExecutor(16) as pool:
        texts = list(pool.map(generate, [2 + number % 5 for number in range(64)]))
    assert [len(text.split(", ")) for text in texts] == [2 + number % 5 for number in range(64)]
    assert len(set(served.billed)) == 64
    assert len(loop_threads()) == 1


def test_threads_take_from_one_iterator(fox: FoxSession) -> None:
    """Each handle of ``as_completed`` goes to one of them."""
    handles = [submit(fox) for _ in range(12)]
    finished = as_completed(handles)
    with ThreadPoolExecutor(4) as pool:
        shares = [share.result() for share in [pool.submit(list, finished) for _ in range(4)]]
    taken = [handle for share in shares for handle in share]
    assert len(taken) == 12
    assert set(taken) == set(handles)


def test_sessions_share_the_thread(served: BackgroundGateway, fox: FoxSession) -> None:
    """It runs until the last session is closed, and handles of both finish in one iterator."""
    with open_session(served) as other:
        handles = [submit(fox), submit(other)]
        assert {handle.result().text for handle in as_completed(handles)} == {"1, 2, 3"}
        assert len(loop_threads()) == 1
    assert len(loop_threads()) == 1
    fox.close()
    assert not loop_threads()


def test_a_hook_is_called_in_the_loop_thread_and_the_context_of_the_caller(
    served: BackgroundGateway,
) -> None:
    """A hook sees the context variables of the submit."""
    variable = contextvars.ContextVar("variable", default="none")
    seen: set[tuple[str, str]] = set()

    def hook(event: Event) -> None:
        if isinstance(event, TaskSubmitted):
            seen.add((threading.current_thread().name, variable.get()))

    with open_session(served, hooks=[hook]) as fox:
        variable.set("mine")
        submit(fox)
    assert seen == {("foxapi-sync", "mine")}


def test_a_blocking_call_in_a_hook_is_an_error(
    served: BackgroundGateway, caplog: pytest.LogCaptureFixture
) -> None:
    """It would wait for itself; reading counters and known results works."""
    known: list[str] = []

    def hook(event: Event) -> None:
        if isinstance(event, TaskSubmitted):
            known.append(f"{fox.stats().tasks} {done.result().text}")
            fox.llm.submit(model="gpt-5.5", messages="count 1 to 2")

    with open_session(served) as fox:
        done = submit(fox)
        done.result()
        fox.with_options(hooks=[hook]).llm.submit(model="gpt-5.5", messages="count 1 to 2")
    assert known == ["2 1, 2, 3"]
    assert "it would wait for itself" in caplog.text
    assert len(served.billed) == 2


def test_a_session_is_not_closed_by_its_hook(served: BackgroundGateway) -> None:
    """Closing there would wait for itself too."""
    errors: list[Exception] = []

    def progress(_: CompletionProgress) -> None:
        try:
            fox.close()
        except RuntimeError as error:
            errors.append(error)

    with open_session(served) as fox:
        list(as_completed([submit(fox)], progress=progress))
    assert len(errors) == 1


def test_a_block_that_an_error_leaves_closes_the_session(served: BackgroundGateway) -> None:
    """The error passes, the thread has ended, and later calls are refused."""
    fox = open_session(served)
    handle = submit(fox)
    with pytest.raises(ZeroDivisionError), fox:
        handle.result()
        raise ZeroDivisionError
    assert not loop_threads()
    with pytest.raises(SessionClosedError):
        submit(fox)
    assert handle.result().text == "1, 2, 3"
    assert fox.stats().tasks == 1
    fox.close()


def test_closing_wakes_the_waits_of_other_threads(served: BackgroundGateway) -> None:
    """They raise ``SessionClosedError``, and several threads may close at a time."""
    fox = open_session(served).__enter__()
    handle = fox.llm.submit(model="gpt-5.5", messages=NEVER)
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(handle.result) for _ in range(2)]
        while fox.stats().waiting < 2:
            pass
        closing = [pool.submit(fox.close) for _ in range(2)]
        for close in closing:
            close.result()
        for wait in waiting:
            with pytest.raises(SessionClosedError):
                wait.result()
    assert not loop_threads()


def test_a_session_that_was_never_used_needs_no_close(served: BackgroundGateway) -> None:
    """It starts no thread; a closed one refuses calls."""
    fox = open_session(served)
    assert not loop_threads()
    fox.close()
    with pytest.raises(SessionClosedError):
        submit(fox)


def test_a_dropped_session_warns_and_is_closed(served: BackgroundGateway) -> None:
    """The warning names ``close()``. A handle keeps the session usable until then."""
    fox: FoxSession | None = open_session(served)
    assert fox is not None
    handle: LLMHandle | None = submit(fox)
    fox = None
    assert handle is not None
    assert handle.result().text == "1, 2, 3"
    with pytest.warns(ResourceWarning, match=r"use `with` or call close\(\)"):
        handle = None
    assert (fox, handle) == (None, None)
    for thread in loop_threads():
        thread.join(5)
    assert not loop_threads()


def test_rows_are_mapped(fox: FoxSession) -> None:
    """Functions of the row and rows of a generator work, and an outcome has a blocking handle."""
    rows = (number for number in range(2, 6))
    outcomes = list(
        fox.llm.map(
            rows,
            model="gpt-5.5",
            messages=lambda row: f"count 1 to {row}",
            ordered=True,
            in_flight=2,
        )
    )
    assert [one.input for one in outcomes] == [2, 3, 4, 5]
    assert all(isinstance(one.handle, LLMHandle) for one in outcomes)
    assert [one.completion and one.completion.text[-1] for one in outcomes] == ["2", "3", "4", "5"]


def test_files_go_and_come_back(fox: FoxSession, tmp_path: Path) -> None:
    """Uploads, downloads, saves and streams of bytes block, and do what the others do."""
    seen: list[TransferProgress] = []
    uploaded = fox.files.upload(b"content", filename="a.txt", progress=seen.append)
    assert seen[-1].done == 7
    path = fox.files.download(uploaded, tmp_path)
    assert path.read_bytes() == b"content"
    assert [saved.name for saved in fox.files.save([uploaded], tmp_path)] == ["a-2.txt"]
    assert b"".join(fox.files.iter_bytes(uploaded)) == b"content"
    with fox.files.iter_bytes(uploaded) as stream:
        assert next(stream) == b"content"
        assert stream.size == 7


def test_each_call_of_a_closed_session_says_so(fox: FoxSession) -> None:
    """What was built before or after the close raises ``SessionClosedError`` at its first step."""
    handle = fox.llm.submit(model="gpt-5.5", messages=NEVER, stream=True)
    stream = handle.stream()
    fox.close()

    def rows() -> object:
        return list(fox.llm.map([1], model="gpt-5.5", messages=str))

    calls: list[Callable[[], object]] = [
        *(handle.result, handle.refresh, lambda: next(stream), lambda: list(handle.stream())),
        *(lambda: list(handle.updates()), lambda: list(as_completed([handle])), rows),
        *(fox.__enter__, fox.models.list, fox.recover, lambda: submit(fox)),
        lambda: fox.llm.parse(int, model="gpt-5.5", messages="x"),
        lambda: list(handle.stream().partials(int)),
    ]
    for call in calls:
        with pytest.raises(SessionClosedError):
            call()
    fox.close()
