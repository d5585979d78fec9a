"""Laws of content blocks: what is sent of a medium, and what is refused before it is billed."""

import base64
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydantic import AnyUrl
from yarl import URL

from foxapi_async.content import audio, file, image, text, video
from foxapi_async.types import ContentBlock, MediaURL

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF"
Builder = Callable[..., ContentBlock]


def ftyp(brand: bytes, *compatible: bytes) -> bytes:
    """Return how an ISO file begins."""
    body = brand + bytes(4) + b"".join(compatible)
    return (len(body) + 8).to_bytes(4, "big") + b"ftyp" + body + b"\0\0\0\x08mdat"


def url(block: ContentBlock) -> str:
    """Return the URL of a block."""
    medium = getattr(block, block.type)
    assert isinstance(medium, MediaURL)
    return medium.url


def mime(block: ContentBlock) -> str:
    """Return the media type of a block that holds its medium."""
    return url(block).removeprefix("data:").partition(";")[0]


@pytest.mark.parametrize(
    ("build", "data", "expected"),
    [
        (image, PNG, "image/png"),
        (image, JPEG, "image/jpeg"),
        (image, b"GIF89a", "image/gif"),
        (image, b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        (image, ftyp(b"heic", b"mif1", b"heic"), "image/heic"),
        (image, ftyp(b"mif1", b"mif1", b"heic"), "image/heic"),
        (image, ftyp(b"mif1", b"miaf"), "image/heif"),
        (image, ftyp(b"avif", b"mif1"), "image/avif"),
        (image, ftyp(b"mif1", b"avif"), "image/avif"),
        (image, b"BM\x9a\0\0\0\0\0\0\0\x36", "image/bmp"),
        (video, ftyp(b"isom", b"mp41"), "video/mp4"),
        (video, ftyp(b"dash"), "video/mp4"),
        (video, ftyp(b"qt  "), "video/quicktime"),
        (video, ftyp(b"3gp5"), "video/3gpp"),
        (video, b"\x1aE\xdf\xa3\x9fB\x82\x84webm", "video/webm"),
        (video, b"\x1aE\xdf\xa3\x9fB\x82\x88matroska", "video/x-matroska"),
        (video, b"RIFF\0\0\0\0AVI LIST", "video/x-msvideo"),
        (video, b"OggS", "video/ogg"),
        (audio, ftyp(b"M4A ", b"mp42"), "audio/mp4"),
        (audio, ftyp(b"isom", b"mp41"), "audio/mp4"),
        (audio, b"\x1aE\xdf\xa3\x9fB\x82\x84webm", "audio/webm"),
        (audio, b"RIFF\0\0\0\0WAVEfmt ", "audio/wav"),
        (audio, b"ID3\x04\0", "audio/mpeg"),
        (audio, b"\xff\xf3\x40\xc0", "audio/mpeg"),
        (audio, b"\xff\xfb\x90\x64", "audio/mpeg"),
        (audio, b"\xff\xf1\x50\x80", "audio/aac"),
        (audio, b"FORM\0\0\0\0AIFFCOMM", "audio/aiff"),
        (audio, b"fLaC", "audio/flac"),
        (audio, b"OggS", "audio/ogg"),
        (file, b"%PDF-1.7", "application/pdf"),
        (file, b"{\\rtf1", "application/rtf"),
    ],
)
def test_bytes_tell_what_they_are(build: Builder, data: bytes, expected: str) -> None:
    """The first bytes decide, and the bytes are sent whole."""
    block = build(data)
    assert mime(block) == expected
    assert base64.b64decode(url(block).partition(",")[2]) == data


@pytest.mark.parametrize(
    ("build", "data", "right"),
    [
        (image, b"%PDF-1.7", "file"),
        (image, ftyp(b"isom"), "video"),
        (image, b"ID3\x03", "audio"),
        (video, PNG, "image"),
        (video, ftyp(b"heic"), "image"),
        (video, ftyp(b"M4A "), "audio"),
        (audio, JPEG, "image"),
        (audio, b"RIFF\0\0\0\0AVI LIST", "video"),
        (file, PNG, "image"),
        (file, ftyp(b"isom"), "video"),
    ],
)
def test_a_builder_refuses_another_kind(build: Builder, data: bytes, right: str) -> None:
    """Whatever a name or the caller says, bytes of another kind are sent to their own builder."""
    with pytest.raises(ValueError, match=rf"{right}\(\.\.\.\)"):
        build(data)
    with pytest.raises(ValueError, match=rf"{right}\(\.\.\.\)"):
        build(data, mime={image: "image/png", video: "video/mp4", audio: "audio/wav"}.get(build))


def test_bytes_decide_before_names(tmp_path: Path) -> None:
    """A JPEG in photo.png is a JPEG, and what is no PNG is not sent as one."""
    photo = tmp_path / "photo.png"
    photo.write_bytes(JPEG)
    assert mime(image(photo)) == "image/jpeg"
    photo.write_bytes(b"not found")
    with pytest.raises(ValueError, match="does not begin like"):
        image(photo)
    photo.write_bytes(b"")
    with pytest.raises(ValueError, match="empty"):
        image(photo)


def test_a_name_tells_where_the_bytes_do_not(tmp_path: Path) -> None:
    """Texts and the like have no first bytes of their own; they are documents and no images."""
    for name, expected in (
        ("notes.txt", "text/plain"),
        ("table.csv", "text/csv"),
        ("notes.txt.gz", "application/gzip"),
    ):
        path = tmp_path / name
        path.write_bytes("grüße".encode("utf-16"))
        assert mime(file(path)) == expected
        for build in (image, video, audio):
            with pytest.raises(ValueError, match=r"file\(\.\.\.\)"):
                build(path)
    path = tmp_path / "drawing.svg"
    path.write_bytes(b"<svg/>")
    assert mime(image(path)) == "image/svg+xml"


def test_what_nothing_tells_needs_its_type() -> None:
    """Bytes of no known kind are sent when the caller names their type, which is spelt right."""
    with pytest.raises(ValueError, match="mime="):
        image(b"????")
    assert mime(image(b"????", mime="image/x-own")) == "image/x-own"
    assert mime(image(JPEG, mime="image/jpg")) == "image/jpeg"
    with pytest.raises(ValueError, match="media type"):
        image(b"????", mime="png")
    with pytest.raises(ValueError, match=r"audio\(\.\.\.\)"):
        image(b"????", mime="audio/mpeg")


class Place:
    """An ``os.PathLike`` that is no ``Path``."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __fspath__(self) -> str:
        return os.fspath(self._path)


def test_a_medium_comes_from_whatever_is_at_hand(tmp_path: Path) -> None:
    """Buffers, paths and open files give the same block as the bytes do."""
    path = tmp_path / "fox.bin"
    path.write_bytes(PNG)
    written = io.BytesIO()
    written.write(PNG)
    expected = image(PNG)
    sources: list[Any] = [bytearray(PNG), memoryview(PNG), path, Place(path), written]
    assert [image(source) for source in sources] == [expected] * len(sources)
    with path.open("rb") as opened:
        assert image(opened) == expected
    with path.open("r", encoding="latin-1") as opened, pytest.raises(TypeError, match="'rb'"):
        image(opened)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="got int"):
        image(7)  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "CMYK", "YCbCr"])
def test_an_image_of_pillow_is_sent_as_png(mode: str) -> None:
    """Whatever its mode, it is written without loss, and to its own builder alone."""
    picture = Image.new(mode, (2, 2))
    block = image(picture)
    assert mime(block) == "image/png"
    sent = Image.open(io.BytesIO(base64.b64decode(url(block).partition(",")[2])))
    assert sent.convert("RGB").tobytes() == picture.convert("RGB").tobytes()
    with pytest.raises(ValueError, match=r"image\(\.\.\.\)"):
        video(picture)


def test_urls_stay_what_they_are() -> None:
    """A URL is passed on; of a data URI only the media type is checked."""
    assert url(image("https://x/1.png")) == "https://x/1.png"
    assert url(video("HTTP://x/notes.txt")) == "HTTP://x/notes.txt"
    assert url(video("data:video/mp4;base64,AA==")) == "data:video/mp4;base64,AA=="
    assert url(file("data:,hello")) == "data:,hello"
    with pytest.raises(ValueError, match=r"video\(\.\.\.\)"):
        image("data:video/mp4;base64,AA==")
    with pytest.raises(ValueError, match="comma"):
        image("data:image/png;base64")
    with pytest.raises(ValueError, match="Path"):
        image("fox.png")


def test_a_text_is_a_block_too() -> None:
    """Beside media, a text is a block."""
    assert text("look") == ContentBlock(type="text", text="look")


@pytest.mark.parametrize("build", [image, video, audio, file])
def test_a_url_object_is_its_text(build: Builder) -> None:
    """URL objects of yarl and pydantic are taken as their text, as ``base_url`` takes them."""
    address = "https://example.org/a%20b.png?x=1"
    assert url(build(URL(address, encoded=True))) == address
    assert url(build(AnyUrl(address))) == address
    with pytest.raises(ValueError, match="must be an http"):
        build(URL("ftp://example.org/a.png"))


@pytest.mark.parametrize("text", ["data:image/png;base64,", "data:image/png,"])
def test_an_empty_data_uri_is_refused(text: str) -> None:
    """A data URI without content is refused before it is billed."""
    with pytest.raises(ValueError, match="no content"):
        image(text)
