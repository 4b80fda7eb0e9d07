"""A training process on a cluster; its files are the study's where it sees them, else they travel with each job."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fedmed.engine.runtimes import cluster
from fedmed.engine.runtimes.crew import Member
from fedmed.settings import plugins
from fedmed.study import parcels, session
from fedmed.study.consortium import Consortium
from fedmed.study.parcels import Parcel
from fedmed.study.session import Assignment, Reply, Session
from fedmed.system import errors
from fedmed.system.folders import PrivateFolder

PREFIX = "fedmed-jobs-"


class Delivery(NamedTuple):
    """What became of a parcel: the reply, and all files that the job has left, by path relative to its folder."""

    reply: Reply
    files: Mapping[str, bytes]


class RemoteSession(Member):
    """A `Session` in a process of a cluster."""

    prefix = PREFIX

    def __init__(self, environment: dict[str, str], found: Sequence[str]) -> None:
        super().__init__(environment, found)
        self._session = Session()
        self._folder: PrivateFolder | None = None
        self._held: tuple[str, Consortium] | None = None

    def warm(self) -> None:
        """Imports TensorFlow, which takes seconds, while the driver is busy."""
        from fedmed.study import trainer  # noqa: F401

    def train(self, task: Assignment) -> Reply:
        """Trains a job whose folder is seen here."""
        if not task.path.parent.is_dir():
            return Reply(error=f"runtime.shared: a host of the cluster does not see {task.path.parent}; leave it out")
        return session.answer(self._session, task)

    def deliver(self, parcel: Parcel) -> Delivery:
        """Trains a job whose folder is not seen here."""
        if self._folder is None:
            self._folder = PrivateFolder(PREFIX)
            self._session = Session(lambda settings, inner: self._consortium())
        if self._held is None or self._held[0] != parcel.hospitals:
            self._held = (parcel.hospitals, cluster.get(parcel.consortium))
        folder = self._folder.path
        parcels.clear(folder)  # of a job that went wrong
        parcels.unpack(folder, parcel.files)
        reply = self._answer(parcels.within(folder, parcel.task))
        return Delivery(reply, {} if reply.error or reply.bug else parcels.pack(folder))

    def _answer(self, task: Assignment) -> Reply:
        try:
            plugins.load(task.hospitals.plugins)  # which loading the data would have done
        except errors.ConfigError as error:
            return Reply(error=f"runtime.address: on a host of the cluster, {error}")
        return session.answer(self._session, task)

    def _consortium(self) -> Any:
        if self._held is None:
            raise RuntimeError("no hospitals were sent")
        return self._held[1]

    def leave(self) -> None:
        """Removes its files."""
        if self._folder is not None:
            self._folder.close()
