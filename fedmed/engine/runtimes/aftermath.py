"""A process that waits for its parent's end, however it comes, and ends what the parent's Ray has left behind.

Ray's daemons end with the program that started them, but for two agents, which go on for half a minute after a kill -9.
It is run by its path, without fedmed: python aftermath.py FOLDER, with a pipe that nobody else holds as its input.
"""

import contextlib
import os
import pathlib
import shutil
import signal
import sys
import time


def end_all(folder: str) -> None:
    """Ends this user's processes whose command line names the folder, and removes it."""
    _end(folder)
    time.sleep(0.2)  # What was just beginning had no command line yet.
    _end(folder)
    shutil.rmtree(folder, ignore_errors=True)


def _end(folder: str) -> None:
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            ours = process.stat().st_uid == os.getuid() and int(process.name) != os.getpid()
            if ours and folder.encode() in (process / "cmdline").read_bytes():
                os.kill(int(process.name), signal.SIGKILL)


if __name__ == "__main__":
    sys.stdin.buffer.read()
    end_all(sys.argv[1])
