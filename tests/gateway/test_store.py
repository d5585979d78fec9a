"""What every store of tasks does."""

from foxapi_async._clock import ManualClock
from foxapi_async._wire.request import GenerationRequest, Message
from foxapi_async._wire.task import StreamRef, UnifiedTask
from foxapi_async.gateway.store import MemoryStore

REQUEST = GenerationRequest(model="gpt-5.5", messages=(Message(role="user", content="hi"),))


async def test_a_task_is_its_owner_s_alone() -> None:
    """To all but its owner a task and its stream are not there, and each pays for his own."""
    store = MemoryStore(ManualClock(), retention=900, task_retention=900)
    task = UnifiedTask(id="a", status="pending", stream=StreamRef(url="/a"))
    assert await store.add(task, REQUEST, "ann")
    assert not await store.add(task, REQUEST, "bob")
    assert await store.answer("a", "ann")
    assert await store.log("a", "ann") is not None
    for other in ("bob", ""):
        assert await store.answer("a", other) is None
        assert await store.log("a", other) is None
    assert [await store.spent(name) for name in ("ann", "bob", "")] == [1, 0, 0]
