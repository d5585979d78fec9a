"""Uploads files, each once: while its link is valid, it is used again."""

import asyncio
import base64
import hashlib
import logging
from collections.abc import Mapping
from typing import Any, Final, Literal

from msgspec import UNSET, DecodeError, Struct, UnsetType
from msgspec.structs import replace

from foxapi_async._client.service_client import ServiceClient
from foxapi_async._journal import ContentMark, StoredUpload
from foxapi_async._protocol.retry import Effect
from foxapi_async._transfer.multipart import MultipartBody
from foxapi_async._transfer.threads import in_thread
from foxapi_async._transfer.upload_source import UploadSource, describe, open_source
from foxapi_async._transport import OutcomeUnknown, RequestSpec
from foxapi_async._wire.base import encode
from foxapi_async._wire.paths import UPLOAD_BASE64, UPLOAD_STREAM, UPLOAD_URL
from foxapi_async._wire.transfer_progress import OnTransfer
from foxapi_async._wire.uploaded_file import (
    UploadedFile,
    uploaded_file_decoder,
    with_expiry,
)
from foxapi_async.errors import FoxAPIError, JournalError, UploadOutcomeUnknownError

_log = logging.getLogger("foxapi_async")

Via = Literal["stream", "base64", "url"]

REUSE_MARGIN: Final = 6 * 3600.0
"""Seconds that a link must be valid for to be used again: the task may wait in a queue."""


class UploadOptions(Struct, frozen=True, kw_only=True):
    """How one file is uploaded."""

    filename: str | None = None
    auto_cleanup: bool = True
    via: Via | None = None
    reuse: bool = True
    progress: OnTransfer | None = None
    timeout: float | None | UnsetType = UNSET


async def upload(service: ServiceClient, source: object, options: UploadOptions) -> UploadedFile:
    """Upload a file, or return the link of an earlier upload of it."""
    opened = await open_source(source)
    try:
        name, media_type = await in_thread(describe, opened, options.filename)
        return await _Upload(service, options).send_once(opened, name, media_type)
    finally:
        await opened.aclose()


async def upload_url(service: ServiceClient, url: str, options: UploadOptions) -> UploadedFile:
    """Let the service fetch a URL and store what is there."""
    return await _Upload(service, options).send_url(url)


class _Upload:
    """One upload."""

    def __init__(self, service: ServiceClient, options: UploadOptions) -> None:
        self._service = service
        self._options = options

    async def send_once(self, source: UploadSource, name: str, media_type: str) -> UploadedFile:
        """Send a file, unless one with the same content and name was sent already.

        Uploads of files that may be the same wait for each other.
        """
        if source.size is None or not self._options.reuse:
            return (await self._send(source, name, media_type))[0]
        head = hashlib.sha256(source.head).hexdigest()
        mark = ContentMark(filename=name, size=source.size, head=head)
        running, key = self._service.runtime.uploads, (self._service.account.base, mark)
        while (other := running.get(key)) is not None:
            # Waiting in this way, a cancelled upload does not cancel the other one.
            await asyncio.wait((other,))
        done = running[key] = asyncio.get_running_loop().create_future()
        try:
            return await self._find(source, mark) or await self._send_and_record(
                source, mark, media_type
            )
        finally:
            del running[key]
            done.set_result(None)

    async def _find(self, source: UploadSource, mark: ContentMark) -> UploadedFile | None:
        """Return an earlier upload whose link is valid for some hours."""
        service = self._service
        earliest = service.clock.unix() + REUSE_MARGIN
        found = await service.options.journal.find_uploads(service.account.base, mark, earliest)
        if not found:
            return None
        # All of the file is read only if it may be one of these.
        digest = await source.digest()
        for stored in found:
            if stored.digest == digest:
                try:
                    return replace(
                        uploaded_file_decoder.decode(stored.file), expires_at=stored.expires_at
                    )
                except DecodeError:
                    _log.warning("the journal has an upload that cannot be read: it is sent again")
        return None

    async def _send_and_record(
        self, source: UploadSource, mark: ContentMark, media_type: str
    ) -> UploadedFile:
        service = self._service
        uploaded, digest = await self._send(source, mark.filename, media_type)
        stored = StoredUpload(
            service=service.account.base,
            mark=mark,
            digest=digest,
            file=encode(uploaded),
            expires_at=uploaded.expires_at,
        )
        try:
            await service.options.journal.record_upload(stored, service.clock.unix())
        except JournalError as error:
            # The file is stored, and its link is what the caller needs.
            _log.error("the journal could not record an upload: %s", error)
        return uploaded

    async def _send(
        self, source: UploadSource, name: str, media_type: str
    ) -> tuple[UploadedFile, str]:
        """Send a file, and return it with its SHA-256."""
        if self._options.via == "base64":
            return await self._send_base64(source, name, media_type)
        body = MultipartBody(
            source,
            name=name,
            media_type=media_type,
            fields={"auto_cleanup": str(self._options.auto_cleanup).lower(), "file_name": name},
            is_hashed=self._options.reuse and source.size is not None,
            progress=self._options.progress,
        )
        spec = RequestSpec(effect=Effect.WRITE, method="POST", path=UPLOAD_STREAM, body=body)
        try:
            uploaded = await self._request(spec, name)
        except FoxAPIError:
            if body.error is not None:
                # A body that was not sent whole is no file.
                raise body.error from None
            raise
        return uploaded, body.digest

    async def _send_base64(
        self, source: UploadSource, name: str, media_type: str
    ) -> tuple[UploadedFile, str]:
        pieces: list[bytes] = []
        async for piece in source.pieces(pieces.append):
            del piece

        def encoded() -> tuple[bytes, str]:
            data = b"".join(pieces)
            text = base64.b64encode(data).decode()
            members = self._members(file_data=f"data:{media_type};base64,{text}", file_name=name)
            return encode(members), hashlib.sha256(data).hexdigest()

        body, digest = await in_thread(encoded)
        return await self._send_json(UPLOAD_BASE64, body, name), digest

    async def send_url(self, url: str) -> UploadedFile:
        """Let the service fetch a URL and store what is there."""
        names = {"file_name": self._options.filename} if self._options.filename else {}
        return await self._send_json(UPLOAD_URL, encode(self._members(url=url, **names)), url)

    def _members(self, **members: str) -> Mapping[str, Any]:
        return {**members, "auto_cleanup": self._options.auto_cleanup}

    async def _send_json(self, path: str, body: bytes, name: str) -> UploadedFile:
        spec = RequestSpec(effect=Effect.WRITE, method="POST", path=path, body=body)
        return await self._request(spec, name)

    async def _request(self, spec: RequestSpec, name: str) -> UploadedFile:
        service, timeout = self._service, self._options.timeout
        timeouts = service.options.timeouts
        if timeout is not UNSET:
            timeouts = replace(timeouts, call=timeout)
        async with service.runtime.transfers:
            begun_at = service.clock.unix()
            try:
                uploaded = await service.runtime.transport.fetch(
                    service.account,
                    spec,
                    uploaded_file_decoder,
                    retry=service.options.retry,
                    timeouts=timeouts,
                    emit=service.event_sink,
                )
            except OutcomeUnknown as unknown:
                raise UploadOutcomeUnknownError(
                    f"the file {service.account.redact(name)[:200]!r} may have been stored, and "
                    f"the response was lost: {unknown.fault}",
                    fault=unknown.fault,
                ) from None
        return with_expiry(uploaded, begun_at)
