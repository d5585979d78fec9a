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
        """Lock ``file`` until it is closed; return whether the lock was free."""
        # flock, not lockf: the lock belongs to this open file, so that other sessions of the same
        # process are treated like other processes.
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


class ProcessLock:
    """Marks a journal as open in one process, by a locked file. All methods block on the disk."""

    def __init__(self, journal: str) -> None:
        """Create a file with a new name, and lock it."""
        while True:
            self.name: str = token_hex(_ID_BYTES)
            self._path = Path(_path(journal, self.name))
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            # Between create and lock, another process may have removed the unlocked file.
            if _lock(self._file, shared=False) and _is_there(self._path, self._file):
                break
            os.close(self._file)
        # Also if the journal is collected without `close`, because it cannot write any more.
        self._finalizer = finalize(self, _release, self._file, self._path)
        _OPEN.add(self)

    def end(self) -> None:
        """Release the lock: other processes may mark the pending entries as unknown.

        Further calls, and calls in a fork, do nothing.
        """
        _OPEN.discard(self)
        self._finalizer()

    def detach_after_fork(self) -> None:
        """Close the file in a fork, which would keep the lock of the parent otherwise."""
        # The fork must not remove the file at its exit, because it is the parent's.
        if self._finalizer.detach() is not None:
            os.close(self._file)


_OPEN: WeakSet[ProcessLock] = WeakSet()


def _detach_all() -> None:
    for lock in list(_OPEN):
        lock.detach_after_fork()
    _OPEN.clear()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_detach_all)


def is_alive(journal: str, name: str) -> bool:
    """Tell whether the process of lock ``name`` is alive and has the journal open."""
    try:
        file = os.open(_path(journal, name), os.O_RDWR)
    except FileNotFoundError:
        return False
    except PermissionError:
        # The process of another user counts as alive, so its pending entries are kept.
        return True
    try:
        return not _lock(file, shared=True)
    finally:
        os.close(file)


def remove_stale(journal: str) -> None:
    """Remove the files of processes that were killed."""
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
            # Removed while locked, because its process may have created it just now.
            _remove(path)
            os.close(file)


def _release(file: int, path: Path) -> None:
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
