"""The rows that an output already has, and the keys of a run."""

import sqlite3
from contextlib import closing
from typing import Final

_COUNT: Final = "INSERT INTO answered VALUES (?, 1) ON CONFLICT (id) DO UPDATE SET rows = rows + 1"
_NOTE: Final = "INSERT OR IGNORE INTO keys VALUES (?)"
_TAKE: Final = "UPDATE answered SET rows = rows - 1 WHERE id = ? AND rows > 0"


class RowIds:
    """Counts the ids of the rows that an output has, and notes the keys that a run has used.

    Both are in a temporary database, which is on the disk when there are many. Use it from one
    thread at a time.
    """

    def __init__(self) -> None:
        # An empty name is a temporary file, which SQLite removes.
        self._database = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        self._database.execute(
            "CREATE TABLE answered (id BLOB PRIMARY KEY, rows INTEGER NOT NULL) WITHOUT ROWID"
        )
        self._database.execute("CREATE TABLE keys (key TEXT PRIMARY KEY) WITHOUT ROWID")
        # Nothing survives the process, so there is nothing to roll back.
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("BEGIN")
        self.count: int = 0

    def add(self, row_id: str) -> None:
        """Count a row of the output."""
        self._database.execute(_COUNT, (row_id,))
        self.count += 1

    def take(self, row_id: str) -> bool:
        """Tell whether the output has this row; of equal rows, each one is taken once."""
        if not self.count:
            return False
        with closing(self._database.execute(_TAKE, (row_id,))) as found:
            return found.rowcount > 0

    def is_new(self, key: str) -> bool:
        """Tell whether the key was not used before."""
        with closing(self._database.execute(_NOTE, (key,))) as noted:
            return noted.rowcount > 0

    def close(self) -> None:
        """Drop the ids."""
        self._database.close()
