"""The tables of a journal, and the way from one version of them to the next.

Only what SQLAlchemy has for every database is used here, so that another one than SQLite can
follow.
"""

from collections.abc import Callable, Sequence
from typing import Final

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    insert,
    inspect,
    select,
    update,
)

METADATA: Final = MetaData()

VERSION: Final = Table("foxapi_journal", METADATA, Column("version", Integer, nullable=False))

SUBMISSIONS: Final = Table(
    "foxapi_submissions",
    METADATA,
    Column("run", String(16), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("service", String(512), nullable=False),
    Column("key", String(512)),
    Column("kind", String(16), nullable=False),
    Column("model", String(256), nullable=False),
    Column("fingerprint", String(32), nullable=False),
    Column("stage", String(16), nullable=False),
    Column("sent_at", Float(53), nullable=False),
    Column("ended_at", Float(53)),
    Column("streamed", Boolean, nullable=False),
    Column("task_id", String(256)),
    Column("fault", Text),
    # The large ones last: SQLite reads a row from its front.
    Column("body", LargeBinary),
    Column("task", LargeBinary),
    Column("answer", LargeBinary),
    Column("answer_wins", Boolean, nullable=False),
    UniqueConstraint("service", "key"),
    Index("foxapi_submissions_task_id", "task_id"),
)


class Mismatch(Exception):  # noqa: N818 a signal between layers, which no user ever sees
    """The file is not a journal, or not one that this release can read; the text goes on so."""


Step = Callable[[Connection], None]


def _create(connection: Connection) -> None:
    """Make version 1. A later version adds a step; this one must go on making the same tables."""
    METADATA.create_all(connection)
    connection.execute(insert(VERSION).values(version=0))


STEPS: Final[tuple[Step, ...]] = (_create,)
"""What leads from each version to the next; their number is the newest version."""


def migrate(connection: Connection, steps: Sequence[Step] = STEPS) -> None:
    """Bring the tables to the newest version, inside the caller's transaction.

    ``Mismatch`` if another program made the file, or a newer release of this one.
    """
    version = _version(connection)
    if version > len(steps):
        raise Mismatch(
            f"was written by a newer foxapi-async (its version is {version}, this one knows "
            f"{len(steps)}): upgrade the package"
        )
    if version == len(steps):
        return
    for step in steps[version:]:
        step(connection)
    connection.execute(update(VERSION).values(version=len(steps)))


def _version(connection: Connection) -> int:
    names = inspect(connection).get_table_names()
    if VERSION.name not in names:
        if names:
            raise Mismatch("is another program's database: give the journal a file of its own")
        return 0
    version = connection.execute(select(VERSION.c.version)).scalar()
    # What a newer release has made of the tables is not known here.
    is_ours = isinstance(version, int) and version <= len(STEPS)
    if not isinstance(version, int) or (is_ours and SUBMISSIONS.name not in names):
        raise Mismatch("lacks a table or its version: it was damaged, or made by another program")
    return version
