"""Laws of a damaged journal: the damage is reported, and no key is billed twice."""

import asyncio
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import pytest

from foxapi_async import (
    FoxAPIError,
    JournalError,
    SubmitOutcomeUnknownError,
    TaskFailedError,
)
from foxapi_async._client.params import LLMParams
from foxapi_async._journal import Entry, Stage, sqlite_tables
from foxapi_async.gateway import Gateway
from foxapi_async.journal import open_journal
from foxapi_async.testing import WHOLE, FaultProxy, Reset

pytestmark = pytest.mark.sqlite_only

SEED = 20261127
FLIPS = 60
CUTS = 10
ROW = "UPDATE foxapi_submissions SET {} WHERE key = 'row-3'"

Damage = Callable[[str], None]


def params(row: int) -> LLMParams:
    """Return what a row asks for; one of them fails."""
    messages = "[[fail:content_policy_violation]]" if row == 1 else f"count 1 to {2 + row}"
    return {"model": "gpt-5.5", "messages": messages, "key": f"row-{row}"}


ROWS = [params(row) for row in range(6)]
"""Rows of every kind: a failed one, completed ones, unfinished ones, and one of unknown outcome."""


@pytest.fixture
async def whole(open_fox: Any, fault_proxy: FaultProxy, file: Path) -> dict[str, Entry]:
    """Make a journal with entries of every kind and return them by their keys."""
    async with open_fox(base_url=fault_proxy.url) as fox:
        for row in ROWS[:4]:
            handle = await fox.llm.submit(**row)
            if row is ROWS[1]:
                with pytest.raises(TaskFailedError):
                    await handle
            elif row is not ROWS[2]:
                await handle
        fault_proxy.on("POST", "*", Reset(request=WHOLE), times=1)
        with pytest.raises(SubmitOutcomeUnknownError):
            await fox.llm.submit(**ROWS[4])
        await fox.llm.submit(**ROWS[5])
    async with open_journal(file) as journal:
        entries = {entry.key or "": entry for entry in await journal.entries()}
    assert len(entries) == len(ROWS)
    return entries


def execute(file: Path, *statements: str) -> None:
    """Write into the file behind the SDK's back."""
    with closing(sqlite3.connect(file)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


async def ends(fox: Any, row: LLMParams) -> str:
    """Return how a submission under a key ends: its task id, or what was raised."""
    try:
        return str((await fox.llm.submit(**row)).id)
    except FoxAPIError as error:
        return f"{type(error).__name__}: {error}"


async def check_rows(fox: Any, whole: dict[str, Entry], name: str) -> None:
    """Check that each key gives its task or an error after the damage ``name``."""
    for row in ROWS:
        entry, end = whole[row.get("key") or ""], await ends(fox, row)
        if entry.stage is Stage.UNKNOWN:
            assert end.startswith(("SubmitOutcomeUnknownError", "JournalError")), name
        else:
            assert end == entry.task_id or end.startswith("JournalError"), name


def damages(size: int, seed: int = SEED) -> Iterator[tuple[str, Callable[[bytearray], None]]]:
    """Yield some damages of a file of ``size`` bytes, with what to call each."""
    random = Random(seed)  # noqa: S311 a reproducible sample

    def flip(at: int, by: int) -> Callable[[bytearray], None]:
        def damage(data: bytearray) -> None:
            data[at] ^= by

        return damage

    def cut(at: int) -> Callable[[bytearray], None]:
        def damage(data: bytearray) -> None:
            del data[at:]

        return damage

    for _ in range(FLIPS):
        at, by = random.randrange(size), random.randrange(1, 256)
        yield f"byte {at} xor {by:#x}", flip(at, by)
    for at in (1, 99, 511, 512, 4095, 4096, *random.sample(range(1, size), CUTS)):
        yield f"cut at {at}", cut(at)


async def test_no_damage_misleads_or_pays_twice(
    open_fox: Any, fault_proxy: FaultProxy, file: Path, whole: dict[str, Entry]
) -> None:
    """Whatever is flipped or cut gives the right answer or ``JournalError``, and sends nothing."""
    original = await asyncio.to_thread(file.read_bytes)
    posts = fault_proxy.count("POST")
    names = {str(entry.id): entry for entry in whole.values()}
    reported = 0
    for name, damage in damages(len(original)):
        data = bytearray(original)
        damage(data)
        await asyncio.to_thread(file.write_bytes, data)
        try:
            async with open_journal(file) as journal:
                entries = await journal.entries()
                assert [entry async for entry in journal.scan()] == entries, name
        except JournalError:
            reported += 1
        else:
            assert len(entries) == len(names), name
            for entry in entries:
                if entry.stage is not Stage.UNREADABLE:
                    assert names[str(entry.id)] == entry, name
                else:
                    reported += 1
                    assert str(entry.id) in names, name
        try:
            async with open_fox(base_url=fault_proxy.url) as fox:
                recovery = await fox.recover(finished=True)
                found = {handle.id for handle in recovery.handles}
                found |= {lost.entry for lost in (*recovery.unknown, *recovery.unreadable)}
                assert len(found) == len(ROWS), name
                await check_rows(fox, whole, name)
        except JournalError:
            pass
        assert fault_proxy.count("POST") == posts, name
        await asyncio.to_thread(shutil.rmtree, file.parent)
        await asyncio.to_thread(file.parent.mkdir)
    assert reported > FLIPS / 10


@pytest.mark.parametrize(
    "change",
    [
        "stage = 'compleTed'",
        "stage = CAST(x'ff' AS TEXT)",
        "model = CAST(x'67ff' AS TEXT)",
        "model = x'67'",
        "fingerprint = '0' || substr(fingerprint, 2)",
        "sent_at = sent_at + 1",
        "task = CAST(task AS TEXT)",
        "task = x'7b'",
        "streamed_completion = x'ff'",
        "body = '{}'",
        "streamed = 7",
        "seal = NULL",
        "seal = 'text'",
        "content_seal = 1",
    ],
)
async def test_a_damaged_row_stops_nothing_else(
    open_fox: Any,
    fault_proxy: FaultProxy,
    gateway: Gateway,
    file: Path,
    whole: dict[str, Entry],
    change: str,
) -> None:
    """One row that cannot be read is named wherever it is met, and all others go on."""
    entry = whole["row-3"]
    posts = gateway.stats.submits
    await asyncio.to_thread(execute, file, ROW.format(change))
    async with open_fox(base_url=fault_proxy.url) as fox:
        for _ in range(2):
            with pytest.raises(JournalError, match=f"entry {entry.id} .*prune FILE --entry"):
                await fox.llm.submit(**ROWS[3])
        together = await asyncio.gather(
            *(fox.llm.submit(**row) for row in ROWS), return_exceptions=True
        )
        kinds = [type(end).__name__ for end in together]
        assert kinds[3:5] == ["JournalError", "SubmitOutcomeUnknownError"]
        assert {*kinds[:3], kinds[5]} == {"LLMHandle"}
        recovery = await fox.recover(finished=True)
        assert len(recovery.handles) == len(ROWS) - 2
        (unreadable,) = recovery.unreadable
        assert unreadable.entry == str(entry.id)
        assert unreadable.entry in unreadable.advice
        assert gateway.stats.submits == posts
        assert (await fox.llm.generate(**{**ROWS[0], "key": "new"})).text == "1, 2"
    async with open_journal(file) as journal:
        assert await journal.delete([entry.id]) == 1
    async with open_fox(base_url=fault_proxy.url) as fox:
        assert (await fox.recover(finished=True)).unreadable == ()
        await fox.llm.submit(**ROWS[3])
    assert gateway.stats.submits == posts + 2


async def test_many_keys_at_once_name_the_damaged_one(
    open_fox: Any, fault_proxy: FaultProxy, gateway: Gateway, file: Path, whole: dict[str, Entry]
) -> None:
    """A damaged row is the error of its own key, also where many keys are written in one commit."""
    await asyncio.to_thread(execute, file, ROW.format("stage = 'accePted'"))
    posts = gateway.stats.submits
    async with open_fox(base_url=fault_proxy.url) as fox:
        together = await asyncio.gather(
            fox.llm.submit(**ROWS[3]),
            *(fox.llm.submit(**{**ROWS[3], "key": f"new-{row}"}) for row in range(20)),
            return_exceptions=True,
        )
    assert isinstance(together[0], JournalError)
    assert str(whole["row-3"].id) in str(together[0])
    assert not [end for end in together[1:] if isinstance(end, Exception)]
    assert gateway.stats.submits == posts + 20


async def test_damage_is_not_written_over(
    open_fox: Any, fault_proxy: FaultProxy, gateway: Gateway, file: Path, whole: dict[str, Entry]
) -> None:
    """The end of a task leaves its row as damaged as it was, should another member be wrong."""
    entry = whole["row-2"]
    async with open_fox(base_url=fault_proxy.url) as fox:
        (handle, *_) = [
            handle for handle in (await fox.recover()).handles if handle.id == entry.task_id
        ]
        change = "UPDATE foxapi_submissions SET fingerprint = 'x' WHERE key = 'row-2'"
        await asyncio.to_thread(execute, file, change)
        await handle
    async with open_journal(file) as journal:
        (found,) = await journal.lookup("row-2")
    assert (found.stage, found.id) == (Stage.UNREADABLE, entry.id)
    assert gateway.stats.submits == len(ROWS)


async def test_no_damage_of_a_large_file_pays_twice(
    open_fox: Any,
    fault_proxy: FaultProxy,
    file: Path,
    whole: dict[str, Entry],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A file that is too large to be read at the opening sends nothing twice when damaged."""
    monkeypatch.setattr(sqlite_tables, "_SMALL", 0)
    original = await asyncio.to_thread(file.read_bytes)
    posts = fault_proxy.count("POST")
    for name, damage in damages(len(original), SEED + 1):
        data = bytearray(original)
        damage(data)
        await asyncio.to_thread(file.write_bytes, data)
        try:
            async with open_fox(base_url=fault_proxy.url) as fox:
                await check_rows(fox, whole, name)
        except JournalError:
            pass
        assert fault_proxy.count("POST") == posts, name
        await asyncio.to_thread(shutil.rmtree, file.parent)
        await asyncio.to_thread(file.parent.mkdir)


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("is_large", [False, True])
async def test_an_index_that_has_lost_a_key_stops_submitting(
    open_fox: Any,
    fault_proxy: FaultProxy,
    file: Path,
    whole: dict[str, Entry],
    monkeypatch: pytest.MonkeyPatch,
    index: int,
    is_large: bool,
) -> None:
    """A key that one of its indexes does not find is never taken for a free key."""
    entry = whole["row-3"]
    if is_large:
        monkeypatch.setattr(sqlite_tables, "_SMALL", 0)
    posts = fault_proxy.count("POST")

    def damage() -> None:
        data = file.read_bytes()
        # In the table the kind follows the key, in the indexes it does not.
        places = [
            at
            for at in range(len(data))
            if data.startswith(b"row-3", at) and not data.startswith(b"llm", at + 5)
        ]
        assert len(places) == 2
        at = places[index]
        file.write_bytes(data[:at] + b"rov" + data[at + 3 :])

    await asyncio.to_thread(damage)
    reported = ""
    try:
        async with open_fox(base_url=fault_proxy.url) as fox:
            reported = await ends(fox, ROWS[3])
    except JournalError as error:
        assert not is_large
        reported = f"JournalError: {error}"
    # The index that is whole may be the one that is asked: then the task is found.
    found = is_large and reported == entry.task_id
    assert found or re.search(r"JournalError: .*is damaged.*\.recover", reported)
    assert fault_proxy.count("POST") == posts


async def test_a_journal_without_checksums_gets_them(
    open_fox: Any, fault_proxy: FaultProxy, gateway: Gateway, file: Path, whole: dict[str, Entry]
) -> None:
    """A file of the first version is taken over as it is, with what was damaged in it then."""

    def make_old() -> None:
        execute(
            file,
            ROW.format("stage = 'compleTed'"),
            "ALTER TABLE foxapi_submissions DROP COLUMN seal",
            "ALTER TABLE foxapi_submissions DROP COLUMN content_seal",
            "UPDATE foxapi_journal SET version = 1",
        )

    await asyncio.to_thread(make_old)
    posts = gateway.stats.submits
    for _ in range(2):
        async with open_fox(base_url=fault_proxy.url) as fox:
            assert [lost.entry for lost in (await fox.recover()).unreadable] == [
                str(whole["row-3"].id)
            ]
            for row in (ROWS[0], ROWS[5]):
                assert (await fox.llm.submit(**row)).id == whole[row.get("key") or ""].task_id
            with pytest.raises(JournalError, match="cannot be read"):
                await fox.llm.submit(**ROWS[3])
    assert gateway.stats.submits == posts
