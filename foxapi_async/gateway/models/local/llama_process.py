"""The child process that serves a local model: start it, and start it again after a crash."""

import asyncio
import json
import logging
import re
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from contextlib import suppress
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Final

from foxapi_async.errors import ConfigError
from foxapi_async.gateway.models.model import ModelError

_logger = logging.getLogger(__name__)

SLOTS: Final = 4
"""How many requests the server answers at a time."""
CONTEXT: Final = 2048
"""The most tokens of a request and its answer together."""

_PROGRAM: Final = Path(__file__).with_name("llama_server.py")
# The exit of a process is seen a little later than the end of its connections.
_EXIT_DELAY: Final = 1.0
_CLOSE_TIMEOUT: Final = 5.0
_MIN_PAUSE: Final = 0.1
_MAX_PAUSE: Final = 30.0
# A process that has lived longer than this is started again without a pause.
_STABLE_SECONDS: Final = 60.0
_MAX_LINES: Final = 20
_MAX_LENGTH: Final = 400
# Time, level and indent of a line of llama.cpp.
_PREFIX: Final = re.compile(r"^[\d.]+ [A-Z] +")
_LOAD_ERROR: Final = re.compile(r"error loading model: (.+)")


class LlamaProcess:
    """Runs llama.cpp's server in a child process for as long as the gateway is open.

    Args:
        path: The GGUF file.
        key: The API key that the server asks for.
    """

    def __init__(self, path: str | PathLike[str], key: str) -> None:
        self._path = fspath(path)
        self._key = key
        self._process: Process | None = None
        self._supervisor: asyncio.Task[None] | None = None
        # The address of the server, or why it has none. Replaced when the process ends.
        self._address: asyncio.Future[str | ModelError] | None = None

    @property
    def pid(self) -> int | None:
        """The id of the current process, ``None`` if there is none."""
        return None if self._process is None else self._process.pid

    async def open(self) -> None:
        """Start the process and wait until the model is loaded.

        Raises:
            ConfigError: The model cannot be loaded.
        """
        self._address = asyncio.get_running_loop().create_future()
        child = _Child(self._path, self._key)
        try:
            address = await child.start()
        except _StartError as error:
            await child.aclose()
            raise ConfigError(f"the local model {self._path} cannot be loaded: {error}") from None
        except BaseException:
            await child.aclose()
            raise
        self._process = child.process
        self._address.set_result(address)
        self._supervisor = asyncio.create_task(self._supervise(child))

    async def aclose(self) -> None:
        """End the process."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            with suppress(asyncio.CancelledError):
                await self._supervisor

    async def base_url(self) -> str:
        """Return the base URL of the server. While the process is started again, wait for it.

        Raises:
            ModelError: It could not be started again.
        """
        if self._address is None:
            raise RuntimeError("the process is not open")
        address = await asyncio.shield(self._address)
        if isinstance(address, ModelError):
            raise ModelError(address.code, address.message)
        return f"{address}/v1"

    async def has_crashed(self) -> bool:
        """Return whether the process has ended and its successor is not ready."""
        if self._address is None or not self._address.done():
            return True
        if self._process is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_EXIT_DELAY):
                    await self._process.wait()
                return True
        return False

    async def _supervise(self, child: "_Child") -> None:
        """Wait for the end of each process and start another one."""
        loop = asyncio.get_running_loop()
        pause = 0.0
        while True:
            started = loop.time()
            try:
                status = await child.wait()
            finally:
                await child.aclose()
            self._address = loop.create_future()
            _logger.error("the process of the local model ended with status %d", status)
            if loop.time() - started > _STABLE_SECONDS:
                pause = 0.0
            child, pause = await self._restart(pause)

    async def _restart(self, pause: float) -> "tuple[_Child, float]":
        """Start another process, with a longer pause before each attempt."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(pause)
            pause = min(max(2 * pause, _MIN_PAUSE), _MAX_PAUSE)
            child = _Child(self._path, self._key)
            try:
                address = await child.start()
            except _StartError as error:
                await child.aclose()
                _logger.error("the local model cannot be loaded again: %s", error)  # noqa: TRY400
                self._set_address(
                    ModelError("model_unavailable", f"the local model cannot be loaded: {error}")
                )
                self._address = loop.create_future()
                continue
            except BaseException:
                await child.aclose()
                raise
            self._process = child.process
            self._set_address(address)
            return child, pause

    def _set_address(self, address: str | ModelError) -> None:
        if self._address is not None:
            self._address.set_result(address)


class _StartError(Exception):
    """The process ended, or said why it cannot serve, before it had an address."""


class _Child:
    """One process, with the task that logs its stderr."""

    def __init__(self, path: str, key: str) -> None:
        self._params = {"path": path, "key": key, "slots": SLOTS, "context": CONTEXT}
        self._lines: deque[str] = deque(maxlen=_MAX_LINES)
        self._logging: asyncio.Task[None] | None = None
        self.process: Process | None = None

    async def start(self) -> str:
        """Start the process and return the address of its server.

        Raises:
            _StartError: The process cannot serve.
        """
        try:
            self.process = await asyncio.create_subprocess_exec(
                # -P: the folder of the program is not on the path of its imports.
                *(sys.executable, "-P", str(_PROGRAM)),
                stdin=PIPE,
                stdout=PIPE,
                stderr=PIPE,
            )
        except OSError as error:
            raise _StartError(error.strerror or "the process cannot be started") from None
        self._logging = asyncio.create_task(self._log(self.process))
        stdin, stdout = self.process.stdin, self.process.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("the process has no pipes")
        # A process that has ended already has its reason on stderr.
        with suppress(ConnectionError):
            stdin.write(json.dumps(self._params).encode() + b"\n")
            await stdin.drain()
        line = await stdout.readline()
        reply: dict[str, Any] = json.loads(line) if line.endswith(b"\n") else {}
        if "address" in reply:
            return str(reply["address"])
        await self.process.wait()
        await self._logging
        raise _StartError(self._reason(reply.get("error")))

    async def wait(self) -> int:
        """Wait until the process has ended and return its exit status."""
        if self.process is None:
            raise RuntimeError("the process was not started")
        return await self.process.wait()

    async def aclose(self) -> None:
        """End the process, by force if it does not end when its stdin is closed."""
        process = self.process
        if process is None or self._logging is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_TIMEOUT):
                    await process.wait()
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
            await self._logging

    async def _log(self, process: Process) -> None:
        """Log what the process writes to stderr. At its level, llama.cpp writes errors only."""
        if process.stderr is None:
            return
        rest = ""
        while data := await process.stderr.read(65_536):
            *lines, rest = (rest + data.decode("utf-8", "replace")).split("\n")
            for line in lines:
                self._log_line(line)
            rest = rest[:_MAX_LENGTH]
        self._log_line(rest)

    def _log_line(self, line: str) -> None:
        text = _PREFIX.sub("", line.strip())[:_MAX_LENGTH]
        if text:
            self._lines.append(text)
            _logger.warning("llama.cpp: %s", text)

    def _reason(self, error: str | None) -> str:
        """Return the reason of llama.cpp if it gave one, or the best other one."""
        found = next(filter(None, map(_LOAD_ERROR.search, self._lines)), None)
        if found is not None:
            return found[1]
        last = self._lines[-1] if self._lines else "the process ended without a reason"
        return error or last
