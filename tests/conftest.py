"""What the tests share: silence, and one TFF worker for all of them."""

from collections.abc import Iterator

import pytest

from fedmed import quiet
from fedmed.federated.worker import Worker

quiet.silence()


@pytest.fixture(scope="session")
def worker() -> Iterator[Worker]:
    """A running TFF worker; starting one takes seconds."""
    started = Worker(lanes=2)
    started.start()
    yield started
    started.stop()
