"""Base classes of the JSON structs, their decoder and encoder. Unknown members are kept."""

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
from foxapi_async._wire.display import hides_content


class Extra(dict[str, Any]):
    """The unknown members of a JSON object, read-only.

    msgspec cannot build this class from JSON, so no response can forge one.
    """

    __slots__ = ()

    if not TYPE_CHECKING:  # type checkers would ask for a signature of each

        def _read_only(self, *_: object, **__: object) -> Any:
            raise TypeError("these members are read-only; dict(...) gives a copy that is not")

        __setitem__ = __delitem__ = __ior__ = _read_only
        clear = pop = popitem = setdefault = update = _read_only

    def __reduce__(self) -> tuple[type["Extra"], tuple[dict[str, Any]]]:
        return Extra, (dict(self),)


_NO_EXTRA = Extra()
_EXTRA = "extra"
_EXTRA_BYTES = b'"extra":'


class WireStruct(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, repr_omit_defaults=True
):
    """A JSON object with named members; ``extra`` has the unknown ones."""

    _extra: Extra | UnsetType = field(default=UNSET, name=_EXTRA)

    @property
    def extra(self) -> Extra:
        """The members that this version of the SDK does not know, by name.

        In a response it also has known members whose value has the wrong type. The attribute of
        such a member has its default, or the value converted to its type.
        """
        return self._extra if self._extra is not UNSET else _NO_EXTRA

    def __repr__(self) -> str:
        # `Struct` shows each member, and so prompts and answers.
        if hides_content():
            return f"<{type(self).__name__}>"
        return super().__repr__()

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Return what rich shows: the members, or nothing if ``FOXAPI_REPR`` hides them."""
        return [] if hides_content() else super().__rich_repr__()


class ResponseStruct(WireStruct, frozen=True, kw_only=True, gc=False):
    """A JSON object that the service sends. It is built from JSON only, so it has no cycles.

    Only a required member can make decoding fail. An optional member of the wrong type goes to
    ``extra``.
    """

    def to_dict(self) -> dict[str, Any]:
        """Return the object as a new ``dict`` of plain JSON values.

        The ``dict`` has named and unknown members. A named member whose value had the wrong type
        has the value of the attribute.
        """
        return cast("dict[str, Any]", to_plain(self))

    def to_json(self) -> str:
        """Return the JSON text of ``to_dict()``."""
        try:
            return msgspec.json.encode(to_plain(self)).decode()
        except UnicodeEncodeError:
            # A lone surrogate has no UTF-8, so it is written as a JSON escape.
            return json.dumps(to_plain(self), ensure_ascii=True, separators=(",", ":"))


Coercion = Callable[[str, Any], Any]
_coercions: dict[type[ResponseStruct], Coercion] = {}


def coerces(struct: type[ResponseStruct]) -> Callable[[Coercion], Coercion]:
    """Return a decorator that registers a function to convert members of the wrong type.

    The function gets the JSON name of the member and the value, and returns the converted value, or
    ``UNSET`` if it cannot convert it.
    """

    def register(mender: Coercion) -> Coercion:
        _coercions[struct] = mender
        return mender

    return register


S = TypeVar("S", bound=WireStruct)


class Decoder(Generic[S]):
    """Decodes one struct from bytes. Create it once, at import.

    The first attempt is msgspec's strict decoder, which costs nothing extra. Only an object that it
    rejects is decoded again, member by member.

    Args:
        struct: The struct.
        defaults: Members, by JSON name, for objects where they are missing or have the wrong type.
        keep_surrogates: Whether lone surrogates stay in the texts; otherwise U+FFFD replaces them.
    """

    __slots__ = ("_builder", "_defaults", "_keep_surrogates", "_strict", "_struct")

    def __init__(
        self,
        struct: type[S],
        *,
        defaults: Mapping[str, Any] | None = None,
        keep_surrogates: bool = False,
    ) -> None:
        self._struct = struct
        self._defaults = defaults or {}
        self._keep_surrogates = keep_surrogates
        self._strict = msgspec.json.Decoder(struct).decode
        self._builder: _Builder[S] | None = None

    @property
    def decode_strict(self) -> Callable[[bytes], S]:
        """The msgspec decoder itself: the fastest, but it rejects unknown members."""
        return self._strict

    def decode(self, data: bytes | Raw) -> S:
        """Decode ``data`` and keep its unknown members; raise ``DecodeError`` if that fails."""
        try:
            return self._strict(data)
        except (DecodeError, UnicodeDecodeError):
            return self._decode_leniently(data)
        except RecursionError as error:
            raise DecodeError(str(error)) from None

    def convert(self, value: object) -> S:
        """Build the struct from Python values, and keep unknown members."""
        try:
            return msgspec.convert(value, self._struct)
        except ValidationError:
            return self.decode(encode(value))

    def build(self, members: Mapping[str, Any]) -> S:
        """Build the struct from decoded members, as `decode` does."""
        self._builder = self._builder or _Builder(self._struct)
        return self._builder.build(members, self._defaults)

    def _decode_leniently(self, data: bytes | Raw) -> S:
        builder = self._builder = self._builder or _Builder(self._struct)
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
    """Some items of a list have the wrong type; ``valid_items`` are the others."""

    def __init__(self, error: ValidationError, valid_items: tuple[Any, ...]) -> None:
        super().__init__(str(error))
        self.rest = valid_items


class _Builder(Generic[S]):
    """Builds one struct from the members of a JSON object, and nested structs in the same way."""

    def __init__(self, struct: type[S]) -> None:
        self._struct = struct
        self.is_lenient: bool = issubclass(struct, ResponseStruct)
        fields = _fields_of(struct)
        self._fields = {item.encode_name: item for item in fields}
        self._decoders = {
            item.encode_name: _member_decoder(item.type, is_lenient=self.is_lenient)
            for item in fields
        }
        self._coercions = [_coercions[cls] for cls in struct.__mro__ if cls in _coercions]
        # Lists of raw JSON, whose items are kept byte for byte.
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
        """Return the members of the decoded JSON object ``value``."""
        if not is_object(value):
            raise wrong_type("object", value)
        for name in self._raw & value.keys():
            if is_list(value[name]):
                value[name] = [Raw(msgspec.json.encode(item)) for item in value[name]]
        return value

    def build(self, members: Mapping[str, Any], defaults: Mapping[str, Any]) -> S:
        """Return the struct; raise ``ValidationError`` if a required member is missing or wrong."""
        known = {name: value for name, value in members.items() if name in self._fields}
        extra = {name: value for name, value in members.items() if name not in self._fields}
        try:
            kept = {_EXTRA: Extra(extra)} if extra else {}
            return msgspec.convert({**defaults, **known, **kept}, self._struct)
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
        return self._struct(**built, _extra=Extra(extra) if extra else UNSET)

    def _coerce(self, name: str, value: Any) -> Any:
        """Convert a value of the wrong type: by a registered function, or leniently by msgspec."""
        for mender in self._coercions:
            if (meant := mender(name, value)) is not UNSET:
                return meant
        try:
            return msgspec.convert(value, self._fields[name].type, strict=False)
        except ValidationError:
            return UNSET


def _member_decoder(annotation: Any, *, is_lenient: bool) -> Callable[[Any], Any]:
    """Return the decoder of one member; structs and tuples of structs are built leniently too."""

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
    """Return the item type if ``annotation`` allows a tuple of any length."""
    for option in _options(annotation):
        if get_origin(option) is tuple:
            return get_args(option)[0]
    return None


def _decode_nonstandard(data: bytes | Raw, *, halves: bool) -> Any:
    """Decode invalid JSON that Python's decoder accepts; raise ``DecodeError`` otherwise.

    That is JSON with lone surrogates, control characters in a text, or numbers such as ``NaN``,
    which become null.
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
    """Return ``text`` with its surrogate pairs joined and U+FFFD for each lone surrogate."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def decode_json(data: bytes | Raw) -> Any:
    """Decode JSON, also with lone surrogates or ``NaN``; raise ``DecodeError`` if that fails."""
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
    """Encode ``value`` as JSON; the members of each ``extra`` stand beside the named ones.

    Members of the wrong type are written as received, so that the JSON decodes to an equal object.
    """
    data = _encoder.encode(value)
    return _encoder.encode(to_plain(value, as_received=True)) if _EXTRA_BYTES in data else data


def to_plain(value: Any, *, as_received: bool = False) -> Any:
    """Return ``value`` with each struct in it as a ``dict`` of named and unknown members.

    A member of the wrong type has the value of the attribute, or with ``as_received`` the received
    value.
    """
    if isinstance(value, WireStruct):
        members = _members_of(value, as_received=as_received)
        # A required member is always written from its attribute, or the JSON could not be decoded.
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


def _members_of(struct: WireStruct, *, as_received: bool) -> dict[str, Any]:
    """Return the named members of ``struct`` by their JSON names."""
    members: dict[str, Any] = {}
    for item in _fields_of(type(struct)):
        value = getattr(struct, item.name)
        is_default = struct.__struct_config__.omit_defaults and value is item.default
        if value is not UNSET and not is_default:
            members[item.encode_name] = to_plain(value, as_received=as_received)
    return members


@cache
def _fields_of(struct: type[WireStruct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    return tuple(item for item in msgspec.structs.fields(struct) if item.name != "_extra")
