"""Builds an entry from the columns of a row, which the disk may have damaged."""

import math
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from foxapi_async._journal.records import Entry, EntryId, Stage
from foxapi_async._journal.seal import SEALS

_BOOLEANS: Final = ("streamed", "stream_was_cut")
_NAMES: Final = ("service", "key", "model", "task_id")
_OURS: Final = frozenset({*SEALS, "run", "number"})


def read(row: Mapping[str, Any], *, is_whole: bool) -> Entry:
    """Return the entry of a row. That of a damaged row is ``UNREADABLE``, and says why.

    ``is_whole`` says that its checksums match, or are the database's concern.
    """
    entry_id = EntryId(_text(row["run"]) or "?", _number(row["number"]))
    if not is_whole:
        return _unreadable(entry_id, row, "its checksum does not match")
    # SQLAlchemy names a column by a text of its own kind.
    members = {str(it): value for it, value in row.items() if it not in _OURS}
    for name in _BOOLEANS:
        # SQLite stores them as 0 and 1.
        members[name] = bool(members[name])
    try:
        return msgspec.convert({**members, "id": entry_id}, Entry)
    except msgspec.ValidationError as error:
        # The row was damaged before it got its checksums.
        return _unreadable(entry_id, row, f"{error}")


def _unreadable(entry_id: EntryId, row: Mapping[str, Any], why: str) -> Entry:
    """Return the members of a damaged row that have the right type; each may be wrong."""
    names = {name: _text(row[name]) for name in _NAMES}
    sent_at = row["sent_at"]
    return Entry(
        id=entry_id,
        service=names["service"] or "",
        key=names["key"],
        model=names["model"] or "",
        task_id=names["task_id"],
        fingerprint="",
        stage=Stage.UNREADABLE,
        sent_at=sent_at if isinstance(sent_at, float) and math.isfinite(sent_at) else 0.0,
        fault=f"the row of this entry is damaged: {why}",
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
