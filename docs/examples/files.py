"""A file goes to the service once, and comes back whole."""

import asyncio
from pathlib import Path

from foxapi_async import FoxSession, TransferProgress


def show(progress: TransferProgress) -> None:
    print(f"{progress.name}: {progress.done} of {progress.total} bytes")


async def send_and_fetch(report: Path) -> Path:
    async with FoxSession() as fox:
        uploaded = await fox.files.upload(report, progress=show)
        print(uploaded.filename, uploaded.size)

        again = await fox.files.upload(report)
        print("sent once:", again.url == uploaded.url)

        return await fox.files.download(uploaded, "downloads/")


report = Path("report.txt")
report.write_text("Sales went up. " * 10_000)
path = asyncio.run(send_and_fetch(report))
print(path, path.read_bytes() == report.read_bytes())
