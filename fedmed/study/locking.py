"""The directory of results that a command goes on with: whose it is, and that one process at a time writes in it."""

import contextlib
import fcntl
import pathlib
from collections.abc import Iterator

from fedmed.system import errors


@contextlib.contextmanager
def locked(out: pathlib.Path, what: str) -> Iterator[None]:
    """Makes the directory of a "study", or of a "tuning", and keeps a second one out of it.

    Raises:
        UserError: it cannot be made, holds something else, or another process is writing in it.
    """
    try:
        if out.exists() and not out.is_dir():
            raise errors.UserError(f"{out}: is not a directory; choose another {errors.OUT}")
        if out.is_dir() and any(out.iterdir()) and not (out / "jobs").is_dir():
            raise errors.UserError(f"{out}: is not empty and holds no {what}; choose another {errors.OUT}")
        (out / "jobs").mkdir(parents=True, exist_ok=True)
        opened = (out / ".lock").open("w")
    except OSError as error:
        raise errors.UserError(f"{out}: cannot be written: {error.strerror}; choose another {errors.OUT}") from None
    with opened as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise errors.UserError(f"{out}: another {what} is writing here; choose another {errors.OUT}") from None
        yield
