"""The files of a gateway: their sizes, their owners and their end."""

import heapq
import logging
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from math import ceil
from random import Random
from secrets import token_urlsafe
from string import ascii_lowercase, digits
from typing import Final

from foxapi_async._clock import Clock
from foxapi_async.gateway.api_errors import APIError
from foxapi_async.gateway.files.blobs import Blobs, BlobWriter
from foxapi_async.gateway.files.file_name import served_type
from foxapi_async.gateway.files.stored_file import UPLOAD_LIFETIME, FileOrigin, StoredFile

_ID_ALPHABET: Final = digits + ascii_lowercase
_ID_LENGTH: Final = 6
# As many bytes as the type of a file depends on.
_HEAD: Final = 64

_logger = logging.getLogger(__name__)


class Draft:
    """A file that is being written. ``FileStorage.draft`` makes one."""

    def __init__(self, writer: BlobWriter, limit: int | None) -> None:
        self.writer: BlobWriter = writer
        """Where the bytes go."""
        self.size: int = 0
        """The bytes so far."""
        self.head: bytes = b""
        """The first bytes."""
        self._limit = limit

    async def write(self, data: bytes) -> None:
        """Append bytes.

        Raises:
            APIError: 413, when the file has become too large; 500, when it cannot be stored.
        """
        self.size += len(data)
        if self._limit is not None and self.size > self._limit:
            raise too_large(self._limit)
        if len(self.head) < _HEAD:
            self.head += data[: _HEAD - len(self.head)]
        await self.writer.write(data)


class FileStorage:
    """Stores files and forgets them when their links expire.

    Args:
        blobs: Where the bytes are.
        clock: The source of time.
        file_limit: The bytes that one upload may have.
        storage_limit: The bytes that the uploads of one owner may have together.
        result_limit: The bytes that the results of all tasks may have together; the oldest are
            forgotten first. ``None`` for no limit.
        seed: The seed of the ids of files.
    """

    def __init__(
        self,
        blobs: Blobs,
        clock: Clock,
        *,
        file_limit: int,
        storage_limit: int,
        result_limit: int | None = None,
        seed: int | None = None,
    ) -> None:
        self._blobs = blobs
        self._clock = clock
        self._file_limit = file_limit
        self._storage_limit = storage_limit
        self._result_limit = result_limit
        self._random = Random(seed)  # noqa: S311 ids must be unique, not secret
        # In the order in which they were stored.
        self._files: dict[str, StoredFile] = {}
        self._expiries: list[tuple[float, str]] = []
        # The bytes of the uploads of each owner, and of all results.
        self._uploaded: defaultdict[str, int] = defaultdict(int)
        self._results = 0

    async def open(self) -> None:
        """Take over the files of earlier runs. ``ConfigError`` if their folder cannot be used."""
        for file in sorted(await self._blobs.open(), key=lambda file: file.created):
            self._add(file)
            self._account(file.owner, file.origin, file.size)
        await self._forget_expired()

    @asynccontextmanager
    async def draft(self, *, is_upload: bool = True) -> AsyncGenerator[Draft]:
        """Begin a new file. It is discarded at the end of the context unless it was kept."""
        writer = self._blobs.writer()
        limit = min(self._file_limit, self._storage_limit) if is_upload else None
        try:
            yield Draft(writer, limit)
        finally:
            await writer.discard()

    async def keep_upload(
        self, draft: Draft, *, owner: str, name: str, auto_cleanup: bool
    ) -> StoredFile:
        """Store an upload for 72 hours.

        Args:
            draft: The bytes.
            owner: The owner, who pays with the space of others of its uploads.
            name: The file name, safe already.
            auto_cleanup: Whether the oldest uploads of the owner make room for it.

        Returns:
            The file.

        Raises:
            APIError: 403, when there is no room and ``auto_cleanup`` is false.
        """
        await self._forget_expired()
        room = self._storage_limit - draft.size
        if self._uploaded[owner] > room and not auto_cleanup:
            raise APIError(
                403,
                f"the storage is full: {self._uploaded[owner]} of {self._storage_limit} bytes are "
                "used; send auto_cleanup=true, which deletes the oldest files",
            )
        await self._forget_oldest(
            lambda file: file.origin == "upload" and file.owner == owner,
            lambda: self._uploaded[owner] > room,
        )
        return await self._keep(
            draft, owner=owner, origin="upload", name=name, lifetime=UPLOAD_LIFETIME
        )

    async def keep_result(
        self, draft: Draft, *, owner: str, name: str, content_type: str, lifetime: float
    ) -> StoredFile:
        """Store a file of a task for ``lifetime`` seconds."""
        await self._forget_expired()
        if self._result_limit is not None:
            room = self._result_limit - draft.size
            await self._forget_oldest(
                lambda file: file.origin == "result", lambda: self._results > room
            )
        return await self._keep(
            draft,
            owner=owner,
            origin="result",
            name=name,
            lifetime=lifetime,
            content_type=content_type,
        )

    async def find(self, token: str) -> StoredFile | None:
        """Return a file whose link is valid."""
        await self._forget_expired()
        return self._files.get(token)

    async def read(self, file: StoredFile, start: int, stop: int) -> bytes:
        """Return some bytes; fewer than asked for if the file was deleted meanwhile."""
        return await self._blobs.read(file.token, start, stop)

    async def _keep(
        self,
        draft: Draft,
        *,
        owner: str,
        origin: FileOrigin,
        name: str,
        lifetime: float,
        content_type: str | None = None,
    ) -> StoredFile:
        created = self._clock.unix()
        expires = created + lifetime
        suffix = "".join(self._random.choices(_ID_ALPHABET, k=_ID_LENGTH))
        file = StoredFile(
            token=f"{ceil(expires)}-{token_urlsafe(16)}",
            id=f"file-{int(created)}-{suffix}",
            owner=owner,
            origin=origin,
            name=name,
            content_type=content_type or served_type(draft.head, name),
            size=draft.size,
            created=created,
            expires=expires,
        )
        # Before the file is stored: others that are stored meanwhile must know of it.
        self._account(owner, origin, file.size)
        try:
            await draft.writer.commit(file)
        except BaseException:
            self._account(owner, origin, -file.size)
            raise
        self._add(file)
        return file

    def _add(self, file: StoredFile) -> None:
        self._files[file.token] = file
        heapq.heappush(self._expiries, (file.expires, file.token))

    def _account(self, owner: str, origin: FileOrigin, size: int) -> None:
        if origin == "upload":
            self._uploaded[owner] += size
        else:
            self._results += size

    async def _forget_expired(self) -> None:
        now = self._clock.unix()
        expired: list[str] = []
        while self._expiries and self._expiries[0][0] <= now:
            expired.append(heapq.heappop(self._expiries)[1])
        await self._forget(expired)

    async def _forget_oldest(
        self, wanted: Callable[[StoredFile], bool], is_full: Callable[[], bool]
    ) -> None:
        while is_full():
            oldest = next((file for file in self._files.values() if wanted(file)), None)
            if oldest is None:
                return
            await self._forget([oldest.token])

    async def _forget(self, tokens: list[str]) -> None:
        known = [token for token in tokens if token in self._files]
        for token in known:
            file = self._files.pop(token)
            self._account(file.owner, file.origin, -file.size)
        if known:
            try:
                await self._blobs.delete(known)
            except OSError:
                # Its link is dead all the same. The next run of the gateway deletes it.
                _logger.exception("a file could not be deleted")


def too_large(limit: int) -> APIError:
    """Return the error for an upload that has more bytes than it may have."""
    return APIError(413, f"the file is too large: an upload may have {limit} bytes")
