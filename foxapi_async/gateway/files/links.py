"""Links to stored files: their URLs, and whether a URL is one of them."""

from typing import Any, Final, cast
from urllib.parse import urlsplit

import msgspec
from aiohttp import web

from foxapi_async.config import is_loopback
from foxapi_async.gateway.files.file_storage import FileStorage
from foxapi_async.gateway.files.stored_file import FILES, StoredFile, token_of

_PROXY_HEADERS: Final = ("Forwarded", "X-Forwarded-For", "X-Real-IP")
_RELATIVE: Final = b'":"' + FILES.encode()


class DeadLinkError(Exception):
    """A link of this gateway does not lead to a file any more."""


class FileLinks:
    """Makes the links of files and finds the files of links.

    Args:
        storage: The files.
        public_url: What all links begin with; ``None`` for the address that a request was sent to.
    """

    def __init__(self, storage: FileStorage, public_url: str | None) -> None:
        self._storage = storage
        self._public_url = public_url

    def base(self, request: web.BaseRequest) -> str:
        """Return what links begin with, without a slash at its end."""
        return self._public_url or f"{request.scheme}://{request.host}"

    def url(self, path: str, request: web.BaseRequest) -> str:
        """Return the absolute link for the path of a file."""
        return f"{self.base(request)}{path}"

    def make_absolute(self, json: bytes, request: web.BaseRequest) -> bytes:
        """Return a task as JSON with the links in its results absolute.

        Inside a text of JSON a quotation mark is escaped, so only a whole value begins like this.
        """
        base = msgspec.json.encode(self.base(request))[1:-1]
        return json.replace(_RELATIVE, b'":"' + base + FILES.encode())

    def is_private(self, request: web.BaseRequest) -> bool:
        """Tell whether only programs of this machine can have sent the request.

        A gateway with a public URL is behind a proxy, whose requests come over loopback too.
        """
        if self._public_url is not None or any(name in request.headers for name in _PROXY_HEADERS):
            return False
        address: Any = request.get_extra_info("sockname")
        if not isinstance(address, tuple):
            # A Unix socket has no address tuple.
            return True
        host = str(cast("tuple[object, ...]", address)[0])
        return is_loopback(host.removeprefix("::ffff:"))

    async def find(self, url: str, request: web.BaseRequest) -> StoredFile | None:
        """Return the file of a link of this gateway; ``None`` for any other URL.

        Raises:
            DeadLinkError: It is a link of this gateway, and it is not valid any more.
        """
        try:
            parts = urlsplit(url)
        except ValueError:
            return None
        token = token_of(parts.path)
        if token is None:
            return None
        # The gateway has many addresses, and its links are unlike any other.
        file = await self._storage.find(token)
        if file is None and f"{parts.scheme}://{parts.netloc}" in self._bases(request):
            raise DeadLinkError("the link is unknown to this gateway, or it has expired")
        return file

    def _bases(self, request: web.BaseRequest) -> set[str]:
        return {self.base(request), f"{request.scheme}://{request.host}"}
