"""Laws of the files of a batch: one is never written over another, and none has a password."""

from pathlib import Path

import pytest

from foxapi_async._batch.rows import BatchFileError
from foxapi_async._batch.state import BatchPaths, is_masked, masked_url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://user:secret@host:5/db", "postgresql://user:***@host:5/db"),
        ("postgresql://user:secret@@host/db", "postgresql://user:***@host/db"),
        ("postgresql://h/db?user=u&password=secret", "postgresql://h/db?user=u&password=***"),
        ("postgresql://h/db?pass%77ord=secret&a=b", "postgresql://h/db?pass%77ord=***&a=b"),
        (
            "postgresql://u:secret@h/db?sslpassword=secret",
            "postgresql://u:***@h/db?sslpassword=***",
        ),
        ("postgresql://u:secret@[h/db", "postgresql://***"),
    ],
)
def test_no_file_has_the_password_of_a_journal(url: str, shown: str) -> None:
    """Wherever a URL has it, it is masked."""
    assert masked_url(url) == shown
    assert is_masked(shown)


@pytest.mark.parametrize(
    "journal",
    ["tasks.db", "/a=b/tasks.db", "sqlite:///tasks.db", "postgresql://user@host/db?a=b&c"],
)
def test_a_journal_without_a_password_is_shown_as_it_is(journal: str) -> None:
    """The next run opens it by what the state has."""
    assert masked_url(journal) == journal
    assert not is_masked(journal)


def test_two_names_of_one_file_are_one_file(tmp_path: Path) -> None:
    """A link to the input is the input."""
    rows = tmp_path / "in.csv"
    rows.write_text("n\n1\n")
    link = tmp_path / "link.html"
    link.hardlink_to(rows)
    paths = BatchPaths(str(tmp_path / "out.csv"))
    with pytest.raises(BatchFileError, match="INPUT and --report are one file"):
        paths.check_files(input_=str(rows), errors=None, journal=None, report=str(link))
    paths.check_files(
        input_="-", errors=None, journal="postgresql://host/db", report=str(tmp_path / "r.html")
    )
