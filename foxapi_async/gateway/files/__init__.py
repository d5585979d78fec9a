"""Uploads, and the links of files."""

from pathlib import Path
from typing import Final

from foxapi_async.gateway.files.blobs import FolderBlobs, MemoryBlobs
from foxapi_async.gateway.files.download_routes import DownloadRoutes
from foxapi_async.gateway.files.file_storage import FileStorage
from foxapi_async.gateway.files.links import DeadLinkError, FileLinks
from foxapi_async.gateway.files.remote_file import RemoteFiles
from foxapi_async.gateway.files.stored_file import StoredFile
from foxapi_async.gateway.files.upload_routes import UploadRoutes
from foxapi_async.gateway.settings import GatewaySettings

__all__ = [
    "DeadLinkError",
    "DownloadRoutes",
    "FileLinks",
    "FileStorage",
    "RemoteFiles",
    "StoredFile",
    "UploadRoutes",
    "make_storage",
]

_RESULTS_IN_MEMORY: Final = 256 * 1024 * 1024


def make_storage(settings: GatewaySettings) -> FileStorage:
    """Return the storage of files that the settings name; it opens no folder yet."""
    if settings.data is None:
        blobs: MemoryBlobs | FolderBlobs = MemoryBlobs()
    else:
        data = Path(settings.data).absolute()
        blobs = FolderBlobs(data.with_name(f"{data.name}.files"))
    return FileStorage(
        blobs,
        settings.clock,
        file_limit=settings.effective_file_limit,
        storage_limit=settings.effective_storage_limit,
        result_limit=_RESULTS_IN_MEMORY if settings.data is None else None,
        seed=settings.seed,
    )
