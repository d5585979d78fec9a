"""The mark of a living process: a file beside the journal that stays locked until it ends.

The kernel lets go of the lock however the process ends, `kill -9` included, and no number of a
process can be mistaken for another's: not after a reboot, and not between two containers.
"""

import os
import sys
from contextlib import suppress
from glob import escape
from pathlib import Path
from secrets import token_hex
from weakref import WeakSet, finalize

_ID_BYTES = 5

if sys.platform == "win32":
    import msvcrt

    def _lock(file: int, *, shared: bool) -> bool:
        del shared
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _lock(file: int, *, shared: bool) -> bool:
        """Lock ``file`` if nobody stands against it, until it is closed."""
        # flock and not lockf: it belongs to this opening of the file, so that looking at another
        # session of the same process is like looking at a stranger.
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


class ProcessLock:
    """One opening of a journal by one process. All its methods touch the disk."""

    def __init__(self, journal: str) -> None:
        """Take a name that nobody has, and lock its file."""
        while True:
            self.name: str = token_hex(_ID_BYTES)
            self._path = Path(_path(journal, self.name))
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            # Whoever looked at the file before it was locked took it for a dead one's.
            if _lock(self._file, shared=False) and _is_there(self._path, self._file):
                break
            os.close(self._file)
        # Also when the journal is dropped without being closed: then nobody can write any more.
        self._finalizer = finalize(self, _let_go, self._file, self._path)
        _OPEN.add(self)

    def end(self) -> None:
        """Let go: what this run has not settled is now anybody's to call unknown.

        Further calls do nothing, and neither does one in a fork.
        """
        _OPEN.discard(self)
        self._finalizer()

    def forget(self) -> None:
        """Close the file in a fork, where it would outlive the process that it stands for."""
        # Not even at the end of the fork may the file be removed: it is the parent's.
        if self._finalizer.detach() is not None:
            os.close(self._file)


_OPEN: WeakSet[ProcessLock] = WeakSet()


def _forget_all() -> None:
    for run in list(_OPEN):
        run.forget()
    _OPEN.clear()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_forget_all)


def is_alive(journal: str, name: str) -> bool:
    """Tell whether the process of a run is alive and still has the journal open."""
    try:
        file = os.open(_path(journal, name), os.O_RDWR)
    except FileNotFoundError:
        return False
    except PermissionError:
        # Another user's run: nobody here can tell, and only a dead one's intents are given up.
        return True
    try:
        return not _lock(file, shared=True)
    finally:
        os.close(file)


def remove_stale(journal: str) -> None:
    """Remove the files of runs that were killed."""
    place = Path(journal)
    for path in place.parent.glob(_path(escape(place.name), "[0-9a-f]" * (2 * _ID_BYTES))):
        try:
            file = os.open(path, os.O_RDWR)
        except (FileNotFoundError, PermissionError):
            continue
        if not _lock(file, shared=True):
            os.close(file)
        elif sys.platform == "win32":
            os.close(file)
            _remove(path)
        else:
            # While it is locked: a run that has just made the file would lose it otherwise.
            _remove(path)
            os.close(file)


def _let_go(file: int, path: Path) -> None:
    os.close(file)
    _remove(path)


def _path(journal: str, name: str) -> str:
    return f"{journal}-run-{name}"


def _is_there(path: Path, file: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file))
    except FileNotFoundError:
        return False


def _remove(path: Path) -> None:
    with suppress(FileNotFoundError, PermissionError):
        path.unlink()
