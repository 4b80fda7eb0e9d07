"""Files that are never half-written: a temporary name, a sync, then a rename."""

import contextlib
import errno
import os
import pathlib
import re
import tempfile
from collections.abc import Iterator

PRIVATE = 0o600
"""The mode of a file that only who made it may read: it tells of single patients."""

_READABLE = 0o644
_OF_DISKS = {os.strerror(number): number for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)}
_NAMED = re.compile(rf"([^\s;]+); ({'|'.join(map(re.escape, _OF_DISKS))})")


def write_atomically(path: pathlib.Path, content: bytes | str, mode: int = _READABLE) -> None:
    """Replaces `path` by `content`, whole or not at all, even if the machine stops in between.

    Args:
        path: in a folder that is there.
        content: text is written as UTF-8.
        mode: who may read it; nobody else may meanwhile.
    """
    data = content.encode() if isinstance(content, str) else content
    with named(path):
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, mode)
            os.replace(temporary, path)
        except BaseException:
            pathlib.Path(temporary).unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def named(path: pathlib.Path) -> Iterator[None]:
    """Makes an OSError inside the block name the file: of a full disk the system does not say which one it was."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise


def disk_failure(error: Exception) -> OSError | None:
    """Returns what TensorFlow tells of a full or failing disk as Python would tell it; None where it tells of none."""
    found = _NAMED.search(str(error))
    return OSError(_OF_DISKS[found[2]], found[2], found[1]) if found else None
