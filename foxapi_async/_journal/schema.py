"""The tables of a journal, and the way from one version of them to the next.

Only what SQLAlchemy has for every database is used here, so that another one than SQLite can
follow.
"""

from collections.abc import Callable, Sequence
from typing import Final

from sqlalchemy import (
    BigInteger,
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
    bindparam,
    insert,
    inspect,
    select,
    type_coerce,
    update,
)
from sqlalchemy.types import NullType

from foxapi_async._journal.seal import SEALS, sealed

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
    # Without them a row cannot be proved whole: see ``seal``.
    Column("seal", BigInteger),
    Column("content_seal", BigInteger),
    # The large ones last: SQLite reads a row from its front.
    Column("body", LargeBinary),
    Column("task", LargeBinary),
    Column("answer", LargeBinary),
    Column("answer_wins", Boolean, nullable=False),
    UniqueConstraint("service", "key"),
    Index("foxapi_submissions_task_id", "task_id"),
)


class Mismatch(Exception):  # noqa: N818 a signal between layers, which no user ever sees
    """The file is no journal, or damaged, or made by a newer release; the text goes on so."""


Step = Callable[[Connection], None]


def _create(connection: Connection) -> None:
    """Make the tables of the newest version; the later steps find nothing to do in them."""
    METADATA.create_all(connection)
    connection.execute(insert(VERSION).values(version=0))


def _add_seals(connection: Connection) -> None:
    """Make version 2: rows have checksums. What is there now is taken for whole."""
    if "seal" in (name for name, _ in _columns(connection)):
        return
    for name in SEALS:
        connection.exec_driver_sql(f"ALTER TABLE {SUBMISSIONS.name} ADD COLUMN {name} BIGINT")
    old = [column for column in SUBMISSIONS.c if column.name not in SEALS]
    as_it_is = [type_coerce(column, NullType()) for column in old]
    here = SUBMISSIONS.c.run == bindparam("at_run"), SUBMISSIONS.c.number == bindparam("at_number")
    for run, number in connection.execute(select(SUBMISSIONS.c.run, SUBMISSIONS.c.number)).all():
        note = {"at_run": run, "at_number": number}
        row = connection.execute(select(*as_it_is).where(*here), note).one()
        seals = sealed({column.name: value for column, value in zip(old, row, strict=True)})
        values = {name: seals[name] for name in SEALS}
        connection.execute(update(SUBMISSIONS).where(*here).values(values), note)


STEPS: Final[tuple[Step, ...]] = (_create, _add_seals)
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


def check(connection: Connection) -> None:
    """Raise ``Mismatch`` if the tables cannot be relied on.

    A key that an index has lost would not be found, and would be paid for again.
    """
    dialect = connection.dialect
    wanted = {(column.name, column.type.compile(dialect)) for column in SUBMISSIONS.c}
    if not wanted <= _columns(connection):
        raise Mismatch(_damaged("its table has other columns"))
    found = connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar()
    if found != "ok":
        raise Mismatch(_damaged(str(found)))


def _columns(connection: Connection) -> set[tuple[str, str]]:
    rows = connection.exec_driver_sql(f"PRAGMA table_info({SUBMISSIONS.name})")
    return {(row[1], row[2]) for row in rows}


def _damaged(how: str) -> str:
    return (
        f"is damaged ({' '.join(how.split())[:200]}): nothing is submitted with it. Save its rows "
        "with `sqlite3 FILE .recover | sqlite3 NEW`, and use the new file from then on"
    )


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
