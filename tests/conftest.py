"""What the tests share: silence, and one TFF worker for all of them."""

from collections.abc import Iterator

import pytest

from fedmed.engine.runtimes.worker import Worker
from fedmed.system import quiet

quiet.silence()


@pytest.fixture(scope="session")
def worker() -> Iterator[Worker]:
    """A running TFF worker; starting one takes seconds."""
    started = Worker(lanes=2)
    started.start()
    yield started
    started.stop()
