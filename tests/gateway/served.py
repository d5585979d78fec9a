"""A gateway in a process of its own, which tests kill.

``served.py DATA PORT TOKEN_DELAY`` simulates its models; a fourth argument is the URL of an
upstream that answers the model ``real`` to fifty tasks at a time.
"""

import asyncio
import signal
import sys

from foxapi_async.gateway import Gateway, Upstream


async def main(data: str, port: str, token_delay: str, *urls: str) -> None:
    """Tell the port and serve until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    upstreams = [Upstream(url=url, models=["real"], concurrency=50) for url in urls]
    gateway = Gateway(
        port=int(port), data=data, token_delay=float(token_delay), upstreams=upstreams
    )
    async with gateway:
        print(gateway.port, flush=True)  # noqa: T201 the parent waits for this line
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
