"""What a JSON object of the service is made of: a frozen struct that keeps what it knows not."""

import json
import math
from collections.abc import Callable, Mapping
from functools import cache
from types import UnionType
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    TypeGuard,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
)

import msgspec
from msgspec import UNSET, DecodeError, Raw, Struct, UnsetType, ValidationError, field

from foxapi_async._wire.decode_errors import missing_member, nested_error, wrong_type


class Extra(dict[str, Any]):
    """The members of a JSON object that its shape does not name, read-only.

    msgspec cannot build this class from JSON, so no answer can pretend to be one.
    """

    __slots__ = ()

    if not TYPE_CHECKING:  # whose checkers would want each with its own signature

        def _refuse(self, *_: object, **__: object) -> Any:
            raise TypeError("these members are read-only; dict(...) gives a copy that is not")

        __setitem__ = __delitem__ = __ior__ = _refuse
        clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[type["Extra"], tuple[dict[str, Any]]]:
        return Extra, (dict(self),)


_NO_EXTRA = Extra()
_EXTRA = "extra"
_EXTRA_BYTES = b'"extra":'


class WireStruct(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, repr_omit_defaults=True
):
    """A JSON object with named members; the others stay readable in ``extra``."""

    _extra: Extra | UnsetType = field(default=UNSET, name=_EXTRA)

    @property
    def extra(self) -> Extra:
        """Members that this version of the SDK does not know, by name.

        In an answer of the service also those known ones whose value was not of their type: the
        member itself then has its default, or what the value could be read as.
        """
        return self._extra if self._extra is not UNSET else _NO_EXTRA


class ResponseStruct(WireStruct, frozen=True, kw_only=True, gc=False):
    """A shape that the service sends. It is built from JSON alone, so it can hold no cycle.

    Only what is required can make one unreadable: an optional member of another type than its own
    goes to ``extra`` as it is.
    """

    def to_dict(self) -> dict[str, Any]:
        """Return the object as JSON knows it: a new ``dict`` of texts, numbers, lists and dicts.

        Unknown members stand beside the named ones. A named member whose value was of another type
        is written as this object has it.
        """
        return cast("dict[str, Any]", to_plain(self))

    def to_json(self) -> str:
        """Return the JSON text of ``to_dict()``."""
        try:
            return msgspec.json.encode(to_plain(self)).decode()
        except UnicodeEncodeError:
            # Half of a surrogate pair, which has no UTF-8: written as JSON's own escape.
            return json.dumps(to_plain(self), ensure_ascii=True, separators=(",", ":"))


Coercion = Callable[[str, Any], Any]
_coercions: dict[type[ResponseStruct], Coercion] = {}


def coerces(shape: type[ResponseStruct]) -> Callable[[Coercion], Coercion]:
    """Let a function say what an odd value of a member of ``shape`` is known to mean.

    It gets the member's JSON name and the value as Python sees it, and returns what the member is
    to be, ``UNSET`` where that cannot be told.
    """

    def register(mender: Coercion) -> Coercion:
        _coercions[shape] = mender
        return mender

    return register


S = TypeVar("S", bound=WireStruct)


class Decoder(Generic[S]):
    """Decodes one shape from bytes. Build it once, at import.

    The first try refuses all that is not as it should be, which costs nothing where all is; only an
    object that fails it is read again member by member. ``defaults`` are members, by their JSON
    names, that are taken for said where the object leaves them out or says something unreadable.
    With ``keep_surrogates`` a lone half of a surrogate pair stays in its text, else U+FFFD stands
    for it.
    """

    __slots__ = ("_builder", "_defaults", "_keep_surrogates", "_shape", "_strict")

    def __init__(
        self,
        shape: type[S],
        *,
        defaults: Mapping[str, Any] | None = None,
        keep_surrogates: bool = False,
    ) -> None:
        self._shape = shape
        self._defaults = defaults or {}
        self._keep_surrogates = keep_surrogates
        self._strict = msgspec.json.Decoder(shape).decode
        self._builder: _Builder[S] | None = None

    @property
    def decode_strict(self) -> Callable[[bytes], S]:
        """The bare decoder: quickest, and refuses any object that is not wholly known."""
        return self._strict

    def decode(self, data: bytes | Raw) -> S:
        """Decode ``data`` and keep its unknown members; ``DecodeError`` if it is not the shape."""
        try:
            return self._strict(data)
        except (DecodeError, UnicodeDecodeError):
            return self._decode_leniently(data)
        except RecursionError as error:
            raise DecodeError(str(error)) from None

    def convert(self, value: object) -> S:
        """Build the shape from Python values, keeping unknown members."""
        try:
            return msgspec.convert(value, self._shape)
        except ValidationError:
            return self.decode(encode(value))

    def build(self, members: Mapping[str, Any]) -> S:
        """Build the shape from members that were read from JSON, as `decode` does."""
        self._builder = self._builder or _Builder(self._shape)
        return self._builder.build(members, self._defaults)

    def _decode_leniently(self, data: bytes | Raw) -> S:
        builder = self._builder = self._builder or _Builder(self._shape)
        try:
            try:
                members = builder.members(data)
            except (DecodeError, UnicodeDecodeError):
                if not builder.is_lenient:
                    raise
                members = builder.members_of(
                    _decode_nonstandard(data, halves=self._keep_surrogates)
                )
            return builder.build(members, self._defaults)
        except (RecursionError, UnicodeError) as error:
            raise DecodeError(str(error)) from None


_decode_any = msgspec.json.Decoder().decode
_decode_members = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_raw_items = msgspec.json.Decoder(list[Raw]).decode


class _InvalidItemsError(ValidationError):
    """Some items of a list are not of its type; ``valid_items`` are the others."""

    def __init__(self, error: ValidationError, valid_items: tuple[Any, ...]) -> None:
        super().__init__(str(error))
        self.rest = valid_items


class _Builder(Generic[S]):
    """Builds one shape from the members of a JSON object, and those inside it likewise."""

    def __init__(self, shape: type[S]) -> None:
        self._shape = shape
        self.is_lenient: bool = issubclass(shape, ResponseStruct)
        fields = _fields_of(shape)
        self._fields = {item.encode_name: item for item in fields}
        self._decoders = {
            item.encode_name: _member_decoder(item.type, is_lenient=self.is_lenient)
            for item in fields
        }
        self._coercions = [_coercions[cls] for cls in shape.__mro__ if cls in _coercions]
        # Lists of raw JSON, which have to be byte for byte as they came.
        self._raw = {item.encode_name for item in fields if _item_type(item.type) is Raw}

    def members(self, data: bytes | Raw) -> dict[str, Any]:
        """Return the members of the JSON object ``data``, as Python values."""
        if not self._raw:
            return self.members_of(_decode_any(data))
        return {
            name: _decode_raw_items(value)
            if name in self._raw and bytes(value)[:1] == b"["
            else _decode_any(value)
            for name, value in _decode_members(data).items()
        }

    def members_of(self, value: Any) -> dict[str, Any]:
        """Return the members that the JSON ``value`` has, as Python sees it."""
        if not is_object(value):
            raise wrong_type("object", value)
        for name in self._raw & value.keys():
            if is_list(value[name]):
                value[name] = [Raw(msgspec.json.encode(item)) for item in value[name]]
        return value

    def build(self, members: Mapping[str, Any], defaults: Mapping[str, Any]) -> S:
        """Return the shape; ``ValidationError`` if what is required is missing or odd."""
        known = {name: value for name, value in members.items() if name in self._fields}
        extra = {name: value for name, value in members.items() if name not in self._fields}
        try:
            kept = {_EXTRA: Extra(extra)} if extra else {}
            return msgspec.convert({**defaults, **known, **kept}, self._shape)
        except ValidationError:
            return self._build_each(known, extra, defaults)

    def _build_each(
        self, known: Mapping[str, Any], extra: dict[str, Any], defaults: Mapping[str, Any]
    ) -> S:
        built: dict[str, Any] = {self._fields[name].name: value for name, value in defaults.items()}
        for name, value in known.items():
            item = self._fields[name]
            try:
                built[item.name] = self._decoders[name](value)
            except ValidationError as error:
                if not self.is_lenient or (item.required and name not in defaults):
                    raise nested_error(error, f".{name}") from None
                extra[name] = value
                meant = (
                    error.rest
                    if isinstance(error, _InvalidItemsError)
                    else self._coerce(name, value)
                )
                if meant is not UNSET:
                    built[item.name] = meant
        for name, item in self._fields.items():
            if item.required and item.name not in built:
                raise missing_member(name)
        return self._shape(**built, _extra=Extra(extra) if extra else UNSET)

    def _coerce(self, name: str, value: Any) -> Any:
        """Return what an odd value stands for: by the shape's own word, or a number in a text."""
        for mender in self._coercions:
            if (meant := mender(name, value)) is not UNSET:
                return meant
        try:
            return msgspec.convert(value, self._fields[name].type, strict=False)
        except ValidationError:
            return UNSET


def _member_decoder(annotation: Any, *, is_lenient: bool) -> Callable[[Any], Any]:
    """Return the reader of one member: shapes and tuples of them are opened, others are typed."""

    def typed(value: Any) -> Any:
        return msgspec.convert(value, annotation)

    for option in _options(annotation):
        if isinstance(option, type) and issubclass(option, WireStruct):
            builder = _Builder(option)
            return lambda value: builder.build(value, {}) if is_object(value) else typed(value)
    item = _item_type(annotation)
    if item is None or item is Raw:
        return typed
    read_item = _member_decoder(item, is_lenient=is_lenient)
    return lambda value: (
        _decode_items(read_item, value, is_lenient=is_lenient) if is_list(value) else typed(value)
    )


def is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    """Tell whether a JSON value is an object."""
    return isinstance(value, dict)


def is_list(value: Any) -> TypeGuard[list[Any]]:
    """Tell whether a JSON value is a list."""
    return isinstance(value, list)


def _is_tuple(value: Any) -> TypeGuard[tuple[Any, ...]]:
    return isinstance(value, tuple)


def _decode_items(
    read_item: Callable[[Any], Any], values: list[Any], *, is_lenient: bool
) -> tuple[Any, ...]:
    items: list[Any] = []
    fault: ValidationError | None = None
    for number, value in enumerate(values):
        try:
            items.append(read_item(value))
        except ValidationError as error:
            fault = fault or nested_error(error, f"[{number}]")
            if not is_lenient:
                raise fault from None
    if fault is not None:
        raise _InvalidItemsError(fault, tuple(items))
    return tuple(items)


def _options(annotation: Any) -> tuple[Any, ...]:
    union = get_origin(annotation) in {Union, UnionType}
    return get_args(annotation) if union else (annotation,)


def _item_type(annotation: Any) -> Any:
    """Return the type of the items if ``annotation`` is, or may be, a tuple of any length."""
    for option in _options(annotation):
        if get_origin(option) is tuple:
            return get_args(option)[0]
    return None


def _decode_nonstandard(data: bytes | Raw, *, halves: bool) -> Any:
    """Return the Python value of JSON that Python alone reads; ``DecodeError`` if it cannot either.

    That is JSON with lone halves of surrogate pairs, numbers like ``NaN``, which are read as null,
    or control characters in a text.
    """
    try:
        value = json.loads(bytes(data).decode("utf-8", "surrogatepass"), strict=False)
    except ValueError as error:
        raise DecodeError(str(error)) from None
    return _sanitize(value, halves=halves)


def _sanitize(value: Any, *, halves: bool) -> Any:
    if isinstance(value, str):
        return value if halves else join_surrogates(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if is_list(value):
        return [_sanitize(item, halves=halves) for item in value]
    if is_object(value):
        return {
            join_surrogates(name): _sanitize(item, halves=halves) for name, item in value.items()
        }
    return value


def join_surrogates(text: str) -> str:
    """Return ``text`` with its surrogate pairs joined, and U+FFFD for each half without another."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def decode_json(data: bytes | Raw) -> Any:
    """Return JSON as Python values, odd texts and numbers made whole, or ``DecodeError``."""
    try:
        try:
            return _decode_any(data)
        except (DecodeError, UnicodeDecodeError):
            return _decode_nonstandard(data, halves=False)
    except RecursionError as error:
        raise DecodeError(str(error)) from None


def _encode_other(value: object) -> object:
    raise TypeError(f"{type(value).__name__} cannot be sent as JSON")


_encoder = msgspec.json.Encoder(enc_hook=_encode_other)


def encode(value: object) -> bytes:
    """Encode ``value`` as JSON, each shape's ``extra`` beside its named members.

    What a shape was read from is written again, odd members as they were, so that it can be read.
    """
    data = _encoder.encode(value)
    return _encoder.encode(to_plain(value, as_received=True)) if _EXTRA_BYTES in data else data


def to_plain(value: Any, *, as_received: bool = False) -> Any:
    """Return ``value`` with each shape in it as a ``dict``, ``extra`` beside the named members.

    A member that is in both is written as its shape has it; with ``as_received``, as it was read.
    """
    if isinstance(value, WireStruct):
        members = _members_of(value, as_received=as_received)
        # An odd optional member may be written again; without a required one nothing can be read.
        own = {
            item.encode_name for item in _fields_of(type(value)) if item.required or not as_received
        }
        extra = {name: to_plain(item) for name, item in value.extra.items() if name not in own}
        return members | extra
    if is_object(value):
        return {name: to_plain(item, as_received=as_received) for name, item in value.items()}
    if is_list(value) or _is_tuple(value):
        return [to_plain(item, as_received=as_received) for item in value]
    return decode_json(value) if isinstance(value, Raw) else value


def _members_of(shape: WireStruct, *, as_received: bool) -> dict[str, Any]:
    """Return the members of ``shape`` by their JSON names."""
    members: dict[str, Any] = {}
    for item in _fields_of(type(shape)):
        value = getattr(shape, item.name)
        is_default = shape.__struct_config__.omit_defaults and value is item.default
        if value is not UNSET and not is_default:
            members[item.encode_name] = to_plain(value, as_received=as_received)
    return members


@cache
def _fields_of(shape: type[WireStruct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    return tuple(item for item in msgspec.structs.fields(shape) if item.name != "_extra")
