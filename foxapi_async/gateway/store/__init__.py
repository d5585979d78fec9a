"""Stores of tasks and their chunks: in memory, or in a data file that outlives the process."""

from importlib.util import find_spec
from pathlib import Path

from foxapi_async.errors import ConfigError
from foxapi_async.gateway.settings import GatewaySettings
from foxapi_async.gateway.store.memory import MemoryStore
from foxapi_async.gateway.store.protocol import (
    MEDIA,
    Log,
    NumberedTask,
    Restored,
    Store,
    StoredRequest,
    StoreError,
    Unfinished,
    UnstorableError,
)
from foxapi_async.gateway.store.sql_store import SqlStore

__all__ = [
    "MEDIA",
    "Log",
    "MemoryStore",
    "NumberedTask",
    "Restored",
    "SqlStore",
    "Store",
    "StoreError",
    "StoredRequest",
    "Unfinished",
    "UnstorableError",
    "make_store",
]


def make_store(settings: GatewaySettings) -> Store:
    """Return the store for ``GatewaySettings.data``; it opens no file yet.

    ``ConfigError`` if the extra is missing that a data file needs.
    """
    clock, retention = settings.clock, settings.retention
    if settings.data is None:
        return MemoryStore(clock, retention=retention, task_retention=settings.task_retention)
    if find_spec("sqlalchemy") is None:
        raise ConfigError(
            "GatewaySettings.data needs an extra: python -m pip install 'foxapi-async[gateway]'"
        )
    return SqlStore(
        Path(settings.data).absolute(),
        clock,
        retention=retention,
        task_retention=settings.task_retention,
    )
