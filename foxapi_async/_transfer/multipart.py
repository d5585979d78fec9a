"""The multipart body of an upload, whose file is read while it is sent."""

import hashlib
import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from foxapi_async._transfer.upload_source import UploadSource
from foxapi_async._wire.transfer_progress import OnTransfer, TransferProgress

_LINE: Final = b"\r\n"


class MultipartBody:
    """The form of one upload: its fields, then the file.

    Args:
        source: The file.
        name: Its name.
        media_type: Its media type.
        fields: The other fields of the form.
        is_hashed: Whether ``digest`` is wanted, which costs CPU.
        progress: Gets the progress.
    """

    def __init__(
        self,
        source: UploadSource,
        *,
        name: str,
        media_type: str,
        fields: dict[str, str],
        is_hashed: bool,
        progress: OnTransfer | None,
    ) -> None:
        # A boundary must not be in the file; it cannot be guessed by who made the file.
        boundary = f"foxapi-{secrets.token_hex(16)}"
        self.content_type: str = f"multipart/form-data; boundary={boundary}"
        self._start = b"".join(
            _part(boundary, f'name="{field}"', None) + value.encode() + _LINE
            for field, value in fields.items()
        ) + _part(boundary, f'name="file"; filename="{_quoted(name)}"', media_type)
        self._end = f"\r\n--{boundary}--\r\n".encode()
        self._source = source
        self._name = name
        self._progress = progress
        self._digest = hashlib.sha256() if is_hashed else None
        self.sent: int = 0
        """How many bytes of the file were sent."""
        self.error: Exception | None = None
        """Why the file could not be read while it was sent."""

    @property
    def size(self) -> int | None:
        """The length of the body, if that of the file is known."""
        size = self._source.size
        return None if size is None else len(self._start) + size + len(self._end)

    @property
    def digest(self) -> str:
        """The SHA-256 of what was sent of the file, ``""`` if it was not wanted."""
        return "" if self._digest is None else self._digest.hexdigest()

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Read the body. A file that changes its size meanwhile is an error."""
        yield self._start
        total = self._source.size
        try:
            update = None if self._digest is None else self._digest.update
            async with aclosing(self._source.pieces(update)) as pieces:
                async for piece in pieces:
                    if total is not None and self.sent + len(piece) > total:
                        raise self._has_changed()  # noqa: TRY301 it is recorded as the others
                    yield piece
                    self.sent += len(piece)
                    if self._progress is not None:
                        self._progress(
                            TransferProgress(name=self._name, done=self.sent, total=total)
                        )
            if total is not None and self.sent != total:
                raise self._has_changed()  # noqa: TRY301 it is recorded as the others
        except Exception as error:
            # aiohttp would report a broken connection.
            self.error = error
            raise
        yield self._end

    def _has_changed(self) -> ValueError:
        return ValueError(
            f"{self._name} had {self._source.size} bytes and has another size now: it was written "
            "to while it was uploaded"
        )


def _part(boundary: str, disposition: str, media_type: str | None) -> bytes:
    kind = f"Content-Type: {media_type}\r\n" if media_type else ""
    return f"--{boundary}\r\nContent-Disposition: form-data; {disposition}\r\n{kind}\r\n".encode()


def _quoted(name: str) -> str:
    """Quote a name as browsers do; a safe name has neither line breaks nor quotes."""
    return name.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22")
