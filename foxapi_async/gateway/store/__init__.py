"""Where tasks and their chunks are kept.

``sql`` is left to be imported where it is used: it needs the extra ``gateway``.
"""

from foxapi_async.gateway.store.factory import open_store
from foxapi_async.gateway.store.memory import MemoryStore
from foxapi_async.gateway.store.protocol import (
    Log,
    Restored,
    Store,
    StoreError,
    Unfinished,
    UnstorableError,
)

__all__ = [
    "Log",
    "MemoryStore",
    "Restored",
    "Store",
    "StoreError",
    "Unfinished",
    "UnstorableError",
    "open_store",
]
