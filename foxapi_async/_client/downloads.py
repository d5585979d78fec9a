"""Downloads of one session: single links, and all files of a task."""

import asyncio
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Self, final

from foxapi_async._client.service_client import ServiceClient
from foxapi_async._client.uncopied import Uncopied
from foxapi_async._transfer.download import Fetched, Target, download, fetch, place
from foxapi_async._transfer.link_reader import LinkReader, LinkSettings
from foxapi_async._transfer.threads import in_thread
from foxapi_async._wire.media_links import NamedLink
from foxapi_async._wire.transfer_progress import OnTransfer
from foxapi_async.config import normalize_timeout, validate_timeout
from foxapi_async.errors import APITimeoutError, DownloadError


@final
class ByteStream(Uncopied):
    """The bytes of a file, as ``async for chunk in stream``.

    Leave it by ``async with``, read it to its end, or call ``aclose()``. It can be read once.
    """

    _instead = "call iter_bytes() again"

    def __init__(self, reader: LinkReader) -> None:
        self._reader = reader
        self._delivered = 0

    @property
    def size(self) -> int | None:
        """The size of the file in bytes; ``None`` before the first chunk, or if it is not known."""
        return self._reader.size

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            piece = await self._reader.read()
        except BaseException:
            self._reader.close()
            raise
        if piece is None:
            raise StopAsyncIteration
        if piece.offset != self._delivered:
            self._reader.close()
            raise DownloadError(
                f"the file behind {self._reader.shown_url} has changed after "
                f"{self._delivered} bytes were delivered: read it again from its start",
                url=self._reader.shown_url,
            )
        self._delivered += len(piece.data)
        return piece.data

    async def aclose(self) -> None:
        """Close the connection; further calls do nothing."""
        self._reader.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


class Downloads:
    """Downloads links for one session."""

    def __init__(self, service: ServiceClient) -> None:
        self._service = service

    async def download(
        self,
        link: NamedLink,
        path: str | os.PathLike[str],
        *,
        overwrite: bool,
        progress: OnTransfer | None,
        timeout: float | None = None,
    ) -> Path:
        """Download a link to a path or into a folder."""
        reader = self._reader(link)
        validate_timeout(timeout)
        async with self._transfer(timeout):
            return await download(
                reader, path, filename=link.filename, overwrite=overwrite, progress=progress
            )

    async def save(
        self,
        links: Sequence[NamedLink],
        folder: str | os.PathLike[str],
        *,
        overwrite: bool,
        progress: OnTransfer | None,
    ) -> list[Path]:
        """Download links into a folder, some at a time; return their paths in the same order.

        The files get their names in the order of the links. If some links fail, the other files
        are stored, and the first error is raised.
        """
        target = Target(folder=Path(folder), overwrite=overwrite)
        fetching = [asyncio.ensure_future(self._fetch(link, target, progress)) for link in links]
        paths: list[Path] = []
        failure: Exception | None = None
        try:
            for task in fetching:
                try:
                    paths.append(await place(await task))
                except Exception as error:  # noqa: BLE001 raised when the others are stored
                    failure = failure or error
        finally:
            await _discard(fetching[len(paths) :])
        if failure is not None:
            raise failure
        return paths

    def iter_bytes(self, link: NamedLink) -> ByteStream:
        """Return the bytes behind a link."""
        return ByteStream(self._reader(link))

    async def _fetch(self, link: NamedLink, target: Target, progress: OnTransfer | None) -> Fetched:
        reader = self._reader(link)
        async with self._transfer(None):
            return await fetch(reader, target, link.filename, progress)

    def _reader(self, link: NamedLink) -> LinkReader:
        service = self._service
        options, runtime = service.options, service.runtime
        runtime.enter()
        settings = LinkSettings(
            retry=options.retry,
            timeouts=options.timeouts,
            idle_timeout=options.streaming.idle_timeout,
            max_bytes=runtime.limits.max_download_bytes,
        )
        return LinkReader(
            runtime.transport.links,
            service.account,
            link.url,
            settings,
            service.clock,
            media_type=link.content_type,
        )

    @asynccontextmanager
    async def _transfer(self, timeout: float | None) -> AsyncGenerator[None, None]:
        """Wait for a slot, and end the block after ``timeout`` seconds."""
        runtime, limit = self._service.runtime, normalize_timeout(timeout)
        try:
            with nullcontext() if limit is None else runtime.transport.timeout(limit, "timeout"):
                async with runtime.transfers:
                    yield
        except TimeoutError as error:
            raise APITimeoutError(f"the file was not downloaded in time: {error}") from None


async def _discard(fetching: Sequence["asyncio.Task[Fetched]"]) -> None:
    """Stop downloads, and delete what they have stored under temporary names."""
    for task in fetching:
        task.cancel()
    for found in await asyncio.gather(*fetching, return_exceptions=True):
        if isinstance(found, Fetched):
            # Nothing happens to a file that has its name.
            await in_thread(found.part.discard)
