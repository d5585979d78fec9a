"""A line between a journal and its PostgreSQL server, which can be cut at chosen moments."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from urllib.parse import parse_qs, urlsplit

_PORT = 5432


class Relay:
    """Forwards connections from a port of this machine to the server."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._options = parse_qs(parts.query)
        self._parts = parts
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.cut_commits = 0
        """How many answers to a commit are still to be lost, each with its connection."""
        self.is_down = False
        """Whether new connections are closed at once."""
        self.opened = 0
        """How many connections there have been."""

    def url(self, server: asyncio.Server) -> str:
        """Return the URL of the journal behind this line; its password is ``p%40ss-word``."""
        port = server.sockets[0].getsockname()[1]
        options = self._options.get("options", [""])[0].replace("=", "%3D")
        login = f"{self._parts.username or 'postgres'}:p%40ss-word"
        return f"postgresql://{login}@127.0.0.1:{port}{self._parts.path}?options={options}"

    def cut(self) -> None:
        """Break every connection."""
        for writer in self._writers:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one connection until one of its ends is closed."""
        self.opened += 1
        if self.is_down:
            writer.transport.abort()
            return
        there_reader, there_writer = await self._connect()
        writers = {writer, there_writer}
        self._writers |= writers
        commit = asyncio.Event()
        pumps = [
            asyncio.create_task(self._send(reader, there_writer, commit)),
            asyncio.create_task(self._answer(there_reader, writer, commit)),
        ]
        self._tasks |= {*pumps}
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        self._tasks -= {*pumps}
        self._writers -= writers
        for one in writers:
            one.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        folder = self._options.get("host", [self._parts.hostname or "127.0.0.1"])[0]
        port = self._parts.port or _PORT
        if folder.startswith("/"):
            return await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.{port}")
        return await asyncio.open_connection(folder, port)

    async def _send(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, commit: asyncio.Event
    ) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                if self.cut_commits and b"COMMIT" in data:
                    self.cut_commits -= 1
                    commit.set()
                writer.write(data)
                await writer.drain()

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, commit: asyncio.Event
    ) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                if commit.is_set():
                    return
                writer.write(data)
                await writer.drain()


@asynccontextmanager
async def relayed(url: str) -> AsyncGenerator[tuple[Relay, str], None]:
    """Open a line to the server of ``url``; yield it and the URL that leads through it."""
    relay = Relay(url)
    server = await asyncio.start_server(relay.serve, "127.0.0.1", 0)
    async with server:
        yield relay, relay.url(server)
        relay.cut()
