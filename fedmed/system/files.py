"""Files that are never half-written: a temporary name, a sync, then a rename."""

import os
import pathlib
import tempfile


def write_atomically(path: pathlib.Path, content: bytes | str) -> None:
    """Replaces `path` by `content`, whole or not at all, even if the machine stops in between."""
    data = content.encode() if isinstance(content, str) else content
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        pathlib.Path(temporary).unlink(missing_ok=True)
        raise
