"""Where tasks and their chunks are kept."""

from foxapi_async.gateway.store.keep import Store
from foxapi_async.gateway.store.memory import MemoryStore

__all__ = ["MemoryStore", "Store"]
