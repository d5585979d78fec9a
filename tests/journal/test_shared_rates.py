"""Laws of a rate that processes share by their journal: one rule, one clock, one pause."""

import asyncio
import logging
import os
import random
import sys
from asyncio.subprocess import PIPE
from collections.abc import Callable
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler
from sqlalchemy import Connection, inspect, select, update

import foxapi_async
from foxapi_async import FoxSession, JournalError, Limits, RateLimitError
from foxapi_async._client.params import LLMParams
from foxapi_async._journal.backends import parse_location
from foxapi_async._journal.journal_rate import JournalRate
from foxapi_async._journal.journal_writer import JournalWriter
from foxapi_async._journal.schema import RATES, VERSION
from foxapi_async._journal.tables import JournalTables
from foxapi_async._protocol.submit_rate import BURST, RateCost, RateState
from foxapi_async.gateway import Gateway
from foxapi_async.testing import CannedResponse, FaultProxy
from tests.journal.relay import relayed
from tests.postgres import postgres_schema

KEY = "sk-secret-0123456789abcdef"
PROMPT: LLMParams = {"model": "gpt-5.5", "messages": "count 1 to 3"}
KEYED: LLMParams = {**PROMPT, "key": "row-1"}
STATE = ("submits_due", "tokens_due", "paused_until", "submits_before", "tokens_before")
MICROSECOND = 1e-5
# What SQLite and floats of this size make of a microsecond.
NOISE = 0.003


@pytest.fixture
async def journal(file: Path | str) -> Any:
    """Open a journal."""
    writer = JournalWriter(parse_location(file))
    await writer.open()
    yield writer
    await writer.aclose()


async def on(journal: JournalWriter, work: Callable[[Connection], Any]) -> Any:
    """Run ``work`` with the connection of a journal."""

    def perform(tables: JournalTables) -> Any:
        return work(tables.connection)

    return await journal._run(perform)


async def row_of(journal: JournalWriter, name: str) -> dict[str, Any]:
    """Return the row of a rate."""
    query = select(RATES).where(RATES.c.name == name)
    return dict(await on(journal, lambda connection: connection.execute(query).mappings().one()))


async def write(journal: JournalWriter, name: str, **values: Any) -> None:
    """Set columns of a rate."""
    change = update(RATES).where(RATES.c.name == name).values(**values)
    await on(journal, lambda connection: connection.execute(change) and None)


async def test_the_rule_in_sql_is_the_pure_one(journal: JournalWriter) -> None:
    """For any state and cost the row becomes what ``RateState`` becomes."""
    rate = journal.rate_store("one")
    await rate.pause(0)
    draw = random.Random(7)  # noqa: S311 no secret
    for _ in range(60):
        now = (await row_of(journal, "one"))["paused_until"]
        before = RateState(*(now + draw.uniform(-3, 30) for _ in range(3)))
        await write(journal, "one", **dict(zip(STATE, before, strict=False)))
        cost = RateCost(draw.choice([0, 0.1, 4]), draw.choice([0, 3]), draw.uniform(-20, 5))
        lease = await rate.reserve(cost)
        row = await row_of(journal, "one")
        begun = row["granted_at"] - lease.wait
        after, at = before.reserve(begun, cost)
        assert row["granted_at"] == pytest.approx(at, abs=MICROSECOND)
        assert [row[name] for name in STATE] == pytest.approx(list(after), abs=MICROSECOND)
        assert (lease.submits_due, lease.tokens_due) == (row["submits_due"], row["tokens_due"])
        if draw.random() < 0.5:
            assert await rate.cancel(lease)
            row = await row_of(journal, "one")
            assert row["submits_due"] == pytest.approx(before.submits_due, abs=MICROSECOND)
        else:
            await rate.reserve(RateCost(0.1, 0.1))
            assert not await rate.cancel(lease)
        await write(journal, "one", paused_until=begun)


async def test_no_reservation_of_many_processes_is_lost(
    journal: JournalWriter, file: Path | str
) -> None:
    """Four journals that reserve at once get times that are a step of the rate apart."""
    others = [JournalWriter(parse_location(file)) for _ in range(3)]
    rates = [writer.rate_store("one") for writer in (journal, *others)]

    async def reserve(rate: JournalRate) -> list[float]:
        return [(await rate.reserve(RateCost(10.0))).submits_due for _ in range(25)]

    found = sorted(chain.from_iterable(await asyncio.gather(*map(reserve, rates))))
    steps = [after - before for before, after in pairwise(found)]
    assert steps == pytest.approx([10.0] * 99, abs=MICROSECOND)
    for writer in others:
        await writer.aclose()


@pytest.mark.parametrize("value", [1e300, float("inf"), -1e300, 4e9])
async def test_a_time_that_nothing_has_written_holds_back_no_submission(
    journal: JournalWriter, value: float
) -> None:
    """Damage to a row, and a clock that was set back, do not end the submissions."""
    rate = journal.rate_store("one")
    await rate.reserve(RateCost(1))
    for name in ("submits_due", "tokens_due", "paused_until"):
        await write(journal, "one", **{name: value})
    assert (await rate.reserve(RateCost(1))).wait < 1
    assert await rate.paused() <= 60


async def test_a_pause_is_seen_by_all(journal: JournalWriter) -> None:
    """It lasts a minute at most, is not shortened, and other rates go on."""
    rate, other = journal.rate_store("one"), journal.rate_store("two")
    assert await rate.paused() == 0
    await rate.pause(30)
    await rate.pause(3)
    assert await rate.paused() == pytest.approx(30, abs=5)
    assert (await rate.reserve(RateCost(1))).wait == pytest.approx(30, abs=5)
    assert (await other.reserve(RateCost(1))).wait == 0
    await rate.pause(7_000)
    assert await rate.paused() <= 60


async def test_a_journal_of_the_version_before_gets_the_table(
    file: Path | str, open_fox: Any
) -> None:
    """It is made when the journal is opened, and entries stay."""
    async with open_fox() as fox:
        handle = await fox.llm.submit(**KEYED)

    def make_old(connection: Connection) -> None:
        RATES.drop(connection)
        connection.execute(update(VERSION).values(version=5))

    writer = JournalWriter(parse_location(file))
    await on(writer, make_old)
    await writer.aclose()
    for _ in range(2):
        async with open_fox(limits=Limits(submits_per_minute=6_000)) as fox:
            assert (await fox.llm.submit(**KEYED)).id == handle.id
            await fox.llm.submit(**PROMPT)
            columns = await on(
                fox._service.options.journal,
                lambda connection: inspect(connection).get_columns(RATES.name),
            )
            assert {column["name"] for column in columns} == {column.name for column in RATES.c}


CHILD = """
import asyncio, sys
from foxapi_async import FoxSession, Limits

async def main(url, file, key, count):
    limits = Limits(submits_per_minute=600)
    async with FoxSession(key, base_url=url, journal=file, limits=limits) as fox:
        print("ready", flush=True)
        sys.stdin.readline()
        await asyncio.gather(*(
            fox.llm.submit(model="gpt-5.5", messages="count 1 to 3") for _ in range(count)
        ))

asyncio.run(main(*sys.argv[1:4], int(sys.argv[4])))
"""


async def test_two_processes_keep_one_rate(file: Path | str) -> None:
    """Ten a second for both together, and neither waits for the other's end."""
    arrived: list[tuple[float, str]] = []

    @web.middleware
    async def note(request: web.Request, handler: Handler) -> web.StreamResponse:
        arrived.append((asyncio.get_running_loop().time(), str(request.transport)))
        return await handler(request)

    gateway = Gateway()
    gateway.app.middlewares.append(note)
    async with gateway:
        children = [
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-c", CHILD, gateway.url, str(file), KEY, "12"),
                env={**os.environ, "PYTHONPATH": str(Path(foxapi_async.__file__).parents[1])},
                stdin=PIPE,
                stdout=PIPE,
            )
            for _ in range(2)
        ]
        for child in children:
            assert child.stdout is not None
            assert await child.stdout.readline() == b"ready\n"
        for child in children:
            assert child.stdin is not None
            child.stdin.write(b"\n")
        await asyncio.gather(*(child.communicate() for child in children))
        assert [child.returncode for child in children] == [0, 0]
        assert gateway.stats.tasks == 24
    times = [time for time, _ in arrived]
    # A POST may arrive late, and the later ones then seem to be near to it.
    late = 0.5
    for first in range(24):
        for last in range(first + 1, 24):
            window = times[last] - times[first] + BURST + late
            assert last - first <= 10 * window + 1
    # But for the burst, and for one of each process, all of them took their time.
    assert times[-1] - times[0] >= (24 - 1 - 4) / 10 - NOISE


async def test_a_429_of_one_session_pauses_the_processes_of_the_journal(
    open_fox: Any, fault_proxy: FaultProxy, journal: JournalWriter
) -> None:
    """The pause is in the journal, under a name that does not tell the key."""
    fault_proxy.on("POST", "*", CannedResponse.http(429, headers={"Retry-After": "40"}), times=1)
    async with open_fox(base_url=fault_proxy.url, limits=Limits(submits_per_minute=6_000)) as fox:
        with pytest.raises(RateLimitError):
            await fox.llm.submit(**PROMPT)
        name = fox._service.account.rate_name()
    assert await journal.rate_store(name).paused() == pytest.approx(40, abs=10)
    names = await on(journal, lambda connection: connection.scalars(select(RATES.c.name)).all())
    assert names == [name]
    assert KEY not in name


async def test_a_session_without_rates_writes_none(open_fox: Any) -> None:
    """The table stays empty."""
    async with open_fox() as fox:
        await fox.llm.submit(**PROMPT)
        rows = await on(
            fox._service.options.journal, lambda connection: connection.execute(select(RATES)).all()
        )
        assert rows == []


async def test_a_lost_database_ends_no_wait_for_the_rate(
    postgres: str,
    gateway: Gateway,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Submits get the error of the journal; when the server is back, the rate is shared again."""
    monkeypatch.setattr("foxapi_async._sql.postgres.RECONNECT_TIME", 0.2)
    monkeypatch.setattr("foxapi_async._client.rate_stores._RETRY_AFTER", 0.0)
    limits = Limits(submits_per_minute=60_000)
    with postgres_schema(postgres) as there:
        async with (
            relayed(there) as (relay, url),
            FoxSession(KEY, base_url=gateway.url, journal=url, limits=limits) as fox,
        ):
            await fox.llm.submit(**PROMPT)
            relay.is_down = True
            relay.cut()
            with caplog.at_level(logging.INFO, "foxapi_async"):
                for _ in range(2):
                    with pytest.raises(JournalError):
                        await fox.llm.submit(**PROMPT)
                relay.is_down = False
                await fox.llm.submit(**PROMPT)
            messages = [record.message for record in caplog.records]
            shared = [message for message in messages if "shared rate" in message]
            assert len(shared) == 2
            assert "keeps it by itself" in shared[0]
            assert "p@ss-word" not in shared[0]
            assert "can be reached again" in shared[1]
    assert gateway.stats.tasks == 2
