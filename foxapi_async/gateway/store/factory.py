"""Which store a gateway gets."""

from pathlib import Path

from foxapi_async.errors import ConfigError
from foxapi_async.gateway.settings import GatewaySettings
from foxapi_async.gateway.store.memory import MemoryStore
from foxapi_async.gateway.store.protocol import Store


def open_store(settings: GatewaySettings) -> Store:
    """Return the store that the settings ask for: a file's, or one of this process alone."""
    clock, retention = settings.clock, settings.retention
    if settings.data is None:
        return MemoryStore(clock, retention=retention, task_retention=settings.task_retention)
    try:
        # Loaded where it is used: SQLAlchemy is an extra and takes its time.
        from foxapi_async.gateway.store.sql_store import SqlStore
    except ModuleNotFoundError as error:
        if error.name not in {"aiosqlite", "sqlalchemy"}:
            raise
        raise ConfigError(
            "GatewaySettings.data needs SQLAlchemy and aiosqlite: "
            "pip install 'foxapi-async[gateway]'"
        ) from None
    return SqlStore(
        Path(settings.data).absolute(),
        clock,
        retention=retention,
        task_retention=settings.task_retention,
    )
