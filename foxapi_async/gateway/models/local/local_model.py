"""A model that a child process on this machine answers."""

import asyncio
from collections.abc import Iterable
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from platform import machine
from secrets import token_hex
from sys import platform
from typing import Final, Literal

from foxapi_async._catalog import CatalogModel
from foxapi_async._clock import Clock
from foxapi_async._wire.completion import ChatCompletion
from foxapi_async.errors import ConfigError
from foxapi_async.gateway.models.local.llama_process import SLOTS, LlamaProcess
from foxapi_async.gateway.models.local.weights import SMOLLM2, are_fetched, weights_path
from foxapi_async.gateway.models.model import Job, ModelError, ModelKind, Output
from foxapi_async.gateway.models.upstream import UpstreamModel
from foxapi_async.gateway.stats import UpstreamStats
from foxapi_async.gateway.upstream_settings import Upstream

LOCAL_NAME: Final = "local"
"""The name of the local model in the stats and in the log."""

# The port of the process changes, so each request asks for the URL.
_LOCAL_URL: Final = "http://127.0.0.1"

# What `UpstreamModel` reports for a connection that ends too early.
_CUT: Final = "service_unavailable"
# How its messages begin.
_UPSTREAM: Final = "the upstream"
_WHEELS: Final = frozenset(
    {
        ("darwin", "arm64"),
        ("darwin", "x86_64"),
        ("linux", "aarch64"),
        ("linux", "x86_64"),
        ("win32", "AMD64"),
    }
)


class LocalModel:
    """Answers requests with llama.cpp, which runs in a process of its own.

    A process that crashes fails the tasks that it was answering, and is started again. The others
    wait for it.

    Args:
        source: The GGUF file, or ``True`` for the default model.
        names: More ids of the model.
        clock: Measures how long tasks wait.
        stats: The counters of the model.

    Raises:
        ConfigError: The extra ``local`` is missing.
    """

    kind: ModelKind = "local"
    is_repeatable: bool = False

    def __init__(
        self,
        source: Literal[True] | str | PathLike[str],
        *,
        names: Iterable[str] = (),
        clock: Clock,
        stats: UpstreamStats,
    ) -> None:
        check_extra()
        self._is_default = source is True
        path = weights_path() if source is True else Path(source)
        model_id = local_model_id(source)
        key = token_hex(16)
        all_ids = (model_id, *names)
        self._process = LlamaProcess(path, key)
        self._upstream = UpstreamModel(
            Upstream(
                url=_LOCAL_URL,
                # The model reads text only, also in the place of one that reads more.
                models={f"{name.removesuffix(':text')}:text": model_id for name in all_ids},
                concurrency=SLOTS,
            ),
            clock=clock,
            stats=stats,
            base_url=self._process.base_url,
            key=key,
        )

    @property
    def rules(self) -> tuple[CatalogModel, ...]:
        """The rules of the ids that the model answers."""
        return self._upstream.rules

    @property
    def pid(self) -> int | None:
        """The id of the child process."""
        return self._process.pid

    async def open(self) -> None:
        """Start the process and wait until the model is loaded.

        Raises:
            ConfigError: The weights are missing or cannot be loaded.
        """
        if self._is_default and not await asyncio.to_thread(are_fetched):
            raise ConfigError(
                f"the weights of {SMOLLM2.model} are not on this machine: get them by "
                "`foxapi local fetch`"
            )
        await self._upstream.open()
        await self._process.open()

    async def aclose(self) -> None:
        """End the process."""
        await self._upstream.aclose()
        await self._process.aclose()

    async def answer(self, job: Job, output: Output) -> ChatCompletion:
        """Wait for a slot, ask the process and write its chunks as they come.

        Raises:
            ModelError: The process refuses the request, fails or crashes.
        """
        try:
            return await self._upstream.answer(job, output)
        except ModelError as error:
            if error.code == _CUT and await self._process.has_crashed():
                raise ModelError(
                    "model_unavailable",
                    "the process of the local model crashed during the answer; it is started again",
                ) from None
            message = error.message
            if message.startswith(_UPSTREAM):
                message = f"the local model{message.removeprefix(_UPSTREAM)}"
            raise ModelError(error.code, message) from None


def check_extra() -> None:
    """Check that llama.cpp is installed, without loading it.

    Raises:
        ConfigError: It is not; the message says how to install it, or that there is no wheel.
    """
    if find_spec("xllamacpp") is not None:
        return
    if (platform, machine()) not in _WHEELS:
        raise ConfigError(
            f"a local model needs xllamacpp, which has no wheel for {platform} {machine()}: run a "
            "model server of your own and use `foxapi serve --upstream URL`"
        )
    raise ConfigError("a local model needs an extra: python -m pip install 'foxapi-async[local]'")


def local_model_id(source: Literal[True] | str | PathLike[str]) -> str:
    """Return the model id for a GGUF file: its name without the suffix.

    Args:
        source: The GGUF file, or ``True`` for the default model.
    """
    if source is True or Path(source).name == SMOLLM2.file_name:
        return SMOLLM2.model
    return "-".join(Path(source).stem.split())
