"""The tasks that ended last, or were asked for last."""

from collections import OrderedDict
from typing import Final

from foxapi_async.gateway.store.entry import Entry

# What an object of Python costs beside its bytes.
_OVERHEAD: Final = 64


class LRUCache:
    """Entries that have ended, up to ``room`` bytes of them; the least wanted goes first."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._entries: OrderedDict[str, tuple[Entry, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, task_id: str) -> Entry | None:
        """Return an entry, which is wanted now."""
        found = self._entries.get(task_id)
        if found is None:
            return None
        self._entries.move_to_end(task_id)
        return found[0]

    def keep(self, task_id: str, entry: Entry) -> None:
        """Keep an entry, and let others go for it."""
        size = _size(entry)
        self._room -= size
        self._entries[task_id] = entry, size
        while self._room < 0:
            _, (_, gone) = self._entries.popitem(last=False)
            self._room += gone


def _size(entry: Entry) -> int:
    size = len(entry.json) + 8 * _OVERHEAD
    if entry.log is not None:
        size += entry.log.size + _OVERHEAD * len(entry.log)
    return size
