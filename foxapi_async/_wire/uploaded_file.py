"""The response to an upload (contract §11)."""

import re
from typing import Any, Final

from msgspec import UNSET, ValidationError
from msgspec.structs import force_setattr

from foxapi_async._wire.base import Decoder, ResponseStruct, coerces

VALID_SECONDS: Final = 72 * 3600.0
"""How long the link of an upload is valid (contract Q4)."""
_LINK: Final = re.compile(r"https?://[^\s/]+", re.IGNORECASE)


class UploadedFile(ResponseStruct, frozen=True, kw_only=True):
    """A file that the service has stored. Its ``url`` goes into requests."""

    url: str
    """The link. It needs no key: it is as secret as the file."""
    id: str = ""
    """The id of the file at the service."""
    filename: str = ""
    """The name of the file."""
    size: int | None = None
    """Its size in bytes, or ``None`` if the service does not say it."""
    created: int | None = None
    """When it was stored, in Unix seconds."""
    expires_at: float = 0.0
    """When the link ends at the earliest, in Unix seconds: 72 hours after the upload was begun. The
    service deletes the oldest files earlier when its storage is full.
    """

    def __post_init__(self) -> None:
        if not _LINK.match(self.url):
            raise ValidationError("`url` is no http(s) URL")


@coerces(UploadedFile)
def _coerce(name: str, value: Any) -> Any:
    return str(value) if name in {"id", "filename"} and isinstance(value, int) else UNSET


def with_expiry(uploaded: UploadedFile, begun_at: float) -> UploadedFile:
    """Return the file with the time when its link ends, from when its upload began."""
    force_setattr(uploaded, "expires_at", begun_at + VALID_SECONDS)
    return uploaded


uploaded_file_decoder = Decoder(UploadedFile)
