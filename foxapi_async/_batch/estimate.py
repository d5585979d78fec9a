"""What a run would do: its rows, their tokens and its first requests. Sends nothing."""

from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any, Final

from msgspec import Struct, field

from foxapi_async._batch.plan import BatchOptions, Earlier, Plan, plan_rows
from foxapi_async._batch.requests import PreparedRow
from foxapi_async._batch.rows import InvalidRow, is_list, is_object
from foxapi_async._batch.state import BatchSettings

_SHOWN: Final = 3
# Measured on English prose; other languages have up to one token a character.
_BYTES_PER_TOKEN: Final = 4
_TOKENS_PER_MESSAGE: Final = 4


class ModelEstimate(Struct, kw_only=True):
    """The rows of one model."""

    rows: int = 0
    """Their number."""
    prompt_tokens: int = 0
    """The tokens of their requests, about: a fourth of the bytes of their texts."""
    max_completion_tokens: int = 0
    """The most tokens of their answers, of the rows that have a limit."""
    without_limit: int = 0
    """The rows whose answers have no limit."""


class Estimate(Struct, kw_only=True):
    """What a run would do."""

    settings: BatchSettings
    """The settings of the run."""
    models: dict[str, ModelEstimate] = field(default_factory=dict[str, ModelEstimate])
    """The rows by model."""
    invalid: int = 0
    """Rows that cannot be read, or have no request."""
    first_invalid: InvalidRow | None = None
    """The first of them."""
    duplicates: int = 0
    """Rows that would get the answer of an earlier row."""
    requests: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """The first three requests."""

    @property
    def rows(self) -> int:
        """The rows that have a request."""
        return sum(model.rows for model in self.models.values())


def estimate_rows(options: BatchOptions, stack: ExitStack) -> Estimate:
    """Read an input and return what a run would do. It blocks, so run it in a thread.

    Raises:
        BatchFileError: A file or an option cannot be used.
        ConfigError: An extra is missing.
    """
    items = plan_rows(options, stack, is_dry=True)
    plan = next(items)
    assert isinstance(plan, Plan)  # noqa: S101 the first item
    found = Estimate(settings=plan.settings)
    for item in items:
        if isinstance(item, InvalidRow):
            found.invalid += 1
            found.first_invalid = found.first_invalid or item
        elif isinstance(item, PreparedRow):
            if item.is_repeated:
                found.duplicates += 1
            else:
                _add(found, item)
        else:
            assert item is not Earlier.ROW  # noqa: S101 a dry run reads no output
    return found


def _add(found: Estimate, row: PreparedRow) -> None:
    params = row.params
    model = found.models.setdefault(params["model"], ModelEstimate())
    model.rows += 1
    model.prompt_tokens += prompt_tokens(params)
    limit = params.get("max_completion_tokens") or params.get("max_tokens")
    if isinstance(limit, int):
        number = params.get("n")
        model.max_completion_tokens += limit * (number if isinstance(number, int) else 1)
    else:
        model.without_limit += 1
    if len(found.requests) < _SHOWN:
        found.requests.append({**params, **params.get("extra", {})} | {"extra": None})
        del found.requests[-1]["extra"]


def prompt_tokens(params: dict[str, Any]) -> int:
    """Return about how many tokens the texts of a request have."""
    messages: Any = params.get("messages", params.get("prompt"))
    if isinstance(messages, str):
        return _TOKENS_PER_MESSAGE + _tokens(messages)
    return sum(
        _TOKENS_PER_MESSAGE + sum(map(_tokens, _texts(_member(message, "content"))))
        for message in _items(messages)
    )


def _texts(content: Any) -> Iterable[str]:
    texts = [content, *(_member(block, "text") for block in _items(content))]
    return (text for text in texts if isinstance(text, str))


def _items(value: Any) -> list[Any]:
    return value if is_list(value) else []


def _member(value: Any, name: str) -> Any:
    return value.get(name) if is_object(value) else None


def _tokens(text: str) -> int:
    return -(-len(text.encode()) // _BYTES_PER_TOKEN)
