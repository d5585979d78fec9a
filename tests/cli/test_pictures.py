"""A law of pictures in a terminal."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pty")

DRAW = """
import sys
from pathlib import Path
from foxapi_async.cli.output import Screen
from foxapi_async.cli.save import Saving, show_files
from foxapi_async.types import MediaResults

saving = Saving(folder=Path(), overwrite=False, open_files=False)
show_files(Screen(json=False), MediaResults([]), [Path(sys.argv[1])], saving)
"""


def in_terminal(environment: dict[str, str], *words: str) -> tuple[int, bytes]:
    """Run a program in a terminal of 40 lines and 60 columns; return how it ended and its text."""
    import fcntl
    import pty
    import struct
    import termios

    child, terminal = pty.fork()
    if child == 0:
        os.execvpe(words[0], words, environment)  # noqa: S606 no shell is wanted
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 60, 600, 800))
    text = b""
    try:
        while chunk := os.read(terminal, 65536):
            text += chunk
    except OSError:
        pass  # Linux reports the end of the child so
    finally:
        os.close(terminal)
        _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), text


@pytest.mark.parametrize("content", ["picture", "text"])
def test_a_saved_picture_is_drawn(
    environment: Callable[[], dict[str, str]], tmp_path: Path, content: str
) -> None:
    """A terminal shows the path and the picture; what is no picture is named, and no error."""
    pytest.importorskip("textual_image")
    path = tmp_path / "a.png"
    if content == "picture":
        Image.new("RGB", (40, 20), "red").save(path)
    else:
        path.write_text("no picture")
    # The library calls a function of Pillow that is to go.
    warnings = {"PYTHONWARNINGS": "error,ignore::DeprecationWarning"}
    variables = environment() | warnings | {"TERM": "xterm-256color"}
    code, text = in_terminal(variables, sys.executable, "-c", DRAW, str(path))
    assert code == 0, text
    assert path.name.encode() in text.replace(b"\r\n", b"")
    # Half blocks, because this terminal does not say what it can draw.
    assert ("\N{UPPER HALF BLOCK}".encode() in text) == (content == "picture")
    assert (b"cannot be drawn" in text.replace(b"\r\n", b"")) == (content == "text")
