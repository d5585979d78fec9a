"""Data files of earlier versions."""

from itertools import groupby
from operator import itemgetter
from typing import Final

from sqlalchemy import Connection

from foxapi_async.gateway.store import schema
from foxapi_async.gateway.store.packing import pack_batches, pack_log

# Version 1 had no credits: its tasks are free, because their price is not known any more.
_ADD_CREDITS: Final = (
    "ALTER TABLE task ADD COLUMN credits FLOAT NOT NULL DEFAULT 0",
    "ALTER TABLE spent RENAME COLUMN tasks TO credits",
    "UPDATE spent SET credits = 0",
)
# Versions 1 to 3 did not store what answers a task.
_ADD_KIND: Final = "ALTER TABLE task ADD COLUMN kind TEXT"
# Versions 1 and 2 had the chunks of all tasks in one table, by task and number.
_LAST_WITH_CHUNK_TABLE: Final = 2
_RUNNING: Final = (
    "SELECT task, number, progress, CAST(frame AS BLOB) FROM chunk"
    " WHERE task IN (SELECT key FROM task WHERE ended IS NULL) ORDER BY task, number"
)
_ENDED: Final = (
    "SELECT task, CAST(frame AS BLOB) FROM chunk"
    " WHERE task IN (SELECT key FROM task WHERE ended IS NOT NULL) ORDER BY task, number"
)


def migrate(connection: Connection, version: int) -> bool:
    """Bring the tables of an earlier version to this one, in the transaction that is open.

    Return ``False``, and change nothing, if this package does not know the version.
    """
    if version not in {1, 2, 3}:
        return False
    if version == 1:
        for statement in _ADD_CREDITS:
            connection.exec_driver_sql(statement)
    if version <= _LAST_WITH_CHUNK_TABLE:
        _pack_chunks(connection)
    connection.exec_driver_sql(_ADD_KIND)
    connection.exec_driver_sql(f"PRAGMA user_version = {schema.VERSION}")
    return True


def _pack_chunks(connection: Connection) -> None:
    """Move the chunks into batches and logs."""
    schema.METADATA.create_all(connection, [schema.BATCH, schema.LOG])
    for batch in pack_batches(map(tuple, connection.exec_driver_sql(_RUNNING))):
        connection.execute(schema.ADD_BATCH, {"chunks": batch})
    for key, rows in groupby(connection.exec_driver_sql(_ENDED), itemgetter(0)):
        for page in pack_log(frame for _, frame in rows):
            connection.execute(schema.ADD_LOG, {"task": key, **page._asdict()})
    connection.exec_driver_sql("DROP TABLE chunk")
