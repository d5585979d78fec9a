"""What a JSON object of the service is made of: a frozen struct that keeps what it knows not."""

from collections.abc import Callable, Iterator, Mapping
from secrets import token_hex
from types import UnionType
from typing import Any, ClassVar, Generic, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import UNSET, DecodeError, Raw, Struct, UnsetType, ValidationError, field


class Extra(Mapping[str, Any]):
    """The members of a JSON object that its shape does not name, read-only.

    msgspec cannot build this class from JSON, so no answer can pretend to be one.
    """

    __slots__ = ("_members",)

    def __init__(self, members: Mapping[str, Any] | None = None) -> None:
        self._members = dict(members or {})

    def __getitem__(self, name: str) -> Any:
        return self._members[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __repr__(self) -> str:
        return repr(self._members)

    def __reduce__(self) -> tuple[type["Extra"], tuple[dict[str, Any]]]:
        return Extra, (self._members,)


_NOTHING = Extra()
# A JSON name that nobody else can know, so that no text of a user or a server is taken for it.
_MARK = f"(extra {token_hex(8)})"
_MARK_BYTES = f'"{_MARK}":'.encode()


class Shape(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, repr_omit_defaults=True):
    """A JSON object with named members; the others stay readable in ``extra``."""

    # A lenient shape sets an optional member of the wrong type aside in `extra` and keeps the
    # default; a strict one refuses the object.
    _LENIENT: ClassVar[bool] = False

    _extra: Extra | UnsetType = field(default=UNSET, name=_MARK)

    @property
    def extra(self) -> Extra:
        """Members that this version of the SDK does not know, by name."""
        return self._extra if self._extra is not UNSET else _NOTHING


class Answer(Shape, frozen=True, kw_only=True, gc=False):
    """A shape that the service sends. It is built from JSON alone, so it can hold no cycle."""


S = TypeVar("S", bound=Shape)


class Reader(Generic[S]):
    """Decodes one shape from bytes. Build it once, at import.

    The first try refuses unknown members, which costs nothing when there are none; only an object
    that fails it is read again member by member.
    """

    __slots__ = ("_open", "_shape", "_strict")

    def __init__(self, shape: type[S]) -> None:
        self._shape = shape
        self._strict = msgspec.json.Decoder(shape).decode
        self._open: Callable[[Raw | bytes], S] | None = None

    @property
    def strict(self) -> Callable[[bytes], S]:
        """The bare decoder: quickest, and refuses any object that is not wholly known."""
        return self._strict

    def read(self, data: bytes | Raw) -> S:
        """Decode ``data`` and keep its unknown members; ``DecodeError`` if it is not the shape."""
        try:
            return self._strict(data)
        except ValidationError:
            return self._read_members(data)
        except (RecursionError, UnicodeDecodeError) as error:
            raise DecodeError(str(error)) from None

    def convert(self, value: object) -> S:
        """Build the shape from Python values, keeping unknown members."""
        try:
            return msgspec.convert(value, self._shape)
        except ValidationError:
            return self.read(encode(value))

    def _read_members(self, data: bytes | Raw) -> S:
        if self._open is None:
            self._open = _open_reader(self._shape)
        try:
            return self._open(data)
        except (RecursionError, UnicodeDecodeError) as error:
            raise DecodeError(str(error)) from None


_read_any = msgspec.json.Decoder().decode
_read_members = msgspec.json.Decoder(dict[str, Raw]).decode
_read_items = msgspec.json.Decoder(list[Raw]).decode


def _open_reader(shape: type[S]) -> Callable[[Raw | bytes], S]:
    """Return a reader of ``shape`` that keeps unknown members, nested shapes included."""
    fields = [item for item in msgspec.structs.fields(shape) if item.name != "_extra"]
    readers = {item.encode_name: (item, _member_reader(item.type)) for item in fields}

    def read(data: Raw | bytes) -> S:
        known: dict[str, Any] = {}
        unknown: dict[str, Any] = {}
        for name, member in _read_members(data).items():
            item, read_member = readers.get(name, (None, _read_any))
            if item is None:
                unknown[name] = _read_any(member)
                continue
            try:
                known[item.name] = read_member(member)
            except ValidationError as error:
                if item.required or not shape._LENIENT:  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
                    raise _placed(error, f".{name}") from None
                unknown[name] = _read_any(member)
        missing = [item.encode_name for item in fields if item.required and item.name not in known]
        if missing:
            raise ValidationError(f"Object missing required field `{missing[0]}`")
        return shape(**known, _extra=Extra(unknown)) if unknown else shape(**known)

    return read


def _member_reader(annotation: Any) -> Callable[[Raw], Any]:
    """Return the reader of one member: shapes and tuples of them are opened, others are typed."""
    union = get_origin(annotation) in {Union, UnionType}
    options = get_args(annotation) if union else (annotation,)
    typed = msgspec.json.Decoder(annotation).decode
    for option in options:
        if isinstance(option, type) and issubclass(option, Shape):
            return _opened(_open_reader(option), typed, b"{")
        inner = get_args(option)[:1]
        if (
            get_origin(option) is tuple
            and isinstance(inner[0], type)
            and issubclass(inner[0], Shape)
        ):
            return _opened(_items_reader(_open_reader(inner[0])), typed, b"[")
    return typed


def _items_reader(read_item: Callable[[Raw], Any]) -> Callable[[Raw], Any]:
    def read(data: Raw) -> tuple[Any, ...]:
        items: list[Any] = []
        for number, item in enumerate(_read_items(data)):
            try:
                items.append(read_item(item))
            except ValidationError as error:
                raise _placed(error, f"[{number}]") from None
        return tuple(items)

    return read


def _placed(error: ValidationError, place: str) -> ValidationError:
    """Return ``error`` as msgspec words it, seen from one level further out."""
    what, _, path = str(error).partition(" - at `$")
    return ValidationError(f"{what} - at `${place}{path or '`'}")


def _opened(
    read: Callable[[Raw], Any], typed: Callable[[Raw], Any], first: bytes
) -> Callable[[Raw], Any]:
    """Use ``read`` for JSON that begins with ``first``, the typed decoder for anything else."""
    return lambda data: read(data) if bytes(data)[:1] == first else typed(data)


def _encode_extra(value: object) -> object:
    if isinstance(value, Extra):
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot be sent as JSON")


_Json = dict[str, "_Json"] | list["_Json"] | str | float | bool | None

_encoder = msgspec.json.Encoder(enc_hook=_encode_extra)


def encode(value: object) -> bytes:
    """Encode ``value`` as JSON, each shape's ``extra`` beside its named members."""
    data = _encoder.encode(value)
    return _encoder.encode(_flatten(_read_any(data))) if _MARK_BYTES in data else data


def _flatten(value: "_Json") -> "_Json":
    if isinstance(value, dict):
        extra = value.pop(_MARK, None)
        members = {name: _flatten(member) for name, member in value.items()}
        return members | extra if isinstance(extra, dict) else members
    if isinstance(value, list):
        return [_flatten(item) for item in value]
    return value
