"""A stream that is over for good, and what the stored result still has of it (contract §6)."""

from typing import TYPE_CHECKING

from msgspec import Struct

from foxapi_async._catalog import MODELS
from foxapi_async._protocol.completion_merge import missing_deltas
from foxapi_async._protocol.delta_buffer import DeltaBuffer
from foxapi_async._wire.chunk import Delta
from foxapi_async._wire.completion import ChatCompletion
from foxapi_async.errors import StreamExpiredError

if TYPE_CHECKING:
    from foxapi_async._client.llm_handle import LLMHandle


class StoredTail(Struct, frozen=True):
    """What is left to deliver, and what can be told of the whole.

    ``thinks`` says that the model does, so that thinking may be missing for good.
    """

    rest: Delta | None
    thinks: bool


def tail_from_stored(
    stored: ChatCompletion, handle: "LLMHandle", intake: DeltaBuffer
) -> StoredTail | None:
    """Compare what was delivered with what is stored; ``None`` if that does not go on.

    Raises ``StreamExpiredError`` where the stored answer cannot be taken up, because nobody knows
    what was before the position.
    """
    task = handle.task
    suffix = intake.cursor.suffix(stored.text)
    said = None if intake.missing_prefix else intake.accumulated().completion()
    rest = None if suffix is None else missing_deltas(stored, said, suffix)
    if rest is None and said is None:
        raise StreamExpiredError(
            f"the stream of task {handle.id} is over, and the text before offset "
            f"{intake.offset} is not known here; await the handle for the whole answer",
            task_id=handle.id,
            offset=intake.offset,
            task=task,
        )
    if rest is None:
        intake.cursor.record_mismatch(stored.text)
        return None
    model = MODELS.get(task.model if task is not None else stored.model)
    return StoredTail(
        rest=Delta(id=stored.id, model=stored.model, choices=rest, usage=stored.usage)
        if rest
        else None,
        thinks=bool(intake.accumulated().reasoning) or (model is not None and model.thinking),
    )
