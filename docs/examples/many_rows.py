"""Any number of rows, many at a time, and a second run that does only what is missing."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from foxapi_async import FoxSession, RowProgress


def rows(count: int) -> Iterator[dict[str, str]]:
    """Yield rows one by one: a file or a database cursor does the same."""
    for number in range(count):
        yield {"id": f"row-{number}", "text": f"count 1 to {2 + number % 5}"}


def show(progress: RowProgress) -> None:
    if progress.done % 20 == 0:
        print(f"{progress.done} rows, {progress.failed} failed, {progress.in_flight} in flight")


async def run(journal: Path, count: int) -> None:
    async with FoxSession(journal=journal) as fox:
        answered = 0
        async for outcome in fox.llm.map(
            rows(count),
            model="gpt-5.5",
            messages=lambda row: row["text"],
            key=lambda row: row["id"],
            in_flight=30,
            progress=show,
        ):
            if outcome.completion is None:
                print(outcome.input["id"], outcome.error)
            else:
                answered += 1
        print(answered, "answers for", fox.stats().tasks, "new tasks")


async def main() -> None:
    with TemporaryDirectory() as folder:
        journal = Path(folder) / "rows.db"
        await run(journal, 40)
        # The first forty rows are in the journal: they are found, and not paid again.
        await run(journal, 60)


asyncio.run(main())
