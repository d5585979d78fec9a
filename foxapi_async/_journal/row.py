"""From the columns of a row to an entry, whatever a disk has made of them."""

import math
from typing import Any, Final

import msgspec

from foxapi_async._journal.records import Entry, EntryId, Stage
from foxapi_async._journal.seal import SEALS, is_whole

_TRUTHS: Final = ("streamed", "answer_wins")
_NAMES: Final = ("service", "key", "model", "task_id")
_OURS: Final = frozenset({*SEALS, "run", "number"})


def read(row: dict[str, Any]) -> Entry:
    """Return the entry of a row; one that is damaged is ``UNREADABLE``, and says how."""
    note = EntryId(_text(row["run"]) or "?", _number(row["number"]))
    if not is_whole(row):
        return _unreadable(note, row, "its checksum does not match")
    # SQLAlchemy names a column by a text of its own kind.
    members = {str(it): value for it, value in row.items() if it not in _OURS}
    for name in _TRUTHS:
        # SQLite has no truths: it stores 0 and 1.
        members[name] = bool(members[name])
    try:
        return msgspec.convert({**members, "note": note}, Entry)
    except msgspec.ValidationError as error:
        # The row was damaged before rows had checksums.
        return _unreadable(note, row, f"{error}")


def _unreadable(note: EntryId, row: dict[str, Any], why: str) -> Entry:
    """Return what can be told of a damaged row: any of it but its note may be wrong."""
    names = {name: _text(row[name]) for name in _NAMES}
    sent_at = row["sent_at"]
    return Entry(
        note=note,
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
