"""Training processes on a cluster, by Ray; a job whose process or host is lost is trained again elsewhere."""

import contextlib
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

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
    """A context like `pool.Pool`, whose processes are wherever the cluster has processors for them."""

    def __init__(self, runtime: config.Runtime, jobs: int, lanes: int) -> None:
        """Takes note of what is needed.

        Args:
            runtime: the user's settings.
            jobs: how many there are about.
            lanes: that a job has at most.
        """
        self._runtime, self._jobs, self._lanes = runtime, jobs, lanes
        self._consortia: dict[str, Any] = {}
        self._open = contextlib.ExitStack()

    def __enter__(self) -> "ClusterPool":
        with contextlib.ExitStack() as stack:
            cluster = stack.enter_context(contextlib.closing(Cluster(self._runtime)))
            most = pool.size(self._jobs, self._lanes)
            cluster.start(most * self._lanes)
            if not cluster.is_ours:
                most = max(1, min(cluster.processors // self._lanes, self._jobs))
            self._crew = stack.enter_context(contextlib.closing(Crew(cluster, RemoteSession, most, self._lanes)))
            for member in self._crew.members:
                member.warm.remote()
            self._open = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def run(self, tasks: Sequence[Assignment], done: Callable[[Assignment], None]) -> None:
        """Runs all tasks, in order as processes become free, and tells of each as it is done.

        Raises:
            UserError: a setting does not fit, or processes were lost too often.
            RuntimeError: a bug, with its traceback.
        """
        seen = sees_files(self._runtime)

        def send(member: int, task: Assignment) -> Any:
            process = self._crew.members[member]
            return process.train.remote(task) if seen else process.deliver.remote(self._parcel(task))

        def finish(member: int, task: Assignment, found: Reply | Delivery) -> None:
            del member
            session.check(found if isinstance(found, Reply) else found.reply, task)
            if isinstance(found, Delivery):
                parcels.unpack(task.path.parent, found.files)
            done(task)

        self._crew.run(tasks, send, finish)

    def _parcel(self, task: Assignment) -> Parcel:
        import ray

        name = repr((task.hospitals, task.inner))
        if name not in self._consortia:  # held: who comes later needs it too
            self._consortia[name] = ray.put(hospitals(task.hospitals, task.inner))
        return Parcel(task, parcels.saved(task), self._consortia[name], name)
