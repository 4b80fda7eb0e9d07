"""What a runtime works with is started before TensorFlow is imported, and ended whatever happens."""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from fedmed.engine.runtimes.cluster import Cluster
from fedmed.engine.runtimes.worker import Worker
from fedmed.settings import config

if TYPE_CHECKING:
    from fedmed.engine.runtimes.crew import Crew


@contextlib.contextmanager
def working(settings: config.RunConfig, log: pathlib.Path | None) -> Iterator["Worker | Crew | None"]:
    """Starts TFF's worker, or a crew of lanes on a cluster; they get ready while TensorFlow is imported here.

    It yields None where the settings ask for neither.

    Args:
        settings: with `runtime.lanes` given.
        log: what TFF's worker says; None for nowhere.

    Raises:
        UserError: there is no cluster, or its hosts are not as they must be.
    """
    if settings.runtime.name == "tff":
        worker = Worker(settings.runtime.lanes, log)
        worker.start()
        try:
            yield worker
        finally:
            worker.stop()
    elif settings.runtime.name == "ray":
        with _lanes(settings.runtime) as crew:
            yield crew
    else:
        yield None


@contextlib.contextmanager
def _lanes(runtime: config.Runtime) -> Iterator["Crew"]:
    from fedmed.engine.runtimes.crew import Crew
    from fedmed.engine.runtimes.remote_lane import RemoteLane

    with contextlib.closing(Cluster(runtime)) as cluster:
        cluster.start(runtime.lanes)
        with contextlib.closing(Crew(cluster, RemoteLane, runtime.lanes)) as crew:
            for member in crew.members:
                member.warm.remote()
            yield crew


def sees_files(runtime: config.Runtime) -> bool:
    """Tells whether whoever trains sees this machine's files under the same paths."""
    return not runtime.address or runtime.shared
