"""A model that an upstream answers: the queue of its tasks, and how long they wait."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Final

from foxapi_async._catalog import MODELS, CatalogModel
from foxapi_async._clock import Clock, sleep
from foxapi_async._protocol.mask import Mask
from foxapi_async._protocol.retry import exponential_delay
from foxapi_async._wire.completion import ChatCompletion
from foxapi_async.config import environment
from foxapi_async.errors import ConfigError
from foxapi_async.gateway.models.model import Job, ModelError, Output
from foxapi_async.gateway.models.model_rules import parse_upstream_model
from foxapi_async.gateway.models.upstream.answer_reader import AnswerReader
from foxapi_async.gateway.models.upstream.chat_client import BusyError, ChatClient
from foxapi_async.gateway.models.upstream.chat_request import chat_body, wants_usage
from foxapi_async.gateway.models.upstream.fair_queue import FairQueue
from foxapi_async.gateway.stats import UpstreamStats
from foxapi_async.gateway.upstream_settings import Upstream

_logger = logging.getLogger(__name__)

_MIN_BACKOFF: Final = 0.25
_MAX_BACKOFF: Final = 8.0
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
        # All tasks leave a busy upstream alone until then.
        self._busy_until = clock.time()
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
        await self._client.aclose()

    async def answer(self, job: Job, output: Output) -> ChatCompletion:
        """Wait for a slot, ask the upstream and write its chunks as they come.

        Raises:
            ModelError: The upstream refuses, fails, is silent, or ends its answer too early.
        """
        try:
            async with self._queue.slot(job.owner):
                # Stored before the request is sent: a restart must not send it again.
                await output.start()
                return await self._ask(job, output)
        except ModelError as error:
            message = error.message if self._mask is None else self._mask.text(error.message)
            # Other messages may repeat a prompt.
            words = f": {message}" if error.code == "model_unavailable" else ""
            _logger.warning("upstream %s: %s%s", self._upstream.url, error.code, words)
            raise ModelError(error.code, message) from None

    async def _ask(self, job: Job, output: Output) -> ChatCompletion:
        """Send the request until the upstream takes it, within the patience."""
        body = chat_body(job.request, self._names[job.request.model])
        deadline = self._clock.time() + self._upstream.patience
        for attempt in count():
            pause = min(self._busy_until, deadline) - self._clock.time()
            if pause > 0:
                await sleep(self._clock, pause)
            try:
                return await self._try(job, output, body)
            except BusyError as busy:
                backoff = exponential_delay(_MIN_BACKOFF, 2.0, _MAX_BACKOFF, attempt)
                wait = backoff if busy.retry_after is None else busy.retry_after
                until = self._clock.time() + max(wait, _MIN_BACKOFF)
                # Also if this task gives up: the others must leave the upstream alone.
                self._busy_until = max(self._busy_until, until)
                if until > deadline:
                    raise busy.failure from None
                self._stats.retries += 1
        raise AssertionError("unreachable")

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
        try:
            async with (
                asyncio.timeout(timeout) as silence,
                self._client.ask(base_url, body) as response,
            ):
                await reader.read(response, silence)
        except TimeoutError:
            if not reader.is_whole:
                raise ModelError(
                    "timeout", f"the upstream sent nothing for {timeout:g} seconds"
                ) from None
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
