"""A rate of submissions that all workers of a cluster share."""

import asyncio
import sys
from typing import Any, Final, final

from foxapi_async._client.rate_stores import ProcessRate
from foxapi_async._clock import LoopClock
from foxapi_async._protocol.submit_rate import Lease, RateCost

# Of all jobs, so that they share their rates.
_NAMESPACE: Final = "foxapi_async"


def running_ray() -> Any:
    """Return Ray if this process belongs to a cluster, and ``None`` else. It does not import it."""
    ray: Any = sys.modules.get("ray")
    return ray if ray is not None and ray.is_initialized() else None


@final
class ClusterRate:
    """A rate that all workers of the cluster share: a named actor, which one of them owns.

    When its owner ends, the next call of another worker makes it again, without reservations. The
    methods raise ``ConnectionError`` if it cannot be reached.

    Args:
        ray: The module.
        name: The name of the rate.
    """

    def __init__(self, ray: Any, name: str) -> None:
        settings = {
            "name": f"rate-{name}",
            "namespace": _NAMESPACE,
            "get_if_exists": True,
            "num_cpus": 0,
            "max_restarts": -1,
        }
        self._make: Any = ray.remote(ProcessRate).options(**settings).remote
        self._dead: type[Exception] = ray.exceptions.ActorDiedError
        self._errors: type[Exception] = ray.exceptions.RayError
        self._actor: Any = self._make(LoopClock())

    async def reserve(self, cost: RateCost) -> Lease:
        """Reserve for submissions; the lease says how long they wait."""
        lease: Lease = await self._call("reserve", cost)
        return lease

    async def cancel(self, lease: Lease) -> bool:
        """Undo a reservation, unless there was a later one; tell whether it is undone."""
        is_cancelled: bool = await self._call("cancel", lease)
        return is_cancelled

    async def pause(self, seconds: float) -> None:
        """Grant nothing more for ``seconds``, a minute at most."""
        await self._call("pause", seconds)

    async def paused(self) -> float:
        """Return the seconds until the end of the pause; 0 without one."""
        seconds: float = await self._call("paused")
        return seconds

    async def _call(self, method: str, *args: Any) -> Any:
        try:
            try:
                return await self._answer(method, args)
            except self._dead:
                self._actor = self._make(LoopClock())
                return await self._answer(method, args)
        except self._errors as error:
            raise ConnectionError(f"{type(error).__name__} of the rate's actor") from error

    async def _answer(self, method: str, args: tuple[Any, ...]) -> Any:
        return await asyncio.wrap_future(getattr(self._actor, method).remote(*args).future())
