"""Training processes on a cluster, by Ray; a job whose process or host is lost is trained again elsewhere."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from fedmed.engine.runtimes import cluster
from fedmed.engine.runtimes.cluster import Cluster
from fedmed.engine.runtimes.crew import Crew
from fedmed.engine.runtimes.starting import sees_files
from fedmed.settings import config
from fedmed.study import parcels, pool, session
from fedmed.study.parcels import Parcel
from fedmed.study.remote_session import Delivery, RemoteSession
from fedmed.study.session import Assignment, Reply
from fedmed.study.validation import hospitals


class ClusterPool:
    """Trains assignments as `pool.Pool` does, by a crew of `RemoteSession`, wherever it is.

    Args:
        crew: its processes.
        sees_files: whether they see this machine's files under the same paths; else jobs' files are sent.
    """

    def __init__(self, crew: Crew, *, sees_files: bool) -> None:
        self._crew, self._sees_files = crew, sees_files
        self._consortia: dict[str, Any] = {}

    def run(self, tasks: Sequence[Assignment], done: Callable[[Assignment], None]) -> None:
        """Runs all tasks, in order as processes become free, and tells of each as it is done.

        Raises:
            UserError: a setting does not fit, or processes were lost too often.
            RuntimeError: a bug, with its traceback.
        """

        def send(member: int, task: Assignment) -> Any:
            process = self._crew.members[member]
            return process.train.remote(task) if self._sees_files else process.deliver.remote(self._parcel(task))

        def finish(member: int, task: Assignment, found: Reply | Delivery) -> None:
            del member
            session.check(found if isinstance(found, Reply) else found.reply, task)
            if isinstance(found, Delivery):
                parcels.unpack(task.path.parent, found.files)
            done(task)

        self._crew.run(tasks, send, finish)

    def _parcel(self, task: Assignment) -> Parcel:
        name = repr((task.hospitals, task.inner))
        if name not in self._consortia:  # held: who comes later needs it too
            self._consortia[name] = cluster.put(hospitals(task.hospitals, task.inner))
        return Parcel(task, parcels.saved(task), self._consortia[name], name)


@contextlib.contextmanager
def on_cluster(runtime: config.Runtime, jobs: int, lanes: int) -> Iterator[ClusterPool]:
    """Starts training processes, and ends them whatever happens.

    Args:
        runtime: the user's settings.
        jobs: how many there are about.
        lanes: that a job has at most.

    Raises:
        UserError: there is no cluster, or its hosts are not as they must be.
    """
    with contextlib.closing(Cluster(runtime)) as made:
        here = pool.size(jobs, lanes)
        made.start(here * lanes)
        count = here if made.is_ours else max(1, min(made.processors // lanes, jobs))
        with contextlib.closing(Crew(made, RemoteSession, count, lanes)) as crew:
            for member in crew.members:
                member.warm.remote()
            yield ClusterPool(crew, sees_files=sees_files(runtime))
