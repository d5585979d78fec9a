"""The program of the child process: llama.cpp's server for one GGUF file.

It is run by its path and imports nothing of ``foxapi_async``. The first line on stdin has the
parameters as JSON, the only line on stdout has ``{"address": ...}`` or ``{"error": ...}``. It ends
when stdin is closed, so it does not outlive its parent.
"""

import json
import os
import signal
import sys
from importlib import import_module
from threading import Thread
from typing import Any, Final

_MAGIC: Final = b"GGUF"
_MAX_THREADS: Final = 8


def main() -> int:
    """Serve until stdin is closed."""
    # Ctrl-C in a terminal goes to every process. The parent ends this one by closing stdin.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    params = json.loads(sys.stdin.buffer.readline())
    # Libraries may print to stdout, which is for the one line.
    replies = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    # The thread ends the process even while the model is being loaded.
    watchdog = Thread(target=_exit_with_parent, daemon=True)
    watchdog.start()
    try:
        server = _start(params)
        reply = {"address": server.listening_address}
    except (OSError, RuntimeError, ValueError, ImportError) as error:
        reply = {"error": f"{getattr(error, 'strerror', None) or error}"}
    with os.fdopen(replies, "w", encoding="utf-8") as line:
        line.write(json.dumps(reply) + "\n")
    if "error" in reply:
        return 1
    watchdog.join()
    return 0


def _start(given: dict[str, Any]) -> Any:
    """Start the server on a free port of the loopback interface."""
    with open(given["path"], "rb") as file:  # noqa: PTH123 the path is a text of the parent
        if file.read(len(_MAGIC)) != _MAGIC:
            raise ValueError("it is not a GGUF file")
    # It has no types.
    xllamacpp: Any = import_module("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = given["path"]
    params.n_parallel = given["slots"]
    # llama.cpp divides the context between the slots.
    params.n_ctx = given["slots"] * given["context"]
    params.api_keys = [given["key"]]
    params.n_gpu_layers = 0
    # By default it keeps up to 8 GB of prompts in memory.
    params.cache_ram_mib = 0
    params.cache_idle_slots = False
    params.warmup = False
    params.ui = False
    params.endpoint_slots = False
    params.verbosity = 1
    threads = _threads()
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    return xllamacpp.Server(params)


def _threads() -> int:
    """Return half of the CPUs, at most 8.

    The threads of llama.cpp spin while they wait for each other. On two busy CPUs, two threads
    wrote an eighth of the tokens of one thread.
    """
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min((cpus or 1) // 2, _MAX_THREADS))


def _exit_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    # The threads of llama.cpp may be in the middle of an answer.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
