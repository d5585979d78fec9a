"""Entries of a journal as JSON, as a table and one by one."""

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from foxapi_async.cli.output import Screen, local_time
from foxapi_async.cli.render import key_values, table
from foxapi_async.errors import JournalError
from foxapi_async.journal import Entry, Stage

if TYPE_CHECKING:
    from rich.text import Text


def show_entries(screen: Screen, entries: Collection[Entry], journal: str) -> None:
    """Show each entry, and what to do about those that cannot be read."""
    for entry in entries:
        screen.record(**entry_members(entry))
    if entries:
        screen.print(_entry_table(entries))
    for entry in entries:
        if entry.stage is Stage.UNREADABLE:
            screen.note(
                f"{entry.id}: {entry.fault}; check your account, then delete it with "
                f"`foxapi journal prune {journal} --entry {entry.id}`",
                "",
            )


def entry_members(entry: Entry) -> dict[str, Any]:
    """Return the members of an entry that `list` and `show` write as JSON."""
    return {
        "entry": str(entry.id),
        "key": entry.key,
        "stage": entry.stage.value,
        "model": entry.model,
        "task_id": entry.task_id,
        "sent_at": entry.sent_at,
        "ended_at": entry.ended_at,
        "service": entry.service,
        "fingerprint": entry.fingerprint,
        "fault": entry.fault,
    }


def entry_contents(entry: Entry) -> dict[str, Any]:
    """Return the request, the task and the streamed answer of an entry, decoded.

    Raises:
        JournalError: one of the three is not JSON.
    """
    return {
        "request": _content(entry, "request", entry.body),
        "task": _content(entry, "task", entry.task),
        "answer": _content(entry, "answer", entry.streamed_completion),
    }


def _content(entry: Entry, name: str, content: bytes | None) -> Any:
    try:
        return None if content is None else msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise JournalError(f"the {name} of entry {entry.id} is damaged") from None


def _entry_table(entries: Iterable[Entry]) -> "Text":
    # The ids come first, so that a terminal of 80 columns breaks none of them.
    return table(
        ("entry", "task", "stage", "sent", "key", "model"),
        [
            (
                str(entry.id),
                entry.task_id or "",
                entry.stage.value,
                local_time(entry.sent_at),
                entry.key or "",
                entry.model,
            )
            for entry in entries
        ],
    )


def member_table(members: dict[str, Any]) -> "Text":
    """Return a line for each member of an entry that is not null."""
    return key_values({name: _shown(name, value) for name, value in members.items()})


def _shown(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name in {"sent_at", "ended_at"}:
        return local_time(value)
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
