"""The journal against a simple model: whatever happens in whatever order, the file agrees."""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from foxapi_async._journal import EntryId, FinalRecord, Intent, Stage
from foxapi_async._journal.backends import parse_location
from foxapi_async._journal.journal_writer import JournalWriter
from foxapi_async._wire.task import task_decoder
from foxapi_async.errors import FoxAPIError

SERVICE = "http://s"
KEYS = st.sampled_from(["a", "b", "ключ", None])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("intend"), KEYS),
        st.tuples(
            st.sampled_from(["accept", "refuse", "doubt", "lose", "finish"]), st.integers(0, 30)
        ),
        st.tuples(st.sampled_from(["crash", "reopen"]), st.none()),
    ),
    max_size=25,
)


class Model:
    """What a journal must hold: the stage of each entry, and who holds each key."""

    def __init__(self) -> None:
        self.stages: dict[EntryId, Stage] = {}
        self.keys: dict[EntryId, str | None] = {}

    def holder(self, key: str | None) -> EntryId | None:
        """Return the entry that holds a key, if it is a key and is taken."""
        if key is None:
            return None
        return next((entry_id for entry_id, its in self.keys.items() if its == key), None)

    def intend(self, entry_id: EntryId, key: str | None) -> None:
        """Take in a new entry; a refused one with its key makes way."""
        former = self.holder(key)
        if former is not None:
            del self.keys[former], self.stages[former]
        self.keys[entry_id], self.stages[entry_id] = key, Stage.SENT

    def end_run(self) -> None:
        """Give up what was sent and not settled: it will never be known."""
        for entry_id, stage in self.stages.items():
            if stage is Stage.SENT:
                self.stages[entry_id] = Stage.UNKNOWN


async def crash(journal: Any) -> None:
    """End a process as far as the file can tell: its mark goes, and nothing more is written."""
    if journal._committer is not None:
        await journal._committer._thread.aclose()
    journal._committer = None
    await journal.aclose()


async def play(file: Path, steps: list[tuple[str, Any]]) -> None:
    """Do the steps to a journal and to the model."""
    model, journal = Model(), JournalWriter(parse_location(file))
    await journal.open()
    for number, (what, choice) in enumerate(steps):
        if what == "intend":
            intent = Intent(service=SERVICE, key=choice, model="m", body=b"{}", sent_at=number)
            answer = await journal.record_intent(intent)
            former = model.holder(choice)
            if former is not None and model.stages[former] is not Stage.REFUSED:
                assert not isinstance(answer, EntryId)
                assert answer.id == former
            else:
                assert isinstance(answer, EntryId)
                model.intend(answer, choice)
        elif what in {"crash", "reopen"}:
            await (crash(journal) if what == "crash" else journal.aclose())
            model.end_run()
            journal = JournalWriter(parse_location(file))
        else:
            await settle(journal, model, what, choice)
        found = {entry.id: entry.stage for entry in await journal.entries()}
        assert found == model.stages
        for key in {key for key in model.keys.values() if key is not None}:
            entry = await journal.find(SERVICE, key)
            assert entry is not None
            assert (entry.id, entry.stage) == (model.holder(key), found[entry.id])
    await journal.aclose()


async def settle(journal: JournalWriter, model: Model, what: str, choice: int) -> None:
    """Take the next step of one entry that can take it."""
    before = {"finish": {Stage.ACCEPTED, Stage.LOST}, "lose": {*Stage} - {Stage.SENT}}
    ready = [
        entry_id
        for entry_id, stage in model.stages.items()
        if stage in before.get(what, {Stage.SENT})
    ]
    if not ready:
        return
    entry_id = ready[choice % len(ready)]
    status = "completed" if what == "finish" else "pending"
    task = task_decoder.decode(
        b'{"id": "%s", "status": "%s", "model": "m"}' % (str(entry_id).encode(), status.encode())
    )
    if what == "accept":
        await journal.record_accepted(entry_id, task)
        model.stages[entry_id] = Stage.ACCEPTED
    elif what == "refuse":
        await journal.record_refused(entry_id, FoxAPIError("no"))
        model.stages[entry_id] = Stage.REFUSED
    elif what == "doubt":
        await journal.record_unknown(entry_id, FoxAPIError("lost"))
        model.stages[entry_id] = Stage.UNKNOWN
    else:
        await journal.open()
        if what == "finish":
            journal.record_finished(FinalRecord(service=SERVICE, stage=Stage.COMPLETED, task=task))
            model.stages[entry_id] = Stage.COMPLETED
        else:
            journal.record_lost(SERVICE, task.id, FoxAPIError("404"))
            if model.stages[entry_id] is Stage.ACCEPTED:
                model.stages[entry_id] = Stage.LOST
        await journal.record_accepted(EntryId("unknown", 1), task)  # the next commit takes it along


@settings(max_examples=40)
@given(STEPS)
def test_the_file_agrees_with_the_model(steps: list[tuple[str, Any]]) -> None:
    """After each step, crashes included, entries and keys are what the steps say."""
    with TemporaryDirectory() as folder:
        asyncio.run(play(Path(folder, "tasks.db"), steps))
