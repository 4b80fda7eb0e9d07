"""A federation for those who write their own loop in TFF: its iterative process, its clients' work, its context."""

import contextlib
import dataclasses
import pathlib
from types import TracebackType
from typing import Any

from fedmed.engine import attendance, checks
from fedmed.engine.federation import Federation, Position
from fedmed.engine.programs import Programs
from fedmed.engine.runtimes.starting import working
from fedmed.learning.lane import Work
from fedmed.learning.program import RoundFacts, arrays
from fedmed.learning.values import Nest, Weights
from fedmed.settings import config


class IterativeFederation:
    """A `tff.templates.IterativeProcess` and all that its `next` needs; a context manager that ends with `close`.

    Attributes:
        process: `initialize()` gives the server's state; `next(state, facts, lanes)` the next one and each lane's
            reports. A lane is a TFF client that trains several of the federation's clients one after another.
        context: TFF's execution context, on a worker process of fedmed's own; it is the default one until `close`.
        clients: ids.
        label: the scale on which an amount is learned. Losses that clients report, and what a model with these weights
            returns, are on it; `label.in_units` takes predictions back.
    """

    def __init__(self, settings: config.RunConfig) -> None:
        """Loads the data, starts the worker and builds the process.

        Raises:
            UserError: a setting, the data or the model cannot be used.
        """
        runtime_settings = dataclasses.replace(settings.runtime, name="tff")
        settings = attendance.with_lanes(dataclasses.replace(settings, runtime=runtime_settings))
        clients = checks.check(settings)
        with contextlib.ExitStack() as stack:
            worker = stack.enter_context(working(settings, None))
            self._federation = Federation(settings, clients.dataset, clients.train, worker=worker, programs=Programs())
            stack.callback(self._federation.close)
            runtime: Any = self._federation.prepared.runtime
            stack.enter_context(runtime.installed())
            self.process, self.context = runtime.process, runtime.context
            self._open = stack.pop_all()
        self.clients, self.label = self._federation.clients, self._federation.label
        self._tried: dict[int, list[int]] = {}

    def work(self, round_: int) -> tuple[RoundFacts, list[Work]]:
        """Returns what `next` takes beside the state in a round, counted from 0: the facts, and a Work for each lane.

        The cohort is that of `fedmed run` with the same config. Nobody's work is [] where all of it drops out: such a
        round has no `next`.
        """
        federation, kept = self._federation, {}
        for number, rounds in self._tried.items():
            written = [r for r in rounds if r <= round_ and pathlib.Path(federation.kept_path(number, r)).is_file()]
            if written:
                kept[number] = max(written)
        asked = federation.cohort(round_)
        attending = federation.attending(round_, asked)
        _, lanes = federation.work(Position(round_, (), kept), attending)
        present = set(attending.there)
        for number, client in enumerate(federation.clients):
            if client in present:
                self._tried.setdefault(number, []).append(round_ + 1)
        return arrays(federation.facts(round_, attending.masks)), lanes

    def weights(self, state: Nest) -> Weights:
        """Returns the global model's weights, NumPy arrays."""
        return self._federation.weights(Position(0, state, {}))

    def __enter__(self) -> "IterativeFederation":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the worker, removes the clients' files and gives TFF its former context back; may be called twice."""
        self._open.close()
