"""The request of each row, and the key under which it is billed once."""

from collections.abc import Collection, Mapping
from hashlib import blake2b
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from foxapi_async._batch.rows import (
    BatchFileError,
    InvalidRow,
    InvalidRowError,
    Row,
    is_object,
    shortened,
)
from foxapi_async._batch.template import PromptTemplate
from foxapi_async.content import image
from foxapi_async.types import GenerationRequest

RowForm = Literal["batch", "rows"]

URLS: Final = ("/v1/chat/completions", "/v1/llm/generations")
"""The values of ``url`` in an OpenAI Batch row that stand for a generation."""

MEMBERS: Final = tuple(
    sorted({*GenerationRequest.__struct_fields__} - {"_extra", "stream", "sync"})
)
"""The members of a request that have a keyword of their own."""

_MEMBERS: Final = frozenset(MEMBERS)
_MAX_ID: Final = 512
_QUOTED: Final = {"\t": "$'\\t'"}
_ID_SIZE: Final = 16
_encode = msgspec.json.Encoder(order="deterministic", enc_hook=str).encode


class RequestSettings(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the request of a row is made."""

    model: str | None = None
    """The model of all rows; ``None`` takes that of each row."""
    prompt: str | None = None
    """The template of the prompt; ``None`` takes the column ``messages`` or ``prompt``."""
    system: str | None = None
    """The system message."""
    params: dict[str, Any] = {}
    """Further parameters of every request."""
    image_column: str | None = None
    """The column with the URL, data URI or bytes of an image."""
    schema: dict[str, Any] | None = None
    """The JSON schema of the answers."""
    schema_name: str = "answer"
    """The name under which the schema is sent."""
    key_column: str | None = None
    """The column that names a row; ``None`` for a hash of the request."""


class PreparedRow(Struct, frozen=True, gc=False):
    """A row with its request."""

    row: Row
    """The row."""
    params: dict[str, Any]
    """The keywords of the submit."""
    key: str
    """The key of the submit. Rows with one key share one answer."""
    id: str
    """A hash of the row and its key, 32 characters, by which the output knows the row."""
    custom_id: str | None = None
    """The id that an OpenAI Batch row gives itself."""
    is_repeated: bool = False
    """Whether another row with this key came before it in this run."""


def form_of(values: Mapping[str, Any]) -> RowForm:
    """Return whether a row is an OpenAI Batch row, or one with columns."""
    return "batch" if "body" in values and {"custom_id", "url"} & values.keys() else "rows"


class RequestMaker:
    """Makes the requests of rows.

    Args:
        settings: What all requests have in common.
        form: The form of the rows.

    Raises:
        BatchFileError: The template cannot be read, or an option does not fit the form.
    """

    def __init__(self, settings: RequestSettings, form: RowForm) -> None:
        self._settings = settings
        self._form = form
        self._template = PromptTemplate(
            settings.prompt if settings.prompt is not None else "{prompt}"
        )
        self._common = dict(settings.params)
        if settings.model is not None:
            self._common["model"] = settings.model
        if settings.schema is not None:
            self._common["response_format"] = _response_format(settings)
        if form == "batch":
            for option, value in (
                ("--prompt", settings.prompt),
                ("--system", settings.system),
                ("--image-column", settings.image_column),
            ):
                if value is not None:
                    raise BatchFileError(
                        f"{option} does not go with OpenAI Batch rows, which have their messages"
                    )
            return
        if settings.model is None:
            raise BatchFileError("--model is missing: name the model that answers the rows")
        names_row = settings.image_column is not None or settings.key_column is not None
        if not self._template.columns and not names_row:
            raise BatchFileError(
                "--prompt names no column, so all rows would be one request: write {column} where "
                "the text of a row belongs"
            )

    def check_columns(self, columns: Collection[str], *, name: str) -> None:
        """Raise ``BatchFileError`` if the options name a column that is not one of ``columns``."""
        settings = self._settings
        wanted = [("--key-column", settings.key_column), ("--image-column", settings.image_column)]
        if self._form == "rows" and (settings.prompt is not None or "messages" not in columns):
            wanted += [("--prompt", column) for column in self._template.columns]
        for option, column in wanted:
            if column is not None and column not in columns:
                known = shortened(", ".join(map(repr, columns)))
                raise BatchFileError(
                    f"{option}: {name} has no column {column!r}; it has {known}{_hint(columns)}"
                )

    def prepare(self, row: Row) -> PreparedRow | InvalidRow:
        """Return the row with its request, or why it has none."""
        custom_id: str | None = None
        try:
            if self._form == "batch":
                custom_id, body = _read_batch_row(row.values)
            else:
                body = self._body(row.values)
            params = self._params(body)
            key = self._key(row.values, params)
            return PreparedRow(row, params, key, self._id(row.values, key, custom_id), custom_id)
        except InvalidRowError as error:
            given = row.values.get("custom_id") if self._form == "batch" else None
            return InvalidRow(row.line, str(error), given if isinstance(given, str) else None)
        except RecursionError:
            return InvalidRow(row.line, "the row is nested too deep")

    def _body(self, values: dict[str, Any]) -> dict[str, Any]:
        settings = self._settings
        messages: Any
        if settings.prompt is None and "messages" in values:
            messages = values["messages"]
            if not messages or not isinstance(messages, str | list):
                raise InvalidRowError("column 'messages' must be a text or a list of messages")
        else:
            prompt = self._template.fill(values)
            if not prompt.strip():
                raise InvalidRowError("the prompt is empty")
            content: Any = prompt
            if settings.image_column is not None:
                block = _image_block(values, settings.image_column)
                content = [{"type": "text", "text": prompt}, block]
            messages = [{"role": "user", "content": content}]
        if settings.system is not None:
            if isinstance(messages, str):
                messages = [{"role": "user", "content": messages}]
            messages = [{"role": "system", "content": settings.system}, *messages]
        return {"messages": messages}

    def _params(self, body: dict[str, Any]) -> dict[str, Any]:
        members = body | self._common
        if members.pop("stream", None):
            raise InvalidRowError("stream must not be true in a batch: leave it out")
        if not isinstance(members.get("model"), str):
            raise InvalidRowError("the request has no model: give it one, or pass --model")
        if not members.get("messages"):
            raise InvalidRowError("the request has no messages")
        params = {name: value for name, value in members.items() if name in _MEMBERS}
        if len(params) < len(members):
            params["extra"] = {
                name: value for name, value in members.items() if name not in _MEMBERS
            }
        return params

    def _key(self, values: dict[str, Any], params: dict[str, Any]) -> str:
        column = self._settings.key_column
        if column is None:
            return _hash(params)
        value = values.get(column)
        key = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
        if not 1 <= len(key) <= _MAX_ID or "\0" in key:
            raise InvalidRowError(
                f"column {column[:80]!r} must be a text of 1 to {_MAX_ID} characters, or a whole "
                "number, because it is the key"
            )
        return key

    def _id(self, values: dict[str, Any], key: str, custom_id: str | None) -> str:
        return _hash([key, custom_id] if self._form == "batch" else [key, values])


def _hint(columns: Collection[str]) -> str:
    """Return the advice for a header whose delimiter is another one."""
    only = next(iter(columns)) if len(columns) == 1 else ""
    found = next((delimiter for delimiter in ";\t|," if delimiter in only), None)
    return "" if found is None else f": pass --delimiter {_QUOTED.get(found, repr(found))}"


def _read_batch_row(values: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    custom_id: Any = values.get("custom_id")
    body: Any = values.get("body")
    if not isinstance(custom_id, str) or not 1 <= len(custom_id) <= _MAX_ID:
        raise InvalidRowError(f"custom_id must be a text of 1 to {_MAX_ID} characters")
    if values.get("method") != "POST":
        raise InvalidRowError("method must be 'POST'")
    if values.get("url") not in URLS:
        raise InvalidRowError(f"url must be {' or '.join(URLS)}")
    if not is_object(body):
        raise InvalidRowError("body must be an object")
    return custom_id, body


def _image_block(values: dict[str, Any], column: str) -> dict[str, Any]:
    source = values.get(column)
    # A file of rows may come from anywhere, so it names no file of this machine.
    if not isinstance(source, str | bytes):
        raise InvalidRowError(f"column {column[:80]!r} must be a URL, a data URI or bytes")
    try:
        block = image(source)
    except ValueError as error:
        raise InvalidRowError(f"column {column[:80]!r}: {shortened(str(error))}") from None
    url = block.image_url.url if block.image_url else ""
    return {"type": "image_url", "image_url": {"url": url}}


def _response_format(settings: RequestSettings) -> dict[str, Any]:
    schema = {"name": settings.schema_name, "strict": True, "schema": settings.schema}
    return {"type": "json_schema", "json_schema": schema}


def _hash(value: Any) -> str:
    try:
        return blake2b(_encode(value), digest_size=_ID_SIZE).hexdigest()
    except (UnicodeEncodeError, TypeError, OverflowError) as error:
        raise InvalidRowError(
            f"the row cannot be written as JSON: {shortened(str(error))}"
        ) from None
