"""The tables of a journal, and the migrations from one version of them to the next."""

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
    literal_column,
    select,
    type_coerce,
    update,
)
from sqlalchemy.types import NullType

from foxapi_async._journal.seal import SEALS, sealed
from foxapi_async._sql import sqlite

METADATA: Final = MetaData()

VERSION: Final = Table("foxapi_journal", METADATA, Column("version", Integer, nullable=False))

SUBMISSIONS: Final = Table(
    "foxapi_submissions",
    METADATA,
    Column("run", String(16), primary_key=True),
    Column(
        "number",
        BigInteger().with_variant(Integer, "sqlite"),
        primary_key=True,
        autoincrement=False,
    ),
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
    # The checksums of the other columns: see ``seal``.
    Column("seal", BigInteger),
    Column("content_seal", BigInteger),
    # The large ones last: SQLite reads a row from its front.
    Column("body", LargeBinary),
    Column("task", LargeBinary),
    Column("streamed_completion", LargeBinary),
    Column("stream_was_cut", Boolean, nullable=False),
    UniqueConstraint("service", "key"),
    Index("foxapi_submissions_task_id", "task_id"),
)

RATES: Final = Table(
    "foxapi_rates",
    METADATA,
    # A hash of a base URL and an API key.
    Column("name", String(64), primary_key=True),
    # In Unix seconds by the clock of the database: see ``RateState``.
    Column("submits_due", Float(53), nullable=False),
    Column("tokens_due", Float(53), nullable=False),
    Column("paused_until", Float(53), nullable=False),
    Column("submits_before", Float(53), nullable=False),
    Column("tokens_before", Float(53), nullable=False),
    Column("granted_at", Float(53), nullable=False),
)
"""The rates of submissions, which all processes with the journal share."""

KEYS: Final = Index(
    "foxapi_submissions_keys", SUBMISSIONS.c.key, SUBMISSIONS.c.service, unique=True
)
"""The keys once more, so that damage to one index cannot make a key that is in use look free."""

# As a literal: an index of some rows does not serve a query with a parameter.
IS_SENT: Final = SUBMISSIONS.c.stage == literal_column("'sent'")
"""The condition of entries of which no more is known than that they were sent."""

SENT: Final = Index(
    "foxapi_submissions_sent",
    SUBMISSIONS.c.run,
    sqlite_where=IS_SENT,
    postgresql_where=IS_SENT,
)
"""The few entries that are under way, among all that have ended."""


_HAS_ENDED: Final = SUBMISSIONS.c.ended_at.is_not(None)

ENDED: Final = Index(
    "foxapi_submissions_ended",
    SUBMISSIONS.c.ended_at,
    SUBMISSIONS.c.run,
    SUBMISSIONS.c.number,
    sqlite_where=_HAS_ENDED,
    postgresql_where=_HAS_ENDED,
)
"""What has ended, in that order."""

COSTS: Final = Table(
    "foxapi_costs",
    METADATA,
    Column("run", String(16), primary_key=True),
    Column(
        "number",
        BigInteger().with_variant(Integer, "sqlite"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("service", String(512), nullable=False),
    Column("model", String(256), nullable=False),
    Column("state", String(16), nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("credits", Float(53)),
    Column("answer_tokens", BigInteger),
)
"""What each entry counts for in budgets. Only sessions with a budget write it."""

# As a literal, as above.
IS_FIRST: Final = COSTS.c.state == literal_column("'first'")
"""The condition of submissions that were sent before the price of their model was known."""

FIRST: Final = Index(
    "foxapi_costs_first", COSTS.c.run, sqlite_where=IS_FIRST, postgresql_where=IS_FIRST
)
"""The few of them whose price is not known yet."""

SPENT: Final = Table(
    "foxapi_spent",
    METADATA,
    Column("service", String(512), primary_key=True),
    Column("model", String(256), primary_key=True),
    Column("tasks", BigInteger, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("priced", BigInteger, nullable=False),
    Column("credits", Float(53), nullable=False),
    Column("answers", BigInteger, nullable=False),
    Column("answer_tokens", BigInteger, nullable=False),
    Column("silent", BigInteger, nullable=False),
)
"""The sums of the costs, by service and model."""


UPLOADS: Final = Table(
    "foxapi_uploads",
    METADATA,
    Column("service", String(512), primary_key=True),
    Column("digest", String(64), primary_key=True),
    Column("filename", String(255), primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("head", String(64), nullable=False),
    Column("expires_at", Float(53), nullable=False),
    Column("file", LargeBinary, nullable=False),
    Index("foxapi_uploads_expires_at", "expires_at"),
)
"""The links of uploads that are valid, so that a file is sent once."""


class Mismatch(Exception):  # noqa: N818 no user sees it
    """The file is no journal, or is damaged, or made by a newer release; the text says which."""


Step = Callable[[Connection], None]


def _create(connection: Connection) -> None:
    """Make the tables of the newest version; the later steps find nothing to do in them."""
    METADATA.create_all(connection)
    connection.execute(insert(VERSION).values(version=0))


def _add_seals(connection: Connection) -> None:
    """Make version 2: rows have checksums. Rows that are there are taken as they are."""
    if "seal" in (column["name"] for column in inspect(connection).get_columns(SUBMISSIONS.name)):
        return
    for name in SEALS:
        connection.exec_driver_sql(f"ALTER TABLE {SUBMISSIONS.name} ADD COLUMN {name} BIGINT")
    old = [column for column in SUBMISSIONS.c if column.name not in SEALS]
    as_it_is = [type_coerce(column, NullType()) for column in old]
    here = SUBMISSIONS.c.run == bindparam("at_run"), SUBMISSIONS.c.number == bindparam("at_number")
    for run, number in connection.execute(select(SUBMISSIONS.c.run, SUBMISSIONS.c.number)).all():
        place = {"at_run": run, "at_number": number}
        row = connection.execute(select(*as_it_is).where(*here), place).one()
        seals = sealed({column.name: value for column, value in zip(old, row, strict=True)})
        values = {name: seals[name] for name in SEALS}
        connection.execute(update(SUBMISSIONS).where(*here).values(values), place)


def _addition(*parts: Table | Index) -> Step:
    """Return the step that makes tables or indexes which a file may lack."""

    def add(connection: Connection) -> None:
        for part in parts:
            part.create(connection, checkfirst=True)

    return add


STEPS: Final[tuple[Step, ...]] = (
    _create,
    _add_seals,
    # 3: keys are in two indexes.
    _addition(KEYS),
    # 4: what is under way is found without reading what has ended.
    _addition(SENT),
    # 5: results are read in the order in which their tasks ended.
    _addition(ENDED),
    # 6: processes share the rates of their submissions.
    _addition(RATES),
    # 7: the links of uploads are kept.
    _addition(UPLOADS),
    # 8: processes share a budget.
    _addition(COSTS, SPENT),
)
"""The migrations from each version to the next; their number is the newest version."""


def migrate(connection: Connection, steps: Sequence[Step] = STEPS) -> None:
    """Bring the tables to the newest version, inside the caller's transaction.

    ``Mismatch`` if another program made the file, or a newer release of this one.
    """
    version = read_version(connection)
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


def check_columns(connection: Connection) -> None:
    """Raise ``Mismatch`` if the columns are not those that the version says."""
    dialect = connection.dialect
    wanted = {(column.name, column.type.compile(dialect)) for column in SUBMISSIONS.c}
    if not wanted <= sqlite.column_types(connection, SUBMISSIONS.name):
        raise Mismatch(damaged("its table has other columns"))


def damaged(how: str) -> str:
    """Return the end of the error for a damaged file."""
    return (
        f"is damaged ({' '.join(how.split())[:200]}): nothing is submitted with it. Save its rows "
        "with `sqlite3 FILE .recover | sqlite3 NEW`, and use the new file from then on"
    )


def read_version(connection: Connection) -> int:
    """Return the version of the tables, 0 if there are none.

    ``Mismatch`` if they lack a part. An SQLite file of another program is none of ours, while a
    server's database may have tables of many programs.
    """
    found = inspect(connection)
    if not found.has_table(VERSION.name):
        if connection.dialect.name == "sqlite" and found.get_table_names():
            raise Mismatch("is another program's database: give the journal a file of its own")
        return 0
    version = connection.execute(select(VERSION.c.version)).scalar()
    # The tables of a newer release may have other names.
    is_ours = isinstance(version, int) and version <= len(STEPS)
    if not isinstance(version, int) or (is_ours and not found.has_table(SUBMISSIONS.name)):
        raise Mismatch("lacks a table or its version: it was damaged, or made by another program")
    return version
