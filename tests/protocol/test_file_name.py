"""Laws of the names of downloaded files."""

import unicodedata
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from foxapi_async._protocol.file_name import (
    collision_key,
    disposition_name,
    download_name,
    free_name,
    numbered_name,
    safe_file_name,
    suffix_of,
)

RESERVED = {"con", "prn", "aux", "nul", "com1", "lpt9"}
ANY = st.text(max_size=400) | st.text(alphabet='./\\:<>"|?* -~\0\n\u202e\u0301COMaux1', max_size=60)


def is_safe(name: str) -> bool:
    """Tell whether every file system can hold a name, as it is, in the folder that was asked."""
    units = len(unicodedata.normalize("NFD", name).encode("utf-16-le")) // 2
    return (
        0 < len(name.encode()) <= 230
        and units <= 255
        and not set(name) & set('<>:"|?*/\\')
        and all(unicodedata.category(char)[0] != "C" for char in name)
        and name[0] not in ". -~"
        and name[-1] not in " ."
        and name.partition(".")[0].strip().casefold() not in RESERVED
    )


@given(ANY)
@example("../../etc/passwd")
@example("..\\..\\boot.ini")
@example("con.png")
@example("NUL")
@example("COM1 .txt")
@example(".bashrc")
@example("a" * 300 + ".png")
@example("\N{HANGUL SYLLABLE GAG}" * 300)
@example("cat.png\0.exe")
@example("gpj.\N{RIGHT-TO-LEFT OVERRIDE}exe")
def test_a_name_is_safe_on_every_file_system(text: str) -> None:
    """Any text becomes a safe name or none, and a safe name stays as it is."""
    name = safe_file_name(text)
    if name is not None:
        assert is_safe(name), name
        assert safe_file_name(name) == name


@given(
    filename=st.none() | ANY,
    disposition=st.none() | ANY,
    url=ANY | ANY.map(lambda text: "https://cdn.example/a/" + quote(text[:50], errors="replace")),
    media_type=st.none() | st.sampled_from(["image/png", "video/mp4; codecs=x", "x/y", ""]) | ANY,
)
def test_every_download_has_a_safe_name(
    filename: str | None, disposition: str | None, url: str, media_type: str | None
) -> None:
    """Whatever the service and the link say, the file has a safe name."""
    name = download_name(filename=filename, disposition=disposition, url=url, media_type=media_type)
    assert is_safe(name), name
    assert safe_file_name(name) == name


@pytest.mark.parametrize(
    ("sources", "name"),
    [
        ({"filename": "cat.png", "url": "https://a/dog.png"}, "cat.png"),
        (
            {"disposition": 'attachment; filename="a \\"b\\".pdf"', "url": "https://a/x"},
            "a _b_.pdf",
        ),
        (
            {"disposition": "attachment; filename*=UTF-8''na%C3%AFve.zip; filename=n.zip"},
            "naïve.zip",
        ),
        ({"disposition": "attachment; filename=plain.mp4"}, "plain.mp4"),
        ({"url": "https://cdn.example/out/song%20one.mp3?sig=abc#t"}, "song one.mp3"),
        ({"url": "https://cdn.example/out/0a1b2c", "media_type": "image/webp"}, "0a1b2c.webp"),
        ({"url": "https://cdn.example/", "media_type": "video/mp4; codecs=avc1"}, "download.mp4"),
        ({"url": "https://cdn.example/..", "media_type": "audio/wav"}, "download.wav"),
        ({"url": "https://cdn.example/a%2F..%2F..%2Fevil.sh"}, "evil.sh"),
        ({"filename": "report v1.2 final"}, "report v1.2 final"),
        ({"url": "http://[bad", "media_type": "application/pdf"}, "download.pdf"),
        ({}, "download"),
    ],
)
def test_the_name_comes_from_the_best_source(sources: dict[str, str], name: str) -> None:
    """The result names the file, else the header, else the link; the type gives an ending."""
    assert download_name(**sources) == name


@given(ANY, st.integers(2, 10**6))
def test_a_number_keeps_a_name_safe(text: str, number: int) -> None:
    """A numbered name is safe, differs from the name and keeps its ending."""
    name = safe_file_name(text) or "download"
    numbered = numbered_name(name, number)
    assert is_safe(numbered)
    assert collision_key(numbered) != collision_key(name)
    assert suffix_of(numbered) == suffix_of(name)


@given(
    st.lists(st.sampled_from(["Cat.png", "cat.PNG", "cat-2.png", "ﬁsh", "FISH", "é", "e\u0301"]))
)
def test_names_in_a_folder_never_collide(names: list[str]) -> None:
    """Names that some file system takes for one are numbered."""
    taken: set[str] = set()
    for name in names:
        free = free_name(name, taken)
        assert collision_key(free) not in taken
        taken.add(collision_key(free))


def test_case_and_composition_are_one_name() -> None:
    """Two spellings of a name that a file system takes for one have one key."""
    assert collision_key("É.png") == collision_key("e\u0301.PNG")
    assert free_name("CAT.png", {collision_key("cat.PNG")}) == "CAT-2.png"


@given(ANY)
def test_a_header_never_breaks_the_parser(header: str) -> None:
    """Any header gives a name or none."""
    name = disposition_name(header)
    assert name is None or isinstance(name, str)
