"""Reads and changes data files without the gateway."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

# The tables of version 1.
VERSION_1 = """
CREATE TABLE task (key INTEGER NOT NULL, id TEXT NOT NULL, owner TEXT NOT NULL,
    answer BLOB NOT NULL, request BLOB, ended FLOAT, closing BLOB,
    PRIMARY KEY (key), UNIQUE (id));
CREATE INDEX task_ended ON task (ended);
CREATE INDEX task_replayed ON task (ended) WHERE closing IS NOT NULL;
CREATE TABLE chunk (task INTEGER NOT NULL, number INTEGER NOT NULL, progress INTEGER NOT NULL,
    frame BLOB NOT NULL, PRIMARY KEY (task, number)) WITHOUT ROWID;
CREATE TABLE spent (owner TEXT NOT NULL, tasks INTEGER NOT NULL, PRIMARY KEY (owner)) WITHOUT ROWID;
CREATE TABLE run (number INTEGER NOT NULL, PRIMARY KEY (number));
PRAGMA application_id = 1181710401;
PRAGMA user_version = 1;
"""
VERSION_2 = (
    VERSION_1
    + """
ALTER TABLE task ADD COLUMN credits FLOAT NOT NULL DEFAULT 2.5;
ALTER TABLE spent RENAME COLUMN tasks TO credits;
PRAGMA user_version = 2;
"""
)


def execute(data: Path, statement: str, *values: object) -> list[Any]:
    """Execute a statement and return its rows."""
    with closing(sqlite3.connect(data)) as connection, connection:
        return connection.execute(statement, values).fetchall()


def change_chunks(data: Path, change: Callable[[list[Any]], list[Any]]) -> None:
    """Replace the values of each chunk of the running tasks: key, number, progress and frame."""

    def replaced(batch: bytes) -> bytes:
        return msgspec.msgpack.encode([change(chunk) for chunk in msgspec.msgpack.decode(batch)])

    with closing(sqlite3.connect(data)) as connection, connection:
        connection.create_function("replaced", 1, replaced)
        assert connection.execute("UPDATE batch SET chunks = replaced(chunks)").rowcount
