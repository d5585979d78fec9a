"""What ``foxapi batch status``, ``cost`` and ``--dry-run`` show."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import asdict

from foxapi_async._batch.estimate import Estimate, ModelEstimate
from foxapi_async._batch.journal_sums import JournalSums, count_stages, mean_credits, sum_journal
from foxapi_async._batch.state import is_masked, masked_url
from foxapi_async._batch.status import BatchStatus
from foxapi_async.cli.output import Screen
from foxapi_async.cli.render import key_values, table
from foxapi_async.journal import open_journal


async def show_stages(screen: Screen, journal: str) -> None:
    """Show how many submissions of a journal are at each stage."""
    async with open_journal(journal) as opened:
        stages = dict(await count_stages(opened))
    screen.record(journal=masked_url(journal), stages=stages)
    screen.print(key_values({name: f"{count:,}" for name, count in sorted(stages.items())}))


async def show_status(screen: Screen, status: BatchStatus) -> None:
    """Show how far a batch is."""
    settings, totals = status.state.settings, status.state.totals
    written = status.written
    end = totals.end
    if end == "running" and not status.is_running:
        end_text = "killed"
    else:
        end_text = "running" if status.is_running else end
    stages = await _stages(settings.journal)
    members: dict[str, Any] = {
        "output": settings.output,
        "state": end_text,
        "answered": written.earlier,
        "errors": dict(status.errors),
        "prompt_tokens": written.prompt_tokens,
        "completion_tokens": written.completion_tokens,
        "credits": round(written.credits, 6) if written.with_credits else None,
        "begun": datetime.fromtimestamp(totals.started_at, UTC).isoformat(timespec="seconds"),
        "seconds": round(totals.seconds, 3),
        "input": settings.input,
        "errors_file": settings.errors,
        "journal": settings.journal,
        "stages": stages,
    }
    screen.record(**members)
    shown = members | {
        "errors": ", ".join(f"{count:,} {code}" for code, count in status.errors.most_common()),
        "stages": ", ".join(f"{count:,} {name}" for name, count in sorted((stages or {}).items())),
    }
    screen.print(
        key_values(
            {
                name: f"{value:,}" if isinstance(value, int | float) else str(value or "")
                for name, value in shown.items()
            }
        )
    )


async def _stages(journal: str) -> dict[str, int] | None:
    """Return the stages of a journal; ``None`` if it cannot be opened from here."""
    if is_masked(journal) or not await asyncio.to_thread(_exists, journal):
        return None
    async with open_journal(journal) as opened:
        return dict(await count_stages(opened))


async def show_cost(screen: Screen, journal: str) -> None:
    """Show what the submissions of a journal have used, by model."""
    async with open_journal(journal) as opened:
        sums = await sum_journal(opened)
    for name, model in sorted(sums.models.items()):
        members = asdict(model)
        members["credits"] = round(model.credits, 6) if model.with_credits else None
        screen.record(model=name, **members)
    screen.print(
        table(
            ("model", "submitted", "completed", "failed", "prompt tokens", "tokens", "credits"),
            [
                (
                    name,
                    f"{model.submitted:,}",
                    f"{model.completed:,}",
                    f"{model.failed:,}",
                    f"{model.prompt_tokens:,}",
                    f"{model.completion_tokens:,}",
                    f"{model.credits:,.6g}" if model.with_credits else "unknown",
                )
                for name, model in sorted(sums.models.items())
            ],
        )
    )


async def show_estimate(screen: Screen, estimate: Estimate) -> None:
    """Show what a run would do."""
    sums = await _sums(estimate.settings.journal)
    for name, model in sorted(estimate.models.items()):
        screen.record(model=name, **_model_members(name, model, sums))
    for request in estimate.requests:
        screen.record(request=request)
    invalid = estimate.first_invalid
    screen.record(
        rows=estimate.rows,
        invalid=estimate.invalid,
        duplicates=estimate.duplicates,
        first_invalid=None if invalid is None else {"line": invalid.line, "reason": invalid.reason},
        format=estimate.settings.format,
    )
    for request in estimate.requests:
        screen.print(msgspec.json.format(msgspec.json.encode(request)).decode())
    for name, model in sorted(estimate.models.items()):
        members = _model_members(name, model, sums)
        screen.print(
            f"{name}: {model.rows:,} rows, about {model.prompt_tokens:,} prompt tokens, "
            f"{_completion_text(model)}, {_cost_text(members)}"
        )
    screen.print(
        f"{estimate.rows:,} rows to submit, {estimate.duplicates:,} duplicates, "
        f"{estimate.invalid:,} invalid; nothing was sent"
    )
    if invalid is not None:
        screen.note(f"line {invalid.line}: {invalid.reason}", "")


def _completion_text(model: ModelEstimate) -> str:
    if model.without_limit:
        return f"no limit of completion tokens in {model.without_limit:,} rows"
    return f"at most {model.max_completion_tokens:,} completion tokens"


def _cost_text(members: dict[str, Any]) -> str:
    if members["credits"] is None:
        return "cost unknown: the journal has no task of this model"
    return f"about {members['credits']:,.6g} credits"


def _model_members(name: str, model: ModelEstimate, sums: JournalSums) -> dict[str, Any]:
    each = mean_credits(sums.models.get(name))
    return asdict(model) | {"credits": None if each is None else round(each * model.rows, 6)}


async def _sums(journal: str) -> JournalSums:
    """Return the sums of a journal; nothing if there is none yet."""
    if not await asyncio.to_thread(_exists, journal):
        return JournalSums()
    async with open_journal(journal) as opened:
        return await sum_journal(opened)


def _exists(journal: str) -> bool:
    return "://" in journal or Path(journal.partition("?")[0]).exists()
