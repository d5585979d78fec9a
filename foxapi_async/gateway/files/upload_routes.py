"""The three endpoints that store files (contract §11)."""

import base64
import binascii
from typing import Any, Final

import msgspec
from aiohttp import BodyPartReader, hdrs, web
from msgspec import Struct, ValidationError

from foxapi_async._wire import paths
from foxapi_async._wire.decode_errors import parse_error
from foxapi_async.gateway.api_errors import APIError
from foxapi_async.gateway.auth import APIKeys
from foxapi_async.gateway.files.file_name import name_for_type, name_from_url, safe_name
from foxapi_async.gateway.files.file_storage import Draft, FileStorage
from foxapi_async.gateway.files.links import DeadLinkError, FileLinks
from foxapi_async.gateway.files.remote_file import RemoteFiles
from foxapi_async.gateway.files.stored_file import StoredFile
from foxapi_async.gateway.json_body import read_json_body
from foxapi_async.gateway.json_response import json_response
from foxapi_async.gateway.request_validation import parse_json
from foxapi_async.gateway.stats import GatewayStats

_PIECE: Final = 256 * 1024
_MAX_PARTS: Final = 16
_MAX_FIELD: Final = 16 * 1024
# The encodings of a part that leave its bytes as they are.
_PLAIN_ENCODINGS: Final = {"", "binary", "7bit", "8bit", "identity"}
_SWITCH: Final = {"true": True, "1": True, "false": False, "0": False, "": True}


class _Base64Upload(Struct, kw_only=True):
    file_data: str
    file_name: str | None = None
    auto_cleanup: bool | str | None = None


class _URLUpload(Struct, kw_only=True):
    url: str
    file_name: str | None = None
    auto_cleanup: bool | str | None = None


class _UploadedFile(Struct, kw_only=True):
    id: str
    filename: str
    url: str
    size: int
    created: int


class UploadRoutes:
    """The handlers of uploads."""

    def __init__(
        self,
        *,
        keys: APIKeys,
        storage: FileStorage,
        links: FileLinks,
        remote_files: RemoteFiles,
        stats: GatewayStats,
    ) -> None:
        self._keys = keys
        self._storage = storage
        self._links = links
        self._remote_files = remote_files
        self._stats = stats

    def table(self) -> list[web.RouteDef]:
        """Return the routes. The part of a name before its dot is the route of fault rules."""
        return [
            web.post(paths.UPLOAD_STREAM, self.upload_stream, name="upload.stream"),
            web.post(paths.UPLOAD_BASE64, self.upload_base64, name="upload.base64"),
            web.post(paths.UPLOAD_URL, self.upload_url, name="upload.url"),
        ]

    async def upload_stream(self, request: web.Request) -> web.Response:
        """Store the file of a form. Its fields may come in any order."""
        owner = self._keys.authenticate_request(request)
        if request.content_type != "multipart/form-data":
            raise APIError(400, "send a form: `Content-Type: multipart/form-data`")
        async with self._storage.draft() as draft:
            try:
                name, auto_cleanup = await _read_form(request, draft)
            # The parser asserts what a form must be, and its other errors are a `ValueError`.
            except (ValueError, AssertionError) as error:
                raise APIError(400, f"the form cannot be read: {error}") from None
            return await self._keep(request, draft, owner, name, auto_cleanup=auto_cleanup)

    async def upload_base64(self, request: web.Request) -> web.Response:
        """Store the bytes of ``file_data``: base64, or a data URL."""
        owner = self._keys.authenticate_request(request)
        upload = await _read_json(request, _Base64Upload)
        mime, encoded = _split_data_url(upload.file_data)
        try:
            data = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError) as error:
            raise APIError(400, f"`file_data` is not base64: {error}") from None
        async with self._storage.draft() as draft:
            await draft.write(data)
            name = upload.file_name or name_for_type(mime)
            cleanup = _switch(upload.auto_cleanup)
            return await self._keep(request, draft, owner, name, auto_cleanup=cleanup)

    async def upload_url(self, request: web.Request) -> web.Response:
        """Fetch a file and store it."""
        owner = self._keys.authenticate_request(request)
        upload = await _read_json(request, _URLUpload)
        name = upload.file_name or name_from_url(upload.url)
        cleanup = _switch(upload.auto_cleanup)
        async with self._storage.draft() as draft:
            try:
                own = await self._links.find(upload.url, request)
            except DeadLinkError as error:
                raise APIError(400, f"`url`: {error}") from None
            if own is not None:
                await self._copy(own, draft)
            else:
                is_trusted = self._links.is_private(request)
                await self._remote_files.fetch(upload.url, draft, allow_private=is_trusted)
            return await self._keep(request, draft, owner, name, auto_cleanup=cleanup)

    async def _copy(self, file: StoredFile, draft: Draft) -> None:
        for start in range(0, file.size, _PIECE):
            await draft.write(await self._storage.read(file, start, start + _PIECE))

    async def _keep(
        self, request: web.Request, draft: Draft, owner: str, name: str, *, auto_cleanup: bool
    ) -> web.Response:
        file = await self._storage.keep_upload(
            draft, owner=owner, name=safe_name(name), auto_cleanup=auto_cleanup
        )
        self._stats.uploads += 1
        answer = _UploadedFile(
            id=file.id,
            filename=file.name,
            url=self._links.url(file.path, request),
            size=file.size,
            created=int(file.created),
        )
        return json_response(msgspec.json.encode(answer))


async def _read_form(request: web.Request, draft: Draft) -> tuple[str, bool]:
    """Write the file of a form into ``draft``, and return its name and ``auto_cleanup``."""
    fields: dict[str, str] = {}
    sent_name: str | None = None
    reader = await request.multipart()
    for _ in range(_MAX_PARTS):
        part = await reader.next()
        if part is None:
            break
        if not isinstance(part, BodyPartReader):
            raise APIError(400, "a part of the form is a form itself; send plain parts")
        _check_encoding(part)
        if part.name != "file":
            fields[part.name or ""] = await _read_field(part)
            continue
        if sent_name is not None:
            raise APIError(400, "the form has two parts `file`; send one file a request")
        sent_name = part.filename or name_for_type(part.headers.get(hdrs.CONTENT_TYPE, ""))
        while piece := await part.read_chunk(_PIECE):
            await draft.write(piece)
    else:
        raise APIError(400, f"the form has more than {_MAX_PARTS} parts")
    if sent_name is None:
        raise APIError(400, "the form has no part `file`")
    return fields.get("file_name") or sent_name, _switch(fields.get("auto_cleanup"))


def _check_encoding(part: BodyPartReader) -> None:
    for header in (hdrs.CONTENT_ENCODING, hdrs.CONTENT_TRANSFER_ENCODING):
        if part.headers.get(header, "").strip().lower() not in _PLAIN_ENCODINGS:
            raise APIError(400, f"a part of the form has a `{header}`; send its bytes as they are")


async def _read_field(part: BodyPartReader) -> str:
    field = bytearray()
    while piece := await part.read_chunk(_PIECE):
        field += piece
        if len(field) > _MAX_FIELD:
            raise APIError(400, f"a text of the form has more than {_MAX_FIELD} bytes")
    return field.decode("utf-8", "replace")


async def _read_json(request: web.Request, shape: Any) -> Any:
    """Return the JSON body as a struct; raise a 400, which is what uploads answer with."""
    body = await read_json_body(request)
    value = parse_json(body)
    try:
        return msgspec.convert(value, shape)
    except ValidationError as error:
        problem = parse_error(error)
        if problem.missing is not None:
            raise APIError(400, f"`{problem.missing}` is required") from None
        raise APIError(400, f"`{problem.param or 'the body'}`: {problem.message}") from None


def _switch(value: bool | str | None) -> bool:  # noqa: FBT001 both forms are sent
    """Return the value of ``auto_cleanup``, which clients send as a boolean or a text."""
    if value is None or isinstance(value, bool):
        return value is not False
    switch = _SWITCH.get(value.strip().lower())
    if switch is None:
        raise APIError(400, "`auto_cleanup` must be true or false")
    return switch


def _split_data_url(text: str) -> tuple[str, str]:
    """Return the media type and the base64 text of ``file_data``."""
    mime, data = "", text
    if text[:5].lower() == "data:":
        head, comma, data = text.partition(",")
        mime, _, options = head[5:].partition(";")
        if not comma or "base64" not in options.lower().split(";"):
            raise APIError(400, "`file_data`: a data URL must be data:TYPE;base64,DATA")
    return mime, "".join(data.split())
