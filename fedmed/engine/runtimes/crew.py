"""Processes on a cluster that work tasks off, each replaced where it is lost: with its host, or killed by itself."""

import bisect
import collections
import contextlib
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from fedmed.engine.runtimes.cluster import Cluster
from fedmed.system import errors, folders, machine, quiet

Task = TypeVar("Task")

_REPLACED = 3
"""How many of a crew are replaced, in all: who loses more has too little memory, or a cluster that falls apart."""
_ANSWER_SECONDS = 60.0
_LEAVE_SECONDS = 2.0
_KILLED_SECONDS = 0.3  # until a process that was killed is gone, and with it its locks


class Member:
    """What every process of a crew does beside its work; it is made before TensorFlow is imported there.

    Attributes:
        prefix: of the folder that it may make, for what it fetches; "" for none.
    """

    prefix = ""

    def __init__(self, environment: dict[str, str], found: Sequence[str]) -> None:
        """Prepares the process.

        Args:
            environment: what libraries must find.
            found: where the driver finds modules; those that are missing here are added last.
        """
        import os

        os.environ.update(environment)
        sys.path.extend(path for path in found if path not in sys.path)
        quiet.silence()

    def packages(self) -> dict[str, str]:
        """Returns the versions that results depend on."""
        return machine.packages()

    def leave(self) -> None:
        """Removes what it has written."""


class Crew:
    """Members of one class, numbered from 0.

    Attributes:
        members: handles of Ray's.
        known: by member, whatever the caller has noted about it; empty again when it was replaced.
    """

    def __init__(self, cluster: Cluster, kind: type[Member], count: int, processors: int = 1) -> None:
        """Starts the members, and makes sure that they have the packages that results depend on.

        Raises:
            UserError: the cluster has too few processors, or a host lacks fedmed or has other versions.
        """
        import ray

        self._cluster, self._kind, self._processors, self._lost = cluster, kind, processors, 0
        self._busy = False
        if cluster.processors < count * processors:
            raise errors.UserError(
                f"runtime.lanes: the cluster has {cluster.processors} processors, expected at least "
                f"{count * processors}: one for each lane"
            )
        self.members: list[Any] = [self._made() for _ in range(count)]
        self.known: list[set[Any]] = [set() for _ in range(count)]
        self._check(ray)

    def _made(self, spare: bool = True) -> Any:
        import ray

        needed = self._processors if spare else 0
        options = {"num_cpus": needed, "scheduling_strategy": "SPREAD", "max_restarts": 0, "max_task_retries": 0}
        found = [path for path in sys.path if path] if self._cluster.is_ours else []
        environment = quiet.environment() | quiet.one_core_each(self._processors)
        return ray.remote(self._kind).options(**options).remote(environment, found)

    def _check(self, ray: Any) -> None:
        ours = machine.packages()
        try:
            told = ray.get([member.packages.remote() for member in self.members], timeout=_ANSWER_SECONDS)
        except ray.exceptions.GetTimeoutError:
            raise errors.UserError(
                f"runtime: the cluster has not started {len(self.members)} processes in {_ANSWER_SECONDS:.0f} s; is it "
                "busy with other work?"
            ) from None
        except ray.exceptions.RayError as error:
            lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
            raise errors.UserError(
                f"runtime: a host of the cluster cannot start fedmed: {lines[-1].strip()[:200]}; install the same "
                "fedmed there"
            ) from None
        for packages in told:
            for name in sorted({*ours, *packages}):
                if ours.get(name) != packages.get(name):
                    raise errors.UserError(
                        f"runtime: a host of the cluster has {name} {packages.get(name, 'not installed')}, expected "
                        f"{ours.get(name, 'none')} as here"
                    )

    def run(
        self, tasks: Sequence[Task], send: Callable[[int, Task], Any], done: Callable[[int, Task, Any], None]
    ) -> None:
        """Works the tasks off, in order as members become free; a lost member's task is given to its successor.

        Args:
            tasks: in order; the first goes to the first member, and so on.
            send: (member, task) -> Ray's reference to what comes of it.
            done: (member, task, what came of it), called as each is done.

        Raises:
            UserError: members were lost more than three times.
        """
        import ray

        waiting = collections.deque(tasks)
        idle = list(range(len(self.members)))
        running: dict[Any, tuple[int, Task]] = {}
        self._busy = True
        while waiting or running:
            while waiting and idle:
                member, task = idle.pop(0), waiting.popleft()
                running[send(member, task)] = (member, task)
            (ready, *_), _ = ray.wait(list(running), num_returns=1)
            member, task = running.pop(ready)
            try:
                found = ray.get(ready)
            except _lost_by(ray) as error:
                self._replace(member, error)
                waiting.appendleft(task)
                bisect.insort(idle, member)
                continue
            bisect.insort(idle, member)
            done(member, task, found)
        self._busy = False

    def _replace(self, number: int, error: Exception) -> None:
        import ray

        self._lost += 1
        if self._lost > _REPLACED:
            why = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise errors.UserError(
                f"runtime: processes of the cluster were lost {self._lost} times (out of memory, or their hosts went); "
                f"giving up: {why[:200]}"
            ) from None
        with contextlib.suppress(Exception):
            ray.kill(self.members[number], no_restart=True)
        # With a host may go the last free processor: rather two on one than none at all.
        spare = ray.available_resources().get("CPU", 0) >= self._processors
        self.members[number], self.known[number] = self._made(spare), set()

    def close(self) -> None:
        """Ends the members, and sees to it that what they have written is removed, on every host that answers soon."""
        import ray

        if not ray.is_initialized():
            return
        if not self._busy:  # else they would come to it after their work only
            with contextlib.suppress(Exception):
                ray.get([member.leave.remote() for member in self.members], timeout=_LEAVE_SECONDS)
        for member in self.members:
            with contextlib.suppress(Exception):
                ray.kill(member, no_restart=True)
        if (self._busy or self._lost) and self._kind.prefix and not self._cluster.is_ours:
            with contextlib.suppress(Exception):
                _sweep(ray, self._kind.prefix)


def _sweep(ray: Any, prefix: str) -> None:
    """Removes on every host what processes that were killed have left there."""
    sweep = ray.remote(_remove_abandoned).options(num_cpus=0, max_retries=0)
    strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    hosts = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
    sent = [sweep.options(scheduling_strategy=strategy(host, soft=False)).remote(prefix) for host in hosts]
    ray.wait(sent, num_returns=len(sent), timeout=_LEAVE_SECONDS)


def _remove_abandoned(prefix: str) -> None:
    time.sleep(_KILLED_SECONDS)
    folders.remove_abandoned(prefix)


def _lost_by(ray: Any) -> tuple[type[Exception], ...]:
    """Returns the errors by which Ray tells that a process, or what it has computed, is gone."""
    e = ray.exceptions
    return (
        e.RayActorError, e.WorkerCrashedError, e.NodeDiedError, e.ObjectLostError, e.OutOfMemoryError, e.RpcError,
    )  # fmt: skip
