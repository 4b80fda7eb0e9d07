"""Files that are never half-written: a temporary name, a sync, then a rename."""

import os
import pathlib
import tempfile

PRIVATE = 0o600
"""The mode of a file that only who made it may read: it tells of single patients."""

_READABLE = 0o644


def write_atomically(path: pathlib.Path, content: bytes | str, mode: int = _READABLE) -> None:
    """Replaces `path` by `content`, whole or not at all, even if the machine stops in between.

    Args:
        path: in a folder that is there.
        content: text is written as UTF-8.
        mode: who may read it; nobody else may meanwhile.
    """
    data = content.encode() if isinstance(content, str) else content
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
