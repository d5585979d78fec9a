"""Laws of blocking media tasks."""

import pickle

from foxapi_async import MediaResults
from foxapi_async.sync import FoxSession, TaskHandle, as_completed
from foxapi_async.testing import BackgroundGateway


def test_media_without_async(served: BackgroundGateway, fox: FoxSession) -> None:
    """A blocking session makes media: a handle, its results, and the same handle by its key."""
    handle = fox.images.submit(model="gpt-image-2", prompt="a fox", key="row-17")
    assert isinstance(handle, TaskHandle)
    results = handle.result()
    assert fox.images.submit(model="gpt-image-2", prompt="a fox", key="row-17") == handle
    (speech,) = fox.audios.generate(model="speech-2.8-hd", prompt="hello")
    assert len([*results.urls, *speech.urls]) == 2
    assert pickle.loads(pickle.dumps(handle)).bind(fox).result().urls == results.urls
    assert [one.id for one in as_completed([handle])] == [handle.id]
    assert len(served.billed) == 2
    served.assert_billed_once(handle.id)
    assert isinstance(results, MediaResults)
