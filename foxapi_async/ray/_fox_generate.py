"""The class that ``Dataset.map_batches`` calls."""
# pyright: reportPrivateUsage=false

import asyncio
import os
import warnings
from collections.abc import Callable, Mapping
from typing import Any, final

from msgspec import UNSET, UnsetType

from foxapi_async._client.row_map import InFlight, Unknown
from foxapi_async.config import Limits
from foxapi_async.ray._columns import check_columns, names_of, rows_of, with_answers
from foxapi_async.ray._row_options import Row, RowOptions, resolve_journal
from foxapi_async.ray._row_worker import RowWorker

_NO_JOURNAL = (
    "FoxGenerate has no journal: when Ray runs the rows of a lost worker again, they are submitted "
    "and billed again; pass journal='postgresql://...', or an SQLite file on one machine"
)


@final
class FoxGenerate:
    """Answers the rows of batches: the class for ``Dataset.map_batches`` of Ray Data.

    ::

        dataset.map_batches(
            FoxGenerate,
            fn_constructor_kwargs={"model": "gpt-5.5", "prompt": "text", "journal": JOURNAL},
            batch_format="pyarrow",
            num_cpus=0.1,
            compute=ActorPoolStrategy(size=2, max_concurrent_calls_per_actor=16),
        )

    Each row is a generation and is billed like one, by ``fox.llm.map``. A batch comes back with
    four more columns: ``answer``, the text; ``error``, the class and text of an error; ``task_id``;
    and ``usage``, the counted tokens. The error of a row is a value of a column, never an
    exception. What ends the session of a worker, such as a rejected API key or a balance that is
    used up, is the error of each row that it can no longer submit.

    Each worker has one session, in an event loop and a thread of its own, from its first batch to
    the exit of its process. The API key is read from ``FOXAPI_API_KEY`` in the environment of the
    worker; it is no option, because Ray stores and shows options.

    Ray runs the rows of a lost worker again. With a journal, a row that runs again is not billed
    again: a task that was accepted is found by its key. Without one it is submitted again, and a
    ``RuntimeWarning`` says so.

    An instance pickles with its options, and opens its session in the process of its first call.

    Args:
        model: The id of the model, or a function of the row.
        prompt: The column with the text of the prompt, or a function of the row. A row is a dict of
            its columns; a missing value, such as NaN, is ``None``. Functions must pickle.
        messages: In place of ``prompt``: the column with the messages of a conversation, as a list
            or as JSON text, or a function of the row.
        system: Instructions that are the first message of each row.
        key: The column with the key of the row, a text or a whole number, or a function of the row.
            By default a hash of the request, so that equal rows have one task. It is never the
            position of a row, which changes between runs.
        journal: The journal of all workers: ``"postgresql://..."``, or an SQLite file if all of
            them run on one machine. Options hold the URL: leave a password to the environment.
        limits: The limits of the session of each worker. ``submits_per_minute`` and
            ``tokens_per_minute`` are rates of all workers together: of those with the journal if it
            is a PostgreSQL database, else of those of the cluster.
        parse: Whether ``answer`` is the JSON value of the text, as it also is if
            ``response_format=`` is a type. An answer that is no value of the type is an error.
        unknown: What is done with a row whose submission in an earlier run, or in a lost worker,
            may have been accepted: ``"error"`` makes it an error, ``"skip"`` leaves the row out,
            ``"resubmit"`` submits it again, which may bill it twice.
        attempts: How many billed generations a row may take if its task fails for a reason that
            does not lie in the request.
        retry_failed: Whether a key whose task failed in an earlier run is submitted again.
        in_flight: How many rows a worker has in flight, over all its batches; or ``"auto"``.
        timeout: Seconds of the wait for each task, as in ``generate``.
        prefix: What the names of the four columns begin with.
        session: Other arguments of ``FoxSession``: ``allow_http``, ``base_url``, ``polling``,
            ``retry``, ``streaming``, ``timeouts``, ``trust_env`` and ``validation``.
        **params: The other keywords of ``generate``, each a value or a function of the row.

    Raises:
        TypeError: A keyword is unknown or missing.
        ConfigError: A setting cannot work.
        RequestValidationError: A value cannot be sent.
    """

    def __init__(
        self,
        *,
        model: str | Callable[[Row], str],
        prompt: str | Callable[[Row], Any] | None = None,
        messages: str | Callable[[Row], Any] | None = None,
        system: str | None = None,
        key: str | Callable[[Row], Any] | None = None,
        journal: str | os.PathLike[str] | None = None,
        limits: Limits = Limits(),  # noqa: B008 frozen
        parse: bool = False,
        unknown: Unknown = "error",
        attempts: int = 1,
        retry_failed: bool = False,
        in_flight: InFlight = 256,
        timeout: float | None | UnsetType = UNSET,
        prefix: str = "",
        session: Mapping[str, Any] | None = None,
        **params: Any,
    ) -> None:
        self._options = RowOptions(
            model=model,
            prompt=prompt,
            messages=messages,
            system=system,
            key=key,
            journal=resolve_journal(journal),
            limits=limits,
            parse=parse,
            unknown=unknown,
            attempts=attempts,
            retry_failed=retry_failed,
            in_flight=in_flight,
            timeout=timeout,
            prefix=prefix,
            session=dict(session or {}),
            params=params,
        )
        self._worker: RowWorker | None = None
        if journal is None:
            warnings.warn(_NO_JOURNAL, RuntimeWarning, stacklevel=2)

    async def __call__(self, batch: Any) -> Any:
        """Answer the rows of a batch; the first call opens the session.

        Args:
            batch: The batch, in any format of Ray Data.

        Returns:
            The batch in the same format, with the columns of the answers.

        Raises:
            ConfigError: A column is missing or exists already, a setting cannot work, or the
                environment has no API key.
            JournalError: The journal cannot be opened.
        """
        names = names_of(batch)
        options = self._options
        check_columns(names, options.prefix, options.columns)
        if self._worker is None:
            self._worker = RowWorker(options)
        rows = rows_of(batch, names if options.reads_all_columns else options.columns)
        answers = await asyncio.wrap_future(self._worker.answer_all(rows))
        return with_answers(batch, answers, options.prefix, parsed=options.answer_type is not None)

    def __repr__(self) -> str:
        return f"FoxGenerate({self._options!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self._options,)


def _rebuild(options: RowOptions) -> FoxGenerate:
    made = object.__new__(FoxGenerate)
    made._options, made._worker = options, None
    return made
