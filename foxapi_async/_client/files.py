"""``fox.files``: uploads and downloads."""

import os
from collections.abc import AsyncIterable, Iterable
from pathlib import Path
from typing import Final, TypeAlias, final

from msgspec import UNSET, UnsetType

from foxapi_async._client.downloads import ByteStream, Downloads
from foxapi_async._client.service_client import ServiceClient
from foxapi_async._client.uploads import UploadOptions, Via, upload, upload_url
from foxapi_async._wire.media_links import NamedLink
from foxapi_async._wire.media_results import MediaResult, first_link, links_of
from foxapi_async._wire.transfer_progress import OnTransfer
from foxapi_async._wire.uploaded_file import UploadedFile
from foxapi_async.config import URLObject, normalize_timeout, validate_timeout
from foxapi_async.content import BinaryFile
from foxapi_async.errors import ConfigError

UploadSource: TypeAlias = (
    str
    | bytes
    | bytearray
    | memoryview
    | os.PathLike[str]
    | BinaryFile
    | AsyncIterable[bytes]
    | URLObject
)
"""A URL, bytes, a path, an open binary file, or an asynchronous iterator of bytes."""

_VIAS: Final = (None, "stream", "base64", "url")


@final
class Files:
    """``fox.files``: uploads and downloads files. Neither is billed."""

    def __init__(self, service: ServiceClient) -> None:
        self._service = service
        self._downloads = Downloads(service)

    async def upload(
        self,
        source: UploadSource,
        *,
        filename: str | None = None,
        auto_cleanup: bool = True,
        via: Via | None = None,
        reuse: bool = True,
        progress: OnTransfer | None = None,
        timeout: float | None | UnsetType = UNSET,
    ) -> UploadedFile:
        """Upload a file and return its link, which is valid for 72 hours.

        A file is read while it is sent, so memory does not grow with its size. It is sent once:
        the same content under the same name gives the same link until six hours before that ends,
        while the session is open, or in every session with the same journal. What can be read once
        only, such as an iterator, is always sent.

        An upload is a write without an idempotency key: it is sent again only if no byte of it was
        sent. Cancelling closes the connection; the service may have stored the file.

        Args:
            source: A path, bytes, a file that is open for reading bytes, an iterator of bytes for
                ``async for``, or an http(s) URL, which the service fetches itself. An open file is
                read from its start if it can be rewound.
            filename: The name of the file; that of the path by default.
            auto_cleanup: Whether the service deletes the oldest files when its storage is full.
                Otherwise it then refuses the upload.
            via: How it is sent: ``"stream"`` as it is read, which is the default, ``"base64"`` as
                JSON, with all of it in memory, or ``"url"``, the default for a URL.
            reuse: Whether the link of an earlier upload may be returned, and this one kept. Without
                it the file is not hashed.
            progress: Called with a ``TransferProgress`` about once for each megabyte that is sent.
            timeout: Seconds of all attempts; ``Timeouts.call`` by default. ``None``: no limit. An
                attempt ends also when nothing is sent or answered for ``Timeouts.submit``.

        Returns:
            The file.

        Raises:
            UploadOutcomeUnknownError: The response was lost: the file may be stored.
            PermissionDeniedError: The storage is full and ``auto_cleanup`` is false.
            ContentTooLargeError: The service accepts no file of this size.
            APIStatusError: The service refused it for another reason.
            APIConnectionError: The service was not reached. Nothing was sent.
            ValueError: The file is empty, or a text is no URL.
            OSError: The file cannot be read.
        """
        self._service.runtime.enter()
        validate_timeout(timeout)
        if via not in _VIAS:
            raise ConfigError(f"via= must be 'stream', 'base64', 'url' or None, got {via!r}")
        url = _url_of(source)
        if via is not None and (url is not None) is not (via == "url"):
            raise ConfigError(f"via={via!r} does not fit: 'url' is for URLs, the others for files")
        options = UploadOptions(
            filename=filename,
            auto_cleanup=auto_cleanup,
            via=via,
            reuse=reuse,
            progress=progress,
            timeout=normalize_timeout(timeout) if timeout is not UNSET else UNSET,
        )
        if url is not None:
            return await upload_url(self._service, url, options)
        return await upload(self._service, source, options)

    async def download(
        self,
        file: str | UploadedFile | MediaResult | URLObject,
        path: str | os.PathLike[str] = ".",
        *,
        filename: str | None = None,
        overwrite: bool = False,
        progress: OnTransfer | None = None,
        timeout: float | None = None,
    ) -> Path:
        """Download a link to a file, and return its path.

        The file has its name only when it is whole; until then it is a hidden file with the ending
        ``.part`` beside it, which is deleted on every way out. After a cut the download goes on
        where it was if a strong ``ETag`` or an old ``Last-Modified`` proves that the file is the
        same, and begins anew otherwise. The API key is not sent.

        Args:
            file: The link, what ``upload`` returned, or a result of a media task: its first link.
            path: A folder, or the path of the file. A folder that does not exist ends with ``/``.
            filename: The name for a file in a folder; by default that of the result, the response
                or the link. It is made safe for every file system, and numbered if it is in use.
            overwrite: Whether a file of that name is replaced.
            progress: Called with a ``TransferProgress`` every two megabytes or so.
            timeout: Seconds of the whole download. ``None``: no limit.

        Returns:
            The path.

        Raises:
            FileExistsError: The path exists and ``overwrite`` is false.
            LinkExpiredError: 403, 404 or 410: the service no longer has the file.
            LinkRefusedError: The link leads to a private address, or to no http(s) URL.
            DownloadError: The file cannot be had, is larger than ``Limits.max_download_bytes`` or
                than the room on the disk.
            ValueError: The result has no link.
            APITimeoutError: ``timeout`` ran out.
            OSError: The file cannot be written.
        """
        link = _link_of(file)
        if filename is not None:
            link = link._replace(filename=filename)
        return await self._downloads.download(
            link, path, overwrite=overwrite, progress=progress, timeout=timeout
        )

    async def save(
        self,
        files: Iterable[str | UploadedFile | MediaResult | URLObject],
        folder: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        progress: OnTransfer | None = None,
    ) -> list[Path]:
        """Download several files into a folder, and return their paths in the same order.

        ``Limits.transfers`` are under way at a time. If some fail, the others are stored
        nevertheless, and then the first error is raised. A result without a link is left out.

        Args:
            files: The ``MediaResults`` of a task, or links and results of any.
            folder: The folder, which is made if it does not exist.
            overwrite: Whether files of the same names are replaced; otherwise the new ones get
                numbers.
            progress: Called with a ``TransferProgress`` of one of the files at a time.

        Returns:
            The paths.

        Raises:
            FoxAPIError: The errors of ``download``.
            OSError: A file cannot be written.
        """
        links = [
            link
            for file in files
            for link in (links_of(file) if isinstance(file, MediaResult) else [_link_of(file)])
        ]
        return await self._downloads.save(links, folder, overwrite=overwrite, progress=progress)

    def iter_bytes(self, file: str | UploadedFile | MediaResult | URLObject) -> ByteStream:
        """Return the bytes behind a link, as ``async for chunk in fox.files.iter_bytes(url)``.

        The link is opened by the first step, and read on after a cut as in ``download``. It counts
        for no limit but ``Limits.max_download_bytes``.

        Args:
            file: The link, what ``upload`` returned, or a result of a media task: its first link.

        Returns:
            An iterator of bytes for ``async for``, each chunk of at most some hundred kilobytes. It
            raises the errors of ``download``, and ``DownloadError`` for a file that has changed
            after bytes of it were delivered.
        """
        return self._downloads.iter_bytes(_link_of(file))


def _link_of(file: str | UploadedFile | MediaResult | URLObject) -> NamedLink:
    """Return the link of a file; of a result with several, the first."""
    if isinstance(file, MediaResult):
        return first_link(file)
    if isinstance(file, UploadedFile):
        return NamedLink(file.url, file.filename)
    return NamedLink(str(file))


def _url_of(source: object) -> str | None:
    """Return the text of a URL; ``None`` for a file."""
    if not isinstance(source, str) and not (hasattr(source, "scheme") and hasattr(source, "host")):
        return None
    url = str(source)
    if not url.lower().startswith(("http://", "https://")):
        raise ValueError(
            "a text must be an http(s) URL; wrap the name of a file in Path(...), and decode a "
            "data URI"
        )
    return url
