"""The simulated media models: they wait, make real files and store them."""

import asyncio
from collections.abc import Sequence
from math import ceil
from typing import Any, Final, cast

import msgspec
from msgspec import Raw

from foxapi_async._clock import sleep
from foxapi_async._wire.media_request import MediaRequest, is_suno
from foxapi_async.gateway.files import FileStorage, StoredFile
from foxapi_async.gateway.files.stored_file import RESULT_LIFETIME, SUNO_LIFETIME, token_of_url
from foxapi_async.gateway.media.made_result import MadeResult
from foxapi_async.gateway.media.make_results import make_results
from foxapi_async.gateway.media.tone import wav_seconds
from foxapi_async.gateway.media.transcript import Recording, foreign_source
from foxapi_async.gateway.models import ModelError, Output
from foxapi_async.gateway.models.prompt import find_failure
from foxapi_async.gateway.models.simulate import failure_message
from foxapi_async.gateway.response_structs import UnifiedTask
from foxapi_async.gateway.settings import GatewaySettings
from foxapi_async.gateway.work import WorkResult

_STEPS: Final = 10
_MAX_PROGRESS_BEFORE_END: Final = 99
_HEAD: Final = 64 * 1024
# The parameters that name what is heard or converted.
_SOURCES: Final = ("audio_url", "file_urls", "pdf_url")


class SimulatedMedia:
    """Makes the results of all media models.

    Args:
        settings: The delays and the clock.
        storage: Where the files of results are stored.
    """

    def __init__(self, settings: GatewaySettings, storage: FileStorage) -> None:
        self._settings = settings
        self._storage = storage

    @property
    def estimated_time(self) -> int:
        """The seconds that a task takes."""
        return ceil(self._settings.queue_delay + self._settings.media_delay)

    def work(self, request: MediaRequest, task: UnifiedTask, owner: str) -> "MediaWork":
        """Return the work of a task."""
        del task
        return MediaWork(request, owner, self._settings, self._storage)


class MediaWork:
    """The work of one media task."""

    is_repeatable: bool = True

    def __init__(
        self, request: MediaRequest, owner: str, settings: GatewaySettings, storage: FileStorage
    ) -> None:
        self._request = request
        self._owner = owner
        self._settings = settings
        self._storage = storage

    async def run(self, output: Output) -> WorkResult:
        """Wait, make the results and store their files.

        Raises:
            ModelError: The prompt asks for a failure.
        """
        await self._wait(output)
        failure = find_failure(self._request.prompt or "")
        if failure is not None:
            raise ModelError(failure[0], failure_message(failure[0]))
        sources = [await self._source(url) for url in _source_urls(self._request)]
        made = await asyncio.to_thread(make_results, self._request, sources)
        return WorkResult(tuple([await self._store(result) for result in made]))

    async def _wait(self, output: Output) -> None:
        """Wait for the delays; the steps of an earlier run of the gateway are skipped."""
        clock, delay = self._settings.clock, self._settings.media_delay
        if not output.is_started:
            await sleep(clock, self._settings.queue_delay)
            await output.start()
        taken = output.progress * _STEPS // _MAX_PROGRESS_BEFORE_END
        start = clock.time() - delay * taken / _STEPS
        for number in range(taken + 1, _STEPS + 1) if delay else ():
            await sleep(clock, start + delay * number / _STEPS - clock.time())
            await output.write((), progress=_MAX_PROGRESS_BEFORE_END * number // _STEPS)

    async def _source(self, url: str) -> Recording:
        token = token_of_url(url)
        file = await self._storage.find(token) if token is not None else None
        if file is None:
            return foreign_source(url)
        return Recording(
            url=url,
            name=file.name,
            content_type=file.content_type,
            size=file.size,
            seconds=await self._seconds(file),
        )

    async def _seconds(self, file: StoredFile) -> float | None:
        return wav_seconds(await self._storage.read(file, 0, _HEAD))

    async def _store(self, result: MadeResult) -> Raw:
        """Store the file of a result, and return the result as JSON with the path of its link.

        A query makes the path absolute.
        """
        members: dict[str, Any] = dict(result.members)
        if result.file is not None:
            lifetime = SUNO_LIFETIME if is_suno(self._request.model) else RESULT_LIFETIME
            async with self._storage.draft(is_upload=False) as draft:
                await draft.write(result.file.data)
                file = await self._storage.keep_result(
                    draft,
                    owner=self._owner,
                    name=result.file.name,
                    content_type=result.file.content_type,
                    lifetime=lifetime,
                )
            members = {result.file.member: file.path, **members}
        return Raw(msgspec.json.encode(members))


def _source_urls(request: MediaRequest) -> Sequence[str]:
    for name in _SOURCES:
        value: Any = request.params.get(name)
        if isinstance(value, str):
            return [value]
        if isinstance(value, list):
            return [url for url in cast("list[object]", value) if isinstance(url, str)]
    return ()
