"""A gateway in a process of its own, which tests kill: ``served.py DATA PORT TOKEN_DELAY``."""

import asyncio
import signal
import sys

from foxapi_async.gateway import Gateway


async def main(data: str, port: str, token_delay: str) -> None:
    """Tell the port and serve until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with Gateway(port=int(port), data=data, token_delay=float(token_delay)) as gateway:
        print(gateway.port, flush=True)  # noqa: T201 the parent waits for this line
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
