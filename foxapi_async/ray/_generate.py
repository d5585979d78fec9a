"""Answers a data set without a barrier between batches: each row leaves when it has its answer."""
# pyright: reportPrivateUsage=false

import warnings
from collections.abc import Iterator
from typing import Any, Final

from foxapi_async.errors import ConfigError
from foxapi_async.ray._cluster import RemoteWorker, count_nodes, import_ray, split
from foxapi_async.ray._fox_generate import FoxGenerate
from foxapi_async.ray._lane import Lane, TableQueue
from foxapi_async.ray._row_options import RowOptions


def generate(
    dataset: Any, *, workers: int = 1, num_cpus: float = 0, **options: Any
) -> Iterator[Any]:
    """Answer a data set of Ray Data, and return its rows with their answers as they come.

    No row waits for another: there is no batch whose slowest row holds back the others. Each worker
    takes blocks of ``dataset.streaming_split`` as it has room. The driver keeps each row until it
    has its answer. When a worker is lost, Ray starts it again, and its rows are sent again; with a
    journal they are not billed again. The order of the rows changes.

    Nothing runs before the first step of the iterator. Leaving it closes the workers: tasks that
    are accepted go on, and with a journal the next run has their answers.

    Args:
        dataset: The ``ray.data.Dataset``.
        workers: How many workers answer rows, each with its own session.
        num_cpus: The CPUs that Ray reserves for each worker. A worker mostly waits.
        **options: The keywords of ``FoxGenerate``.

    Returns:
        Tables of ``pyarrow``: the columns of the data set, and those of ``FoxGenerate``.

    Raises:
        TypeError: A keyword is unknown or missing.
        ConfigError: A setting cannot work, a column is missing or exists already, the environment
            of a worker has no API key, or Ray is not installed.
        JournalError: A worker cannot open the journal.
        RuntimeError: A worker has been lost, and none has answered a row in its place for five
            minutes.
    """
    import_ray()
    if workers < 1:
        raise ConfigError(f"workers= must be at least 1, got {workers!r}")
    made = FoxGenerate(**options)
    return _generate(dataset, made._options, workers, num_cpus)  # noqa: SLF001 the same package


def _generate(dataset: Any, options: RowOptions, workers: int, num_cpus: float) -> Iterator[Any]:
    if (
        options.journal is not None
        and not options.journal.startswith("postgres")
        and count_nodes() > 1
    ):
        warnings.warn(_LOCAL_JOURNAL, RuntimeWarning, stacklevel=3)
    started = [RemoteWorker(options, num_cpus) for _ in range(workers)]
    output = TableQueue(workers)
    lanes: list[Lane] = []
    try:
        for worker in started:
            worker.open()
        lanes += [
            Lane(worker, part, options, output)
            for worker, part in zip(started, split(dataset, workers), strict=True)
        ]
        for lane in lanes:
            lane.start()
        yield from output.tables()
    finally:
        output.close()
        for lane in lanes:
            lane.join()
        for worker in started:
            worker.close()


_LOCAL_JOURNAL: Final = (
    "the journal is a file, and the cluster has several nodes: a row that runs again on another "
    "node is billed again; pass journal='postgresql://...'"
)
