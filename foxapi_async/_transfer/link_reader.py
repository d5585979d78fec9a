"""Reads the bytes behind a link, across cuts. Bytes of two versions of a file are never mixed."""

import random
from collections.abc import Callable
from typing import NamedTuple, final

from msgspec import Struct

from foxapi_async._clock import Clock, sleep
from foxapi_async._protocol.file_name import download_name
from foxapi_async._protocol.resume import (
    Receive,
    RequestAll,
    Version,
    WholeFile,
    decide_resume,
    is_same_file,
    range_headers,
)
from foxapi_async._protocol.retry import Effect, FailureFacts, GiveUp, decide_retry
from foxapi_async._protocol.status_errors import TRANSIENT_STATUSES
from foxapi_async._transport import Account, LinkFailure, LinkResponse, Links, shown_link
from foxapi_async.config import RetryPolicy, Timeouts
from foxapi_async.errors import (
    APIConnectionError,
    DownloadError,
    FoxAPIError,
    LinkExpiredError,
)

_EXPIRED = frozenset({403, 404, 410})


class LinkSettings(Struct, frozen=True, kw_only=True):
    """What the reader of a link keeps to."""

    retry: RetryPolicy
    """How a request that fails is repeated. Each byte that is new begins the count again."""
    timeouts: Timeouts
    idle_timeout: float
    """Seconds without a byte after which a connection is given up."""
    max_bytes: int
    """The largest file."""


class Piece(NamedTuple):
    """Bytes of a file."""

    offset: int
    """Where they belong. Less than what was read before means: the file has changed since."""
    data: bytes


@final
class LinkReader:
    """Reads the file behind one link. Close it, or read it to its end."""

    def __init__(
        self,
        links: Links,
        account: Account,
        url: str,
        settings: LinkSettings,
        clock: Clock,
        *,
        media_type: str | None = None,
        rand: Callable[[], float] = random.random,
    ) -> None:
        self._links = links
        self._account = account
        self._url = url
        self._settings = settings
        self._clock = clock
        self._media_type = media_type
        self._rand = rand
        self._response: LinkResponse | None = None
        self._version: Version | None = None
        self._received = 0
        # Bytes of this response that were received from an earlier one.
        self._repeated = 0
        self._furthest = 0
        self._failures = 0
        self._failing_since = 0.0
        self._without_range = False
        self._is_whole = False
        self.shown_url: str = shown_link(account, url)
        """The link for texts, without its query."""

    @property
    def size(self) -> int | None:
        """The size of the file, if a response has said it."""
        return self._version.size if self._version is not None else None

    @property
    def received(self) -> int:
        """How many bytes of the file were read."""
        return self._received

    def file_name(self, filename: str | None) -> str:
        """Return a safe name for the file, once the first response is there.

        ``filename`` is the name that the result has for it.
        """
        response = self._response
        return download_name(
            filename=filename,
            disposition=response.header("Content-Disposition") if response else None,
            url=self._url,
            media_type=self._media_type or (response and response.header("Content-Type")) or None,
        )

    async def open(self) -> None:
        """Wait for the headers of the first response.

        Raises:
            DownloadError: The file cannot be had.
        """
        while self._response is None and not self._is_whole:
            await self._request()

    async def read(self) -> Piece | None:
        """Wait for bytes and return all that are there; ``None`` at the end.

        Raises:
            DownloadError: The file cannot be had, or not whole.
        """
        while not self._is_whole:
            if self._response is None:
                await self._request()
                continue
            try:
                data = await self._response.read(self._settings.idle_timeout)
            except APIConnectionError as error:
                failure: FoxAPIError = error
            else:
                if piece := self._piece(data):
                    return piece
                if data:
                    continue
                if self._has_all():
                    self.close()
                    self._is_whole = True
                    return None
                failure = APIConnectionError(
                    f"{self.shown_url} ended after {self._received} of {self.size} bytes"
                )
            self.close()
            await self._after_failure(failure, FailureFacts())
        return None

    def close(self) -> None:
        """Close the connection. Harmless when repeated."""
        response, self._response = self._response, None
        if response is not None:
            response.close()

    def _has_all(self) -> bool:
        """Tell whether the response that has ended was the end of the file."""
        return self.size is None or self._received >= self.size

    def _piece(self, data: bytes) -> Piece | None:
        """Count what has arrived; return what of it is new."""
        if self._repeated:
            skipped = min(self._repeated, len(data))
            self._repeated -= skipped
            data = data[skipped:]
        if not data:
            return None
        offset = self._received
        self._received += len(data)
        self._check_size(self._received)
        if self._received > self._furthest:
            self._furthest, self._failures = self._received, 0
        return Piece(offset, data)

    async def _request(self) -> None:
        """Request what is missing; set the response, or note a failure and wait."""
        headers = {} if self._without_range else range_headers(self._received, self._version)
        opened = await self._links.open(
            self._account, self._url, headers, timeouts=self._settings.timeouts
        )
        if isinstance(opened, LinkFailure):
            await self._after_failure(opened.error, opened.facts)
            return
        try:
            await self._use(opened, ranged=bool(headers))
        finally:
            if self._response is not opened:
                opened.close()

    async def _use(self, opened: LinkResponse, *, ranged: bool) -> None:
        decision = decide_resume(
            opened.facts, received=self._received, version=self._version, ranged=ranged
        )
        if decision is None:
            await self._after_status(opened)
        elif isinstance(decision, WholeFile):
            self._is_whole = True
        elif isinstance(decision, RequestAll):
            if self._without_range:
                # A part again, although all was requested.
                raise self._error(f"cannot be read: {decision.reason}")
            self._without_range = True
        else:
            self._receive(opened, decision)

    def _receive(self, opened: LinkResponse, decision: Receive) -> None:
        encoding = opened.header("Content-Encoding").strip().lower()
        if encoding not in {"", "identity"}:
            raise self._error(f"sends the file as {encoding[:20]!r} although that was ruled out")
        if decision.version.size is not None:
            self._check_size(decision.version.size)
        if decision.offset == 0 and is_same_file(decision.version, self._version):
            self._repeated = self._received
        else:
            self._received, self._repeated = decision.offset, 0
        self._version, self._without_range = decision.version, False
        self._response = opened

    async def _after_status(self, opened: LinkResponse) -> None:
        status = opened.facts.status
        if status in _EXPIRED:
            raise LinkExpiredError(
                f"the link {self.shown_url} answers {status}: it has expired, or its file was "
                "deleted",
                url=self.shown_url,
                status=status,
            )
        error = self._error(f"answers {status}", status=status)
        if status not in TRANSIENT_STATUSES and status < 500:  # noqa: PLR2004
            raise error
        opened.close()
        await self._after_failure(
            error, FailureFacts(status=status, retry_after=opened.retry_after)
        )

    async def _after_failure(self, failure: FoxAPIError, facts: FailureFacts) -> None:
        """Wait before the next request, or raise.

        The first one after new bytes is made at once, as that of a stream is.
        """
        self._failures += 1
        if self._failures == 1:
            self._failing_since = self._clock.time()
            if self._received and facts.status is None and not facts.permanent:
                return
        decision = decide_retry(
            Effect.READ,
            self._failures,
            facts,
            self._settings.retry,
            rand=self._rand(),
            elapsed=self._clock.time() - self._failing_since,
            remaining=None,
        )
        if isinstance(decision, GiveUp):
            if isinstance(failure, DownloadError):
                raise failure
            raise self._error(f"was not read whole: {failure}", fault=failure)
        await sleep(self._clock, decision.seconds)

    def _check_size(self, size: int) -> None:
        if size > self._settings.max_bytes:
            raise self._error(
                f"has more than limits.max_download_bytes = {self._settings.max_bytes} bytes"
            )

    def _error(
        self, what: str, *, status: int | None = None, fault: FoxAPIError | None = None
    ) -> DownloadError:
        return DownloadError(
            f"the link {self.shown_url} {what}", url=self.shown_url, status=status, fault=fault
        )
