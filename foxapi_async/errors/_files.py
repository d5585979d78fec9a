"""Errors of uploads and downloads."""

from foxapi_async.errors._base import FoxAPIError


class FileTransferError(FoxAPIError):
    """A file was not uploaded or downloaded whole."""

    advice = "See .fault, then transfer the file again: nothing of it is billed."

    def __init__(self, message: str, *, fault: FoxAPIError | None = None) -> None:
        super().__init__(message)
        self.fault = fault
        """The error of the last request, or ``None``."""


class UploadOutcomeUnknownError(FileTransferError):
    """An upload was sent and its response was lost: the service may have stored the file.

    Uploads are not billed. The same file, uploaded again, may be stored twice.
    """

    advice = "Upload it again unless the storage is short: a second copy is not billed."


class DownloadError(FileTransferError):
    """A download did not reach its end. No part of the file is left behind."""

    advice = "See .fault and .status, then download it again while its link is valid."

    def __init__(
        self,
        message: str,
        *,
        url: str = "",
        status: int | None = None,
        fault: FoxAPIError | None = None,
    ) -> None:
        super().__init__(message, fault=fault)
        self.url = url
        """The link, without its query."""
        self.status = status
        """The HTTP status, or ``None`` if there was no response."""


class LinkExpiredError(DownloadError):
    """403, 404 or 410: the link is no longer valid, or the file was deleted.

    Links of results are valid for 24 hours, those of uploads and of Suno for 72 (contract Q4).
    """

    advice = (
        "Poll the task once more, as with fox.tasks.get(id): its links may have been renewed. "
        "Download results soon; an upload is sent again with reuse=False."
    )


class LinkRefusedError(DownloadError):
    """The link, or a redirect of it, leads where a download does not go. Nothing was sent there."""

    advice = (
        "Links are http(s) URLs of public addresses, with at most five redirects; private "
        "addresses are followed only if base_url is one."
    )
