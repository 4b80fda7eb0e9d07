"""Private temporary folders that are gone with their owner, or with the next one's start if it was killed.

A folder is locked as long as its owner lives: a process id would say nothing to a process of another container that
shares the temporary folder.
"""

import atexit
import contextlib
import fcntl
import os
import pathlib
import shutil
import tempfile

from fedmed.system import errors

_LOCKS: set[int] = set()
"""Open folders that this process has locked; programs that it starts do not get them (close-on-exec)."""


class PrivateFolder:
    """A temporary folder for its owner's eyes only; removed on close, at exit, or by the next one after a crash.

    Attributes:
        path: of the folder.
    """

    def __init__(self, prefix: str, within: str | None = None) -> None:
        """Makes and locks it, once those of the same prefix that nobody has locked are removed.

        Args:
            prefix: of its name, such as "fedmed-clients-".
            within: the folder that it is made in; None for the temporary folder.

        Raises:
            UserError: $TMPDIR is no folder that can be written to.
        """
        if within is None:
            _check_temporary()
        remove_abandoned(prefix, within)
        self.path, self._lock = _locked(prefix, within)
        self._owner = os.getpid()
        atexit.register(self.close)

    def close(self) -> None:
        """Removes the folder; may be called twice, and does nothing in a forked child, whose folder it is not."""
        atexit.unregister(self.close)
        if os.getpid() == self._owner and self._lock in _LOCKS:
            shutil.rmtree(self.path, ignore_errors=True)
            _LOCKS.remove(self._lock)
            os.close(self._lock)


def _check_temporary() -> None:
    """Raises a UserError where Python would take another folder than the one that was asked for."""
    asked = os.environ.get("TMPDIR")
    if asked and not os.access(asked, os.W_OK | os.X_OK):
        raise errors.UserError(
            f"TMPDIR: {asked!r} is no folder that can be written to, and clients' rows would go to "
            f"{tempfile.gettempdir()!r}; make it, or set TMPDIR to another"
        )


def _close_locks() -> None:
    while _LOCKS:
        os.close(_LOCKS.pop())


os.register_at_fork(after_in_child=_close_locks)  # or a child that outlives its parent would keep the lock


def _locked(prefix: str, within: str | None) -> tuple[pathlib.Path, int]:
    """Makes a folder and locks it; it gets its name only then, since one without a lock is taken for abandoned."""
    made = pathlib.Path(tempfile.mkdtemp(prefix=f".{prefix}", dir=within))
    lock = os.open(made, os.O_RDONLY | os.O_DIRECTORY)
    with contextlib.suppress(OSError):  # a file system that has no locks has none for whoever would remove it either
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    _LOCKS.add(lock)
    return made.rename(made.with_name(made.name.removeprefix("."))), lock


def remove_abandoned(prefix: str, within: str | None = None) -> None:
    """Removes folders that nobody has locked: their process was killed before it could clean up."""
    for folder in pathlib.Path(within or tempfile.gettempdir()).glob(f"{prefix}*"):
        with contextlib.suppress(OSError):
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(lock).st_uid == os.getuid():
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
