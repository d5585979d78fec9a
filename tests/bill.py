"""The books of a gateway: what it was asked for, and what it made of it."""

import asyncio
from collections import Counter

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from foxapi_async._journal import Entry, Stage
from foxapi_async._protocol.fingerprint import fingerprint
from foxapi_async._wire.media_request import submit_path


class Bill:
    """What the service was asked for and what it made of it, by the requests' fingerprints."""

    def __init__(self) -> None:
        self.posts: Counter[str] = Counter()
        self.tasks: dict[str, str] = {}
        self.doubled: list[str] = []
        self._made = asyncio.Event()

    async def wait_for(self, tasks: int) -> None:
        """Wait until the service has made so many tasks."""
        while len(self.tasks) < tasks:
            self._made.clear()
            await self._made.wait()

    @web.middleware
    async def keep(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Stand behind the faults, right before the handler, and write down what it does."""
        if request.method != "POST":
            return await handler(request)
        mark = fingerprint(await request.read(), request.path)
        self.posts[mark] += 1
        response = await handler(request)
        if isinstance(response, web.Response) and isinstance(response.body, bytes):
            task_id = msgspec.json.decode(response.body).get("id")
            if mark in self.tasks:
                self.doubled.append(mark)
            self.tasks[mark] = task_id
            self._made.set()
        return response

    def hold_against(self, entries: list[Entry]) -> None:
        """Every task is in the journal under its id, or unknown with its request; none twice."""
        assert not self.doubled
        written = {entry.fingerprint: entry for entry in entries}
        assert len(written) == len(entries)
        for mark, task_id in self.tasks.items():
            entry = written[mark]
            if entry.stage is Stage.UNKNOWN:
                path = submit_path(entry.kind, entry.model)
                assert fingerprint(entry.body or b"{}", path) == mark
            else:
                assert entry.task_id == task_id
