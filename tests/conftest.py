"""What the tests share: silence, and one TFF worker for all of them."""

import fcntl
import os
import pathlib
from collections.abc import Callable, Iterator

import pytest

from fedmed.engine.runtimes.worker import Worker
from fedmed.system import quiet

quiet.silence()

Once = Callable[[str, Callable[[pathlib.Path], None]], pathlib.Path]


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """Makes a folder, (name, function that fills it) -> the folder, once for all processes that the tests run in."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def made(name: str, fill: Callable[[pathlib.Path], None]) -> pathlib.Path:
        folder, done = shared / name, shared / f"{name}.done"
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                folder.mkdir(exist_ok=True)
                fill(folder)
                done.touch()
        return folder

    return made


@pytest.fixture(scope="session")
def worker() -> Iterator[Worker]:
    """A running TFF worker; starting one takes seconds."""
    started = Worker(lanes=2)
    started.start()
    yield started
    started.stop()
