"""Writes the archives that a conversion of a document results in."""

from collections.abc import Iterator
from io import BytesIO
from typing import Final
from xml.sax.saxutils import escape
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from foxapi_async.gateway.media.jpeg import JPEG_CELL, encode_jpeg
from foxapi_async.gateway.media.picture import draw_picture

_MAX_PAGES: Final = 200
_DATE: Final = (2026, 1, 1, 0, 0, 0)
_SIZE: Final = (400, 240)
_NAMESPACE: Final = "http://schemas.openxmlformats.org"
_WORD: Final = f"{_NAMESPACE}/wordprocessingml/2006/main"
_XML: Final = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
_MAIN_TYPE: Final = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
_CONTENT_TYPES: Final = (
    f'{_XML}<Types xmlns="{_NAMESPACE}/package/2006/content-types">'
    '<Default Extension="rels" '
    'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    f'<Override PartName="/word/document.xml" ContentType="{_MAIN_TYPE}.main+xml"/></Types>'
)
_RELATIONS: Final = (
    f'{_XML}<Relationships xmlns="{_NAMESPACE}/package/2006/relationships"><Relationship Id="r1" '
    f'Type="{_NAMESPACE}/officeDocument/2006/relationships/officeDocument" '
    'Target="word/document.xml"/></Relationships>'
)


def encode_archive(name: str, *, pages: int, mode: str, inline: str) -> bytes:
    """Return a ZIP file with a document of some pages.

    Args:
        name: The name of the document, without a suffix.
        pages: The number of pages; 200 at most are written.
        mode: ``md``, ``tex`` or ``docx``.
        inline: How Markdown marks a formula: ``normal`` or ``dollar``.
    """
    out = BytesIO()
    with ZipFile(out, "w", ZIP_DEFLATED) as archive:
        for path, data in _files(name, min(max(pages, 1), _MAX_PAGES), mode, inline):
            archive.writestr(ZipInfo(path, _DATE), data)
    return out.getvalue()


def _files(name: str, pages: int, mode: str, inline: str) -> Iterator[tuple[str, bytes]]:
    if mode == "docx":
        yield f"{name}.docx", _docx(name, pages)
        return
    text = _tex(name, pages) if mode == "tex" else _markdown(name, pages, inline)
    yield f"{name}.{mode}", text.encode()
    for page in range(1, pages + 1):
        width, height = _SIZE
        drawn = draw_picture(f"page {page}", width=width, height=height, cell=JPEG_CELL, seed=name)
        yield _image(page), encode_jpeg(drawn)


def _image(page: int) -> str:
    return f"images/page-{page}.jpg"


def _markdown(name: str, pages: int, inline: str) -> str:
    formula = "$e = m c^2$" if inline == "dollar" else r"\(e = m c^2\)"
    return f"# {name}\n" + "".join(
        f"\n## Page {page}\n\nThe formula {formula}.\n\n![page {page}]({_image(page)})\n"
        for page in range(1, pages + 1)
    )


def _tex(name: str, pages: int) -> str:
    title = "".join(f"\\{letter}" if letter in "#$%&_{}" else letter for letter in name)
    body = "".join(
        f"\\section{{Page {page}}}\n\\(e = m c^2\\)\n\n\\includegraphics{{{_image(page)}}}\n"
        for page in range(1, pages + 1)
    )
    head = "\\documentclass{article}\n\\usepackage{graphicx}\n"
    return f"{head}\\title{{{title}}}\n\\begin{{document}}\n{body}\\end{{document}}\n"


def _docx(name: str, pages: int) -> bytes:
    lines = (name, *(f"Page {page}" for page in range(1, pages + 1)))
    body = "".join(f"<w:p><w:r><w:t>{escape(line)}</w:t></w:r></w:p>" for line in lines)
    main = f'{_XML}<w:document xmlns:w="{_WORD}"><w:body>{body}</w:body></w:document>'
    parts = {
        "[Content_Types].xml": _CONTENT_TYPES,
        "_rels/.rels": _RELATIONS,
        "word/document.xml": main,
    }
    out = BytesIO()
    with ZipFile(out, "w", ZIP_DEFLATED) as archive:
        for path, text in parts.items():
            archive.writestr(ZipInfo(path, _DATE), text)
    return out.getvalue()
