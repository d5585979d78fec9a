"""All calls of Ray, whose functions have no types for the strict checkers."""

from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any, Final, final

from foxapi_async.errors import ConfigError, FoxAPIError
from foxapi_async.ray._columns import AnswerColumns
from foxapi_async.ray._row_actor import RowActor
from foxapi_async.ray._row_options import RowOptions

# Besides a call that waits, one that adds rows and one that closes.
_CONCURRENCY: Final = 4
_CLOSE_TIMEOUT: Final = 20.0


class WorkerLostError(RuntimeError):
    """A worker has died, or cannot be reached. Ray starts it again."""


@final
class RemoteWorker:
    """A ``RowActor`` somewhere in the cluster. Ray starts it again when its process dies.

    Each call raises ``WorkerLostError`` if the worker dies during it.
    """

    def __init__(self, options: RowOptions, num_cpus: float) -> None:
        ray = import_ray()
        self._get: Any = ray.get
        self._kill: Any = ray.kill
        self._lost: type[Exception] = ray.exceptions.RayActorError
        self._raised: type[Exception] = ray.exceptions.RayTaskError
        settings = {"num_cpus": num_cpus, "max_restarts": -1, "max_concurrency": _CONCURRENCY}
        self._actor: Any = ray.remote(**settings)(RowActor).remote(options)

    def open(self) -> None:
        """Wait until the worker has opened its session, and raise its error if it could not."""
        error = self._call("error")
        if error is not None:
            raise error

    def add(self, numbers: Sequence[int], table: Any) -> None:
        """Give the worker the rows of a table, which have these numbers."""
        self._call("add", numbers, table)

    def take(self) -> list[tuple[int, AnswerColumns]]:
        """Return the answers that have come since the last call; wait a second for the first."""
        answers: list[tuple[int, AnswerColumns]] = self._call("take")
        return answers

    def close(self) -> None:
        """Close the session of the worker, and end the worker."""
        try:
            self._call("close", timeout=_CLOSE_TIMEOUT)
        except (WorkerLostError, TimeoutError):
            # It is dead, or will be in a moment. The journal has its rows.
            pass
        finally:
            self._kill(self._actor, no_restart=True)

    def _call(self, method: str, *args: Any, timeout: float | None = None) -> Any:
        try:
            return self._get(getattr(self._actor, method).remote(*args), timeout=timeout)
        except self._lost as error:
            raise WorkerLostError(str(error)) from error
        except self._raised as error:
            # Ray raises a class of its own, of which an `except` for ours knows nothing.
            cause = getattr(error, "cause", None)
            raise (cause if isinstance(cause, FoxAPIError) else error) from None


def split(dataset: Any, count: int) -> list[Any]:
    """Split a data set into iterators, which share its blocks as each of them asks for more."""
    return list(dataset.streaming_split(count, equal=False))


def tables(part: Any, batch_size: int) -> Iterator[Any]:
    """Yield the tables of one part of a split data set."""
    return iter(part.iter_batches(batch_size=batch_size, batch_format="pyarrow"))


def count_nodes() -> int:
    """Return the number of living nodes of the cluster."""
    return sum(bool(node.get("Alive")) for node in import_ray().nodes())


def import_ray() -> Any:
    """Import Ray.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        import ray

        import_module("ray.data")
    except ImportError:
        raise ConfigError(
            "foxapi_async.ray needs an extra: python -m pip install 'foxapi-async[ray]'"
        ) from None
    module: Any = ray
    return module
