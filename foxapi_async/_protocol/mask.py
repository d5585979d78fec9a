"""Finds an API key in texts, whole or in part, and masks it."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final, TypeVar, cast, final

from msgspec import Raw, Struct, UnsetType
from msgspec.json import encode as _encode
from msgspec.structs import astuple, replace

from foxapi_async._wire.base import Extra

_MIN_SECRET_LENGTH: Final = 4
_MIN_SHOWN_LENGTH: Final = 16
# Characters of the key in a row that count as a part of it: in a text, and in a name, such as the
# id of a task, that is useless if it is masked.
_RUN_IN_TEXT: Final = 8
_RUN_IN_NAME: Final = 16
_MAX_DEPTH: Final = 3
_HIDDEN: Final = "…"
# The members of error objects that are texts.
_TEXTS: Final = frozenset({"message", "detail"})

# One character in the escapes of JSON, repr, URLs or HTML, escaped once or repeatedly.
_ESCAPES: Final = (
    r"\\+(?:u00([2-7][0-9A-Fa-f])|x([2-7][0-9A-Fa-f])|([\"'/\\]))"
    r"|%(?:25)*([2-7][0-9A-Fa-f])|&#(?:[xX]0*([2-7][0-9A-Fa-f])|0*([0-9]{2,3}));"
)
_UNIT: Final = re.compile(_ESCAPES + "|.", re.DOTALL)
_ESCAPED: Final = re.compile(_ESCAPES)
_ESCAPED_BYTES: Final = re.compile(_ESCAPES.encode())
# Escaped quotes and slashes, which most JSON has, matter only for a key with such a character.
_QUOTABLE: Final = frozenset("\"'/\\")
_ESCAPED_UNQUOTABLE: Final = re.compile(rb"\\u00[2-7]|\\x[2-7]|%[2-7]|&#")

# What has no text, and raw JSON, which `Mask.struct` leaves as it is.
_TEXTLESS: Final = frozenset({int, float, bool, type(None), UnsetType, Raw})
# Up to this length, a search takes less time than the collection of the names.
_SHORT_BODY: Final = 400
_MAX_NESTING: Final = 8

_QUOTED: Final = 3
_DECIMAL: Final = 6

T = TypeVar("T")
Span = tuple[int, int]


@final
class Mask:
    """Masks one API key in texts, JSON and structs.

    The key is found in plain text and in the escapes of JSON, Python, URLs and HTML, also if they
    are nested. A part of the key is masked too, so that a text may be truncated before or after.
    """

    __slots__ = ("_blocks", "_byte_blocks", "_is_quotable", "_key", "_name_blocks", "placeholder")

    def __init__(self, key: str) -> None:
        self._key = key
        self.placeholder: str = (
            f"{key[:4]}…{key[-4:]}" if len(key) >= _MIN_SHOWN_LENGTH else _HIDDEN
        )
        self._blocks = _blocks(key, _RUN_IN_TEXT)
        self._name_blocks = _blocks(key, _RUN_IN_NAME)
        self._byte_blocks = tuple(block.encode().decode("latin-1") for block in self._blocks)
        self._is_quotable = not _QUOTABLE.isdisjoint(key)

    def __repr__(self) -> str:
        return f"<Mask {self.placeholder}>"

    def text(self, text: str) -> str:
        """Return ``text`` without eight characters of the key in a row."""
        return self._masked(text, _RUN_IN_TEXT) if _may_contain(self._blocks, text) else text

    def name(self, name: str) -> str:
        """Return ``name`` without the key, or without sixteen characters of a longer key in a row.

        For values that are compared or sent: a name may share a word with the key.
        """
        return self._masked(name, _RUN_IN_NAME) if _may_contain(self._name_blocks, name) else name

    def key_start(self, text: str) -> int:
        """Return the length of the longest end of ``text`` with which the key may begin.

        An end that overlaps with the whole key is not one.
        """
        size = len(self._key)
        whole = text.rfind(self._key)
        first = max(0, len(text) - size + 1, 0 if whole < 0 else whole + size)
        at = text.find(self._key[0], first)
        while at >= 0:
            if self._key.startswith(text[at:]):
                return len(text) - at
            at = text.find(self._key[0], at + 1)
        return 0

    def may_contain(self, data: bytes) -> bool:
        """Tell quickly whether ``data`` could contain the key or a part; no false negatives."""
        if not self._blocks:
            return False
        # On a `str`, `in` is four times as fast as on bytes, where it first tries an integer.
        text = data.decode("latin-1")
        for block in self._byte_blocks:
            if block in text:
                return True
        if self._is_quotable:
            return bool(_ESCAPED_BYTES.search(data))
        # These searches are faster than the expression, and most JSON has none of the four texts.
        may_escape = (
            "%" in text or "&" in text or ("\\" in text and ("\\u00" in text or "\\x" in text))
        )
        return may_escape and bool(_ESCAPED_UNQUOTABLE.search(data))

    def struct(self, value: T, source: bytes) -> T:
        """Return a masked struct, without masking raw JSON; ``value`` itself if nothing changes.

        Every response runs this. ``source``, the JSON that ``value`` was decoded from, is searched
        if it is short. Of a longer one, with results, only the names of the struct are searched;
        a struct with other texts needs the search of ``source``.
        """
        names: list[str] = []
        if (
            len(source) > _SHORT_BODY
            and (members := _members(value)) is not None
            and _collect_names(members, names, _MAX_NESTING)
        ):
            may_contain = _may_contain(self._name_blocks, " ".join(names))
        else:
            may_contain = self.may_contain(source)
        return cast("T", self._value(value)) if may_contain else value

    def record(self, value: T) -> T:
        """Return a masked struct for storage, raw JSON included."""
        try:
            # One pass over the bytes takes a tenth of the time of a walk through the members.
            may_contain = self.may_contain(_encode(value))
        except (TypeError, ValueError):
            may_contain = True  # a lone surrogate, or a type without a JSON form
        return cast("T", self._value(value, self._raw)) if may_contain else value

    def _raw(self, value: Any) -> Any:
        if not isinstance(value, Raw):
            return value
        data = bytes(value)
        masked = self.json(data)
        return value if masked is data else Raw(masked)

    def _value(self, value: Any, other: Callable[[Any], Any] | None = None) -> Any:
        if isinstance(value, str):
            return self.name(value)
        if isinstance(value, Struct):
            changed: dict[str, Any] = {}
            for name in value.__struct_fields__:
                old = getattr(value, name)
                is_text = name in _TEXTS and isinstance(old, str)
                new = self.text(old) if is_text else self._value(old, other)
                if new is not old:
                    changed[name] = new
            return replace(value, **changed) if changed else value
        found = self._container(value, lambda item: self._value(item, other))
        return found if other is None else other(found)

    def json(self, data: bytes) -> bytes:
        """Return JSON with its texts masked as names; ``data`` itself if nothing is masked."""
        if not self.may_contain(data):
            return data
        try:
            found = json.loads(data)
            masked = self._json_value(found)
        except (ValueError, RecursionError):
            return self.name(data.decode(errors="replace")).encode(errors="replace")
        return (
            data
            if masked is found
            else json.dumps(masked, ensure_ascii=False).encode(errors="replace")
        )

    def _json_value(self, value: Any) -> Any:
        return (
            self.name(value) if isinstance(value, str) else self._container(value, self._json_value)
        )

    def _container(self, value: Any, mask: Callable[[Any], Any]) -> Any:
        if isinstance(value, Mapping):
            members = cast("Mapping[str, Any]", value)
            pairs = {self.name(name): mask(item) for name, item in members.items()}
            if list(members) == list(pairs) and _are_identical(members.values(), pairs.values()):
                return members
            return Extra(pairs) if isinstance(value, Extra) else pairs
        if isinstance(value, tuple | list):
            old = cast("Sequence[Any]", value)
            items = [mask(item) for item in old]
            if _are_identical(old, items):
                return old
            return tuple(items) if isinstance(value, tuple) else items
        return value

    def _masked(self, text: str, least: int) -> str:
        spans = self._find(text, min(least, len(self._key)))
        if not spans:
            return text
        whole = [_contains_key(text[start:end], self._key) for start, end in spans]
        shown = _replace_spans(
            text, spans, [self.placeholder if is_key else _HIDDEN for is_key in whole]
        )
        # The visible ends of the key may form a part of it with the text beside them.
        again = self._find(shown, min(least, len(self._key)))
        return _replace_spans(text, spans, [_HIDDEN] * len(spans)) if again else shown

    def _find(self, text: str, least: int) -> list[Span]:
        """Return the spans of parts of the key, sorted and disjoint."""
        if not self._blocks:
            return []
        found: list[Span] = []
        for chars, bounds in _unescaped_forms(text):
            runs = self._runs(chars, least)
            if bounds is not None:
                runs = [(bounds[start][0], bounds[end - 1][1]) for start, end in runs]
            found += runs
        return _merge_spans(found)

    def _runs(self, chars: str, least: int) -> list[Span]:
        key, found = self._key, list[Span]()
        for block in self._blocks:
            at = chars.find(block)
            while at >= 0:
                for start in range(max(0, at + len(block) - least), at + 1):
                    run = chars[start : start + least]
                    if len(run) == least and run in key:
                        found.append((start, start + least))
                at = chars.find(block, at + 1)
        return found


def _blocks(key: str, run: int) -> tuple[str, ...]:
    """Return parts of ``key``, so that every ``run`` characters of it in a row contain one."""
    if len(key) < _MIN_SECRET_LENGTH:
        return ()
    size = (min(_RUN_IN_TEXT, len(key)) + 1) // 2
    starts = range(0, len(key) - size + 1, min(run, len(key)) - size + 1)
    return tuple(dict.fromkeys(key[at : at + size] for at in starts))


def _may_contain(blocks: Iterable[str], text: str) -> bool:
    """Tell quickly whether ``text`` could contain one of ``blocks``; no false negatives."""
    for block in blocks:
        if block in text:
            return True
    return "\\" in text or "%" in text or "&#" in text


def _collect_names(values: Iterable[Any], names: list[str], depth: int) -> bool:
    """Add all texts in ``values`` to ``names``.

    Returns:
        False if not all texts are names, or if ``values`` are nested deeper than ``depth``.
    """
    for value in values:
        if type(value) is str:
            names.append(value)
        elif value and type(value) not in _TEXTLESS:
            members = _members(value) if depth else None
            if members is None or not _collect_names(members, names, depth - 1):
                return False
    return True


def _members(value: Any) -> Iterable[Any] | None:
    """Return what ``value`` consists of; ``None`` for a struct with a text that is no name."""
    if isinstance(value, Struct):
        return astuple(value) if _has_names_only(type(value)) else None
    if isinstance(value, tuple | list):
        return cast("Sequence[Any]", value)
    if isinstance(value, Mapping):
        members = cast("Mapping[str, Any]", value)
        return (*members, *members.values())
    return (str.__str__(value),) if isinstance(value, str) else ()


@cache
def _has_names_only(kind: type[Struct]) -> bool:
    return _TEXTS.isdisjoint(kind.__struct_fields__)


def _unescaped_forms(text: str) -> list[tuple[str, list[Span] | None]]:
    """Return ``text`` and its unescaped forms, with the span of each character in ``text``."""
    readings: list[tuple[str, list[Span] | None]] = [(text, None)]
    chars, bounds = text, list[Span]()
    for _ in range(_MAX_DEPTH):
        if not _ESCAPED.search(chars):
            break
        units = list(_UNIT.finditer(chars))
        if bounds:
            bounds = [(bounds[unit.start()][0], bounds[unit.end() - 1][1]) for unit in units]
        else:
            bounds = [unit.span() for unit in units]
        chars = "".join(map(_character, units))
        readings.append((chars, bounds))
    return readings


def _character(unit: re.Match[str]) -> str:
    if unit.lastindex is None:
        return unit[0]
    code = unit[unit.lastindex]
    if unit.lastindex == _QUOTED:
        return code
    number = int(code, 10 if unit.lastindex == _DECIMAL else 16)
    return chr(number)


def _are_identical(olds: Iterable[Any], news: Iterable[Any]) -> bool:
    return all(old is new for old, new in zip(olds, news, strict=True))


def _contains_key(part: str, key: str) -> bool:
    return any(key in chars for chars, _ in _unescaped_forms(part))


def _merge_spans(spans: list[Span]) -> list[Span]:
    apart: list[Span] = []
    for start, end in sorted(spans):
        if apart and start <= apart[-1][1]:
            apart[-1] = apart[-1][0], max(end, apart[-1][1])
        else:
            apart.append((start, end))
    return apart


def _replace_spans(text: str, spans: Sequence[Span], shown: Sequence[str]) -> str:
    pieces: list[str] = []
    rest = 0
    for (start, end), instead in zip(spans, shown, strict=True):
        pieces += text[rest:start], instead
        rest = end
    return "".join([*pieces, text[rest:]])
