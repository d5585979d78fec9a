"""Where tasks and their chunks are kept.

``sql`` is left to be imported where it is used: it needs the extra ``gateway``.
"""

from foxapi_async.gateway.store.choice import choose
from foxapi_async.gateway.store.keep import (
    Found,
    Log,
    Store,
    StoreError,
    Unfinished,
    UnstorableError,
)
from foxapi_async.gateway.store.memory import MemoryStore

__all__ = [
    "Found",
    "Log",
    "MemoryStore",
    "Store",
    "StoreError",
    "Unfinished",
    "UnstorableError",
    "choose",
]
