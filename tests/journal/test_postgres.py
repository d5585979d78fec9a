"""Laws of a journal in a PostgreSQL database: many processes, lost connections, no secrets."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from foxapi_async import ConfigError, JournalError
from foxapi_async._client.params import LLMParams
from foxapi_async._journal import Entry, EntryId, Intent, Stage
from foxapi_async._journal.backends import parse_location
from foxapi_async._journal.journal_writer import JournalWriter
from foxapi_async._journal.postgres_url import PostgresURL
from foxapi_async._protocol.submit_rate import RateCost
from foxapi_async.gateway import Gateway
from foxapi_async.journal import open_journal
from tests.journal.relay import Relay, relayed
from tests.postgres import connected, postgres_schema

SECRET = "p@ss-word"
PROMPT: LLMParams = {"model": "gpt-5.5", "messages": "count 1 to 3"}
KEYED: LLMParams = {**PROMPT, "key": "row-17"}


def intent(key: str | None, **members: Any) -> Intent:
    """Return a submission under a key."""
    return Intent(service="http://s", key=key, model="m", body=b"{}", sent_at=1.0, **members)


@pytest.fixture
def file(postgres: str) -> Any:
    """Return the URL of an empty schema."""
    with postgres_schema(postgres) as url:
        yield url


@pytest.fixture
async def line(file: str) -> AsyncIterator[tuple[Relay, str]]:
    """Return a line to the server, and the URL of the journal behind it."""
    async with relayed(file) as line:
        yield line


async def test_processes_that_begin_at_once_make_the_tables_once(file: str) -> None:
    """Of several that open an empty schema at once, each finds the tables."""
    journals = [JournalWriter(parse_location(file)) for _ in range(6)]
    await asyncio.gather(*(journal.open() for journal in journals))
    assert await journals[0].entries() == []
    for journal in journals:
        await journal.aclose()


async def test_writers_of_shuffled_keys_win_each_once(file: str) -> None:
    """Four writers that claim the same 500 keys in other orders deadlock never for good."""
    keys = [f"row-{number}" for number in range(500)]
    journals = [JournalWriter(parse_location(file)) for _ in range(4)]

    async def claim(journal: JournalWriter, seed: int) -> list[tuple[str, EntryId]]:
        mine = random.Random(seed).sample(keys, len(keys))  # noqa: S311 no secret
        results = await asyncio.gather(*(journal.record_intent(intent(key)) for key in mine))
        return [
            (key, result)
            for key, result in zip(mine, results, strict=True)
            if isinstance(result, EntryId)
        ]

    try:
        won = [
            pair
            for pairs in await asyncio.gather(*map(claim, journals, range(4)))
            for pair in pairs
        ]
        entries = await journals[0].entries()
    finally:
        for journal in journals:
            await journal.aclose()
    assert Counter(key for key, _ in won) == Counter(keys)
    assert {(entry.key, entry.id) for entry in entries} == {*won}


@pytest.mark.parametrize("key", ["row-17", None])
async def test_a_lost_answer_to_a_commit_is_looked_up(
    line: tuple[Relay, str], key: str | None
) -> None:
    """An intent whose commit was not answered is there once, and is its sender's to send."""
    relay, url = line
    journal = JournalWriter(parse_location(url))
    first = await journal.record_intent(intent("row-1"))
    assert isinstance(first, EntryId)
    relay.cut_commits = 1
    entry_id = await journal.record_intent(intent(key))
    assert relay.cut_commits == 0
    assert isinstance(entry_id, EntryId)
    entries = await journal.entries()
    assert [entry.id for entry in entries] == [first, entry_id]
    # Its run goes on, under its name.
    assert {entry.stage for entry in entries} == {Stage.SENT}
    assert entry_id.run == first.run
    await journal.aclose()


async def test_a_resubmission_whose_commit_is_not_answered_is_made_once(
    line: tuple[Relay, str],
) -> None:
    """An intent in the place of an unknown one takes it once, with and without a key."""
    relay, url = line
    for key in ("row-17", None):
        journal = JournalWriter(parse_location(url))
        unknown = await journal.record_intent(intent(key))
        assert isinstance(unknown, EntryId)
        await journal.aclose()
        journal = JournalWriter(parse_location(url))
        await journal.open()
        await journal.record_intent(intent("other"))
        relay.cut_commits = 1
        entry_id = await journal.record_intent(intent(key, replaces=unknown))
        assert isinstance(entry_id, EntryId)
        assert relay.cut_commits == 0
        assert unknown not in {entry.id for entry in await journal.entries()}
        again = await asyncio.gather(
            journal.record_intent(intent(key, replaces=unknown)), return_exceptions=True
        )
        assert isinstance(again[0], Entry if key else JournalError)
        await journal.aclose()


async def test_a_connection_that_breaks_is_made_again(
    line: tuple[Relay, str], open_fox: Any, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the server cannot be reached nothing is sent; then the same session goes on."""
    monkeypatch.setattr("foxapi_async._sql.postgres.RECONNECT_TIME", 0.2)
    relay, url = line
    async with open_fox(journal=url) as fox:
        handle = await fox.llm.submit(**KEYED)
        relay.cut()
        # A line that is cut between two submissions stops none.
        await fox.llm.submit(**PROMPT)
        assert gateway.stats.submits == 2
        relay.is_down = True
        relay.cut()
        with pytest.raises(JournalError, match="cannot be reached") as caught:
            await fox.llm.submit(**PROMPT)
        assert SECRET not in str(caught.value)
        assert gateway.stats.submits == 2
        await handle
        relay.is_down = False
        assert (await fox.llm.generate(**PROMPT)).text == "1, 2, 3"
    async with open_journal(url) as journal:
        stages = Counter(entry.stage for entry in await journal.entries())
    assert stages == {Stage.COMPLETED: 2, Stage.ACCEPTED: 1}


async def test_a_submit_waits_for_a_server_that_restarts(
    line: tuple[Relay, str], open_fox: Any, gateway: Gateway
) -> None:
    """A server that is away for some attempts delays submits, and none of them fails."""
    relay, url = line
    async with open_fox(journal=url) as fox:
        await fox.llm.submit(**PROMPT)
        relay.is_down = True
        relay.cut()
        opened = relay.opened
        submits = [asyncio.create_task(fox.llm.submit(**PROMPT)) for _ in range(5)]
        while relay.opened < opened + 4:
            await asyncio.sleep(0)
        assert gateway.stats.submits == 1
        relay.is_down = False
        await asyncio.gather(*submits)
        assert gateway.stats.submits == 6


def test_an_outage_is_waited_out_and_a_wrong_password_is_not() -> None:
    """The first attempt is made at once, later ones after longer pauses, for half a minute."""
    psycopg = pytest.importorskip("psycopg")
    from foxapi_async._sql import postgres

    outage = psycopg.OperationalError("the server closed the connection")
    pauses = [postgres.reconnect_pause(outage, losses, 0.0) for losses in range(1, 60)]
    assert pauses[0] == 0
    assert all(pause is not None and 0 < pause <= 2 for pause in pauses[1:])
    assert pauses[20] is not None
    assert pauses[20] >= 1
    assert postgres.reconnect_pause(outage, 9, postgres.RECONNECT_TIME) is None
    for lasting in (psycopg.errors.InvalidPassword(), psycopg.errors.InvalidCatalogName()):
        assert postgres.reconnect_pause(lasting, 2, 0.1) is None
    for brief in (psycopg.errors.CannotConnectNow(), psycopg.errors.AdminShutdown()):
        assert postgres.reconnect_pause(brief, 2, 0.1) is not None


async def test_a_run_whose_connection_is_cut_is_dead_to_others(line: tuple[Relay, str]) -> None:
    """What a process had sent is unknown as soon as its connection ends, and known after all."""
    relay, url = line
    one, two = JournalWriter(parse_location(url)), JournalWriter(parse_location(url))
    entry_id = await one.record_intent(intent("row-17"))
    assert isinstance(entry_id, EntryId)
    assert [entry.stage for entry in await two.entries()] == [Stage.SENT]
    await one.aclose()
    # The server ends the connection's process, which holds the lock, a moment after the close.
    while [entry.stage for entry in await two.entries()] == [Stage.SENT]:
        await asyncio.sleep(0)
    assert [entry.stage for entry in await two.entries()] == [Stage.UNKNOWN]
    relay.cut()
    entry = await two.find("http://s", "row-17")
    assert entry is not None
    assert entry.stage is Stage.UNKNOWN
    await two.aclose()


async def test_the_least_rights_suffice(postgres: str, file: str) -> None:
    """A user with the documented rights can do all; without one the error names them."""
    schema = file.rpartition("%3D")[2]
    user = f"u{schema}"
    url = file.replace("postgresql://postgres:@", f"postgresql://{user}:{SECRET[2:]}@")
    if url == file:
        pytest.skip("the server has another user")
    journal = JournalWriter(parse_location(file))
    await journal.open()
    await journal.aclose()

    def give(statement: str) -> None:
        with connected(postgres) as connection:
            connection.execute(statement)

    await asyncio.to_thread(give, f"CREATE ROLE {user} LOGIN")
    try:
        await asyncio.to_thread(give, f"GRANT USAGE ON SCHEMA {schema} TO {user}")
        with pytest.raises(JournalError, match="grant it SELECT, INSERT, UPDATE and DELETE"):
            await JournalWriter(parse_location(url)).open()
        for rights in (
            "SELECT, INSERT, UPDATE, DELETE ON {}.foxapi_submissions",
            "SELECT ON {}.foxapi_journal",
        ):
            await asyncio.to_thread(give, f"GRANT {rights.format(schema)} TO {user}")
        journal = JournalWriter(parse_location(url))
        entry_id = await journal.record_intent(intent("row-17"))
        assert isinstance(entry_id, EntryId)
        assert [entry.id for entry in await journal.entries()] == [entry_id]
        await journal.aclose()
        async with open_journal(url) as reading:
            assert await reading.delete([entry_id]) == 1
        journal = JournalWriter(parse_location(url))
        with pytest.raises(JournalError, match="foxapi_rates"):
            await journal.rate_store("one").reserve(RateCost())
        rights = f"SELECT, INSERT, UPDATE ON {schema}.foxapi_rates"
        await asyncio.to_thread(give, f"GRANT {rights} TO {user}")
        assert (await journal.rate_store("one").reserve(RateCost())).wait == 0
        await journal.aclose()
    finally:
        await asyncio.to_thread(give, f"DROP OWNED BY {user}")
        await asyncio.to_thread(give, f"DROP ROLE {user}")


async def test_a_schema_without_tables_is_no_journal(file: str) -> None:
    """Reading makes no tables."""
    for _ in range(2):
        with pytest.raises(JournalError, match="has no tables"):
            async with open_journal(file):
                pass


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("postgresql://h/d", "postgresql://h/d"),
        ("postgres://u:secret@h:5432/d?sslmode=require", "postgresql://u:***@h:5432/d"),
        ("postgresql+psycopg://u:%40secret@[::1]:5432/d", "postgresql://u:***@[::1]:5432/d"),
        ("postgresql://u@/d?host=/run&password=secret", "postgresql://u@/d"),
        ("postgresql://u:secret@a:1,b:2/d", "postgresql://u:***@a:1,b:2/d"),
    ],
)
def test_a_server_is_named_without_its_password(url: str, name: str) -> None:
    """Messages and ``repr`` show the URL without password and options."""
    location = parse_location(url)
    assert isinstance(location, PostgresURL)
    assert location.name == name
    assert "secret" not in repr(location)
    assert "secret" in location.url or "secret" not in url


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:se/cret@h/d",
        "postgresql://u:se?cret@h/d",
        "postgresql://u:sec@ret@h/d",
        "postgresql://u:12?34=5@h/d",
        "postgresql://u:12/34@h/d",
        "postgresql://h/d?options",
        "postgresql://h/d\0",
    ],
)
def test_a_url_that_may_hide_a_password_is_refused(url: str) -> None:
    """Where a password may end elsewhere than it seems, the URL is refused and not quoted."""
    with pytest.raises(ConfigError, match="must have") as caught:
        parse_location(url)
    assert not any(part in str(caught.value) for part in ("cret", "ret@", "34"))


async def test_an_option_that_the_driver_does_not_know_is_reported(file: str) -> None:
    """The driver's own text, which quotes the URL, is not shown."""
    journal = JournalWriter(parse_location(file.replace("@", "secret@") + "&optoins=1"))
    with pytest.raises(JournalError, match="options that libpq takes") as caught:
        await journal.open()
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
