"""A model that an upstream answers: the queue of its tasks, and how long they wait."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Final

from foxapi_async._catalog import MODELS, CatalogModel
from foxapi_async._clock import Clock
from foxapi_async._environment import environment
from foxapi_async._protocol.mask import Mask
from foxapi_async._wire.completion import ChatCompletion
from foxapi_async.errors import ConfigError
from foxapi_async.gateway.models.model import Job, ModelError, ModelKind, Output
from foxapi_async.gateway.models.model_rules import parse_upstream_model
from foxapi_async.gateway.models.upstream.answer_reader import AnswerReader
from foxapi_async.gateway.models.upstream.chat_client import BusyError, ChatClient
from foxapi_async.gateway.models.upstream.chat_request import chat_body, wants_usage
from foxapi_async.gateway.models.upstream.fair_queue import FairQueue
from foxapi_async.gateway.models.upstream.patience import Patience
from foxapi_async.gateway.stats import UpstreamStats
from foxapi_async.gateway.upstream_settings import Upstream

_logger = logging.getLogger(__name__)

_PROGRESS_AT_END: Final = 99
_MIN_SECRET_LENGTH: Final = 16

BaseURL = Callable[[], Awaitable[str]]
"""Returns the base URL of an upstream; may raise ``ModelError``."""


class UpstreamModel:
    """Answers the requests for all models of one upstream.

    Args:
        upstream: The upstream.
        clock: Measures the patience.
        stats: The counters of the upstream.
        base_url: Is called before each request for the base URL, in place of ``upstream.url``.
        key: The API key, in place of that of ``upstream.key_env``.

    Raises:
        ConfigError: A model has no usable id, or the variable of the key has no usable key.
    """

    kind: ModelKind = "upstream"
    is_repeatable: bool = False

    def __init__(
        self,
        upstream: Upstream,
        *,
        clock: Clock,
        stats: UpstreamStats,
        base_url: BaseURL | None = None,
        key: str | None = None,
    ) -> None:
        self._upstream = upstream
        self._clock = clock
        self._stats = stats
        self._base_url = base_url
        named = [(parse_upstream_model(text), name) for text, name in upstream.names.items()]
        self.rules: tuple[CatalogModel, ...] = tuple(rules for rules, _ in named)
        """The rules of the models that the upstream answers."""
        self._names = {rules.id: name or rules.id for rules, name in named}
        self._queue = FairQueue(upstream.concurrency, stats)
        self._patience = Patience(upstream.patience, name=stats.url, queue=self._queue, clock=clock)
        key = key or _read_key(upstream)
        self._mask = None if key is None else Mask(key)
        # A short key, such as "ollama", is no secret, and an answer may well contain the word.
        self._answer_mask = self._mask if len(key or "") >= _MIN_SECRET_LENGTH else None
        self._client = ChatClient(key, clock)

    async def open(self) -> None:
        """Prepare to send requests. The upstream need not be up yet."""
        await self._client.open()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._patience.aclose()
        await self._client.aclose()

    async def answer(self, job: Job, output: Output) -> ChatCompletion:
        """Wait for a slot, ask the upstream and write its chunks as they come.

        Raises:
            ModelError: The upstream refuses, fails, is silent, or ends its answer too early.
        """
        entered = self._clock.time()
        self._patience.watch()
        async with self._queue.slot(job.owner, entered):
            try:
                return await self._ask(job, output, entered)
            except ModelError as error:
                error = self._without_key(error)
                # Other messages may repeat a prompt.
                words = f": {error.message}" if error.code == "model_unavailable" else ""
                _logger.warning("upstream %s: %s%s", self._stats.url, error.code, words)
                raise error from None

    async def _ask(self, job: Job, output: Output, entered: float) -> ChatCompletion:
        """Send the request until the upstream takes it, within the patience."""
        body = chat_body(job.request, self._names[job.request.model])
        deadline = self._patience.deadline(entered)
        for attempt in count():
            await self._patience.wait(deadline)
            try:
                return await self._try(job, output, body)
            except BusyError as busy:
                failure = self._without_key(busy.failure)
                self._patience.refuse(BusyError(failure, busy.retry_after), attempt, deadline)
                self._stats.retries += 1
            except ModelError:
                self._patience.end_absence()
                raise
        raise AssertionError("unreachable")

    def _without_key(self, error: ModelError) -> ModelError:
        if self._mask is None:
            return error
        return ModelError(error.code, self._mask.text(error.message))

    async def _try(self, job: Job, output: Output, body: bytes) -> ChatCompletion:
        """Send the request once and read its answer.

        Raises:
            BusyError: Another attempt may succeed.
        """
        base_url = self._upstream.url if self._base_url is None else await self._base_url()
        timeout = self._upstream.timeout
        self._stats.requests += 1
        reader = AnswerReader(
            job, output, stats=self._stats, mask=self._answer_mask, timeout=timeout
        )
        no_events: ModelError | None = None
        try:
            # The task starts before the request is sent, because a restart must not send it again,
            # and not before there is a connection: until then, a restart may.
            async with (
                asyncio.timeout(timeout) as silence,
                self._client.ask(
                    base_url, body, silence=silence, on_connected=output.start
                ) as opened,
            ):
                with self._patience.answering():
                    await reader.read(opened, silence)
                no_events = opened.no_stream(base_url)
        except TimeoutError:
            if not reader.is_whole:
                raise ModelError(
                    "timeout", f"the upstream sent nothing for {timeout:g} seconds"
                ) from None
        if no_events is not None and not reader.answer.events:
            raise no_events
        if not reader.is_whole:
            raise ModelError(
                "service_unavailable",
                "the upstream ended its answer without a finish reason, so it may be incomplete",
            )
        usage = reader.answer.usage_chunk() if wants_usage(job.request) else None
        if usage is not None:
            await output.write((usage,), progress=_PROGRESS_AT_END)
        # The service does not store the reasoning of its thinking models (contract Q1).
        known = MODELS.get(job.request.model)
        with_reasoning = known is None or not known.thinking
        return reader.answer.build(with_reasoning=with_reasoning)


def _read_key(upstream: Upstream) -> str | None:
    if upstream.key_env is None:
        return None
    key = environment(upstream.key_env)
    if key is None:
        raise ConfigError(
            f"the environment variable {upstream.key_env} is not set; it must have the API key of "
            f"the upstream {upstream.url}"
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError(
            f"the environment variable {upstream.key_env} has no API key: a key is printable ASCII"
        )
    return key
