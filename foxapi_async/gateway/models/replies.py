"""Scripted answers: the next reply, or the next one for a prompt."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import msgspec
from msgspec import Struct, ValidationError

from foxapi_async._wire.decode_errors import parse_error
from foxapi_async._wire.request import GenerationRequest
from foxapi_async.config import is_finite
from foxapi_async.errors import ConfigError
from foxapi_async.gateway.models.prompt import read_prompt
from foxapi_async.gateway.settings_files import parse_toml, read_settings_file

_MAX_REPLIES: Final = 100_000
_MAX_EXCERPT: Final = 120
_JSON_SPACE: Final = " \t\r"


class ReplyCall(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One tool call of a reply."""

    name: str
    """The name of the function."""
    arguments: dict[str, Any] | str = ""
    """The arguments: an object, or a text that is sent as it is, valid JSON or not."""
    id: str | None = None
    """The id of the call; ``None`` makes one."""


class Reply(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The scripted answer to one request.

    A wrong value raises ``ConfigError``, which names the field.
    """

    text: str = ""
    """The text of the answer. A stream splits it into words."""
    chunks: tuple[str, ...] | None = None
    """The text as the chunks of the stream, in place of ``text``."""
    reasoning: str = ""
    """The reasoning. A stream has it before the text; the stored completion has none."""
    tool_calls: tuple[ReplyCall, ...] = ()
    """The tool calls, after the text."""
    finish_reason: str | None = None
    """Why the answer ends; ``None`` means ``tool_calls`` or ``stop``."""
    error: str | None = None
    """The code of contract §8.3 with which the task fails after the text."""
    message: str = "the generation failed as the script asked"
    """The message of the error."""
    delay: float = 0.0
    """Seconds before the first chunk, beside the gateway's own delays."""
    prompt: str | None = None
    """Only requests with this text in their last user message get the reply; ``None`` means any."""
    times: int | None = 1
    """How many requests get the reply; ``None`` means any number."""

    def __post_init__(self) -> None:
        if self.chunks is not None and self.text:
            raise ConfigError("Reply.chunks is the text in pieces: leave Reply.text out")
        if self.times is not None and self.times < 1:
            raise ConfigError(f"Reply.times must be 1 or more, or None, got {self.times}")
        if not is_finite(self.delay) or self.delay < 0:
            raise ConfigError(f"Reply.delay must be seconds from 0 on, got {self.delay!r}")
        if self.error is not None and not self.error:
            raise ConfigError("Reply.error must be a code such as 'timeout', or None")

    @classmethod
    def of(cls, value: object) -> "Reply":
        """Return the reply for a text, an object with the fields of ``Reply``, or a reply.

        Raises:
            ConfigError: The value is none of these, or a field is wrong.
        """
        if isinstance(value, Reply):
            return value
        if isinstance(value, str):
            return cls(text=value)
        if not isinstance(value, Mapping):
            shown = repr(value)[:_MAX_EXCERPT]
            raise ConfigError(f"a reply is a text, or an object with its fields; got {shown}")
        try:
            return msgspec.convert(dict(cast("Mapping[str, object]", value)), cls)
        except ValidationError as error:
            if isinstance(error.__cause__, ConfigError):
                raise error.__cause__ from None
            problem = parse_error(error)
            where = f"Reply.{problem.param}: " if problem.param else "Reply: "
            raise ConfigError(where + problem.message) from None


class NoReplyLeftError(Exception):
    """The script has no reply for a prompt. The message says so to the client."""


class _Scripted:
    __slots__ = ("left", "reply")

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.left = reply.times


class Replies:
    """The scripted answers of one gateway, in order.

    Without replies the models answer. From the first ``add`` to ``clear`` each submit takes the
    first reply that fits its prompt and is left, and a submit that finds none is refused: 422 with
    the code ``no_reply_left``, before anything is billed.
    """

    def __init__(self, replies: Iterable[object] = ()) -> None:
        self._scripted: list[_Scripted] = []
        self._added = 0
        self.add(*replies)

    def __bool__(self) -> bool:
        return self._added > 0

    @property
    def left(self) -> tuple[Reply, ...]:
        """The replies that a request can still get, in order."""
        return tuple(item.reply for item in self._scripted)

    def add(self, *replies: object) -> None:
        """Append replies.

        Args:
            *replies: Texts, replies, or objects with the fields of ``Reply``.

        Raises:
            ConfigError: A reply is wrong; none is added.
        """
        added = [_Scripted(Reply.of(reply)) for reply in replies]
        if len(self._scripted) + len(added) > _MAX_REPLIES:
            raise ConfigError(f"at most {_MAX_REPLIES} replies")
        self._scripted += added
        self._added += len(added)

    def clear(self) -> None:
        """Remove all replies: the models answer again."""
        self._scripted.clear()
        self._added = 0

    def take(self, request: GenerationRequest) -> Reply | None:
        """Return the reply to ``request``; ``None`` without a script.

        Raises:
            NoReplyLeftError: No reply is left for the prompt.
        """
        if not self:
            return None
        prompt = read_prompt(request)
        for number, item in enumerate(self._scripted):
            if item.reply.prompt is None or item.reply.prompt in prompt.text:
                if item.left is not None:
                    item.left -= 1
                    if not item.left:
                        del self._scripted[number]
                return item.reply
        raise NoReplyLeftError(
            f"the script of this gateway has no reply for {prompt.excerpt!r}: of "
            f"{self._added} added replies {len(self._scripted)} are left, for other prompts; add "
            "one, or call replies.clear() to let the models answer"
        )


def load_replies(path: str | Path) -> tuple[Reply, ...]:
    """Read replies from a file.

    Args:
        path: A TOML file with ``replies = ["text", ...]`` or ``[[replies]]`` tables, a JSON file
            with a list, or a JSONL file with a reply in each line.

    Returns:
        The replies, in order.

    Raises:
        ConfigError: The file cannot be read, or a reply in it is wrong.
    """
    text = read_settings_file("replies", path)
    try:
        return tuple(_read_replies(Path(path).suffix.lower(), text))
    except ConfigError as error:
        raise ConfigError(f"replies file {path}: {error}") from None


def _read_replies(suffix: str, text: str) -> Iterator[Reply]:
    """Yield the replies of a file; a ``ConfigError`` names the line, or the number of the reply."""
    has_lines = suffix in {".jsonl", ".ndjson"}
    unit = "line" if has_lines else "reply"
    for number, item in enumerate(text.split("\n") if has_lines else _items(suffix, text), 1):
        try:
            if not has_lines:
                yield Reply.of(item)
            # Other line ends, such as U+2028, may stand inside a JSON text.
            elif line := str(item).strip(_JSON_SPACE):
                yield Reply.of(_parse_json(line))
        except ConfigError as error:
            raise ConfigError(f"{unit} {number}: {error}") from None


def _parse_json(text: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = f"line {error.lineno}, " if "\n" in text else ""
        raise ConfigError(f"it is not JSON: {error.msg} ({line}column {error.colno})") from None
    # Too many digits of a number, or too many levels.
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"it is not JSON: {error}") from None


def _items(suffix: str, text: str) -> Sequence[object]:
    """Return the list of a TOML or JSON file."""
    value = _parse_json(text) if suffix != ".toml" else None
    if suffix == ".toml":
        document = parse_toml(text)
        if unknown := sorted(document.keys() - {"replies"}):
            raise ConfigError(f"there is no {unknown[0]!r}; write [[replies]]")
        value = document.get("replies")
    if not isinstance(value, list):
        raise ConfigError("it has no list of replies")
    return cast("list[object]", value)
