"""Laws of the links of uploads in a journal, in a file and in PostgreSQL."""

from typing import Any

from foxapi_async._journal import ContentMark, StoredUpload
from foxapi_async._journal.journal_writer import JournalWriter

MARK = ContentMark(filename="图.png", size=5, head="a" * 64)


def stored(digest: str, expires_at: float, mark: ContentMark = MARK) -> StoredUpload:
    """Return an upload."""
    return StoredUpload(
        service="http://s", mark=mark, digest=digest, file=b'{"url":"x"}', expires_at=expires_at
    )


async def test_sessions_send_a_file_once(open_fox: Any) -> None:
    """A second session with the journal gets the link of the first one."""
    links = []
    for _ in range(2):
        async with open_fox() as fox:
            links.append(await fox.files.upload(b"content", filename="a.txt"))
    assert links[0] == links[1]


async def test_a_link_is_replaced_and_expires(open_fox: Any) -> None:
    """The newest upload of a file is found while it is valid, by the mark and the service."""
    async with open_fox() as fox:
        journal: JournalWriter = fox._service.options.journal
        for upload in (stored("1", 100.0), stored("2", 200.0), stored("1", 300.0)):
            await journal.record_upload(upload, 50.0)
        found = await journal.find_uploads("http://s", MARK, 150.0)
        assert sorted((one.digest, one.expires_at) for one in found) == [("1", 300.0), ("2", 200.0)]
        assert found[0].file == b'{"url":"x"}'
        assert not await journal.find_uploads("http://other", MARK, 150.0)
        other = ContentMark(filename="b", size=5, head="a" * 64)
        assert not await journal.find_uploads("http://s", other, 150.0)
        await journal.record_upload(stored("3", 400.0), 250.0)
        found = await journal.find_uploads("http://s", MARK, 0.0)
        assert sorted(one.digest for one in found) == ["1", "3"]
