"""What the server does with what lanes put out, the same graph wherever they ran, so that its bits are the same."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from fedmed.engine.runtimes.runtime import Reports
from fedmed.learning.calling import sums_as_written
from fedmed.learning.lane import LaneOutput
from fedmed.learning.program import FACTS_SPECS, Program, RoundFacts, specs_of
from fedmed.learning.values import Nest


class AddingUp:
    """Adds the lanes up in their order and lets the server take its step, in one graph a number of lanes."""

    def __init__(self, program: Program, lanes: int) -> None:
        self._program = program
        # By number of lanes: calling what is found costs less than finding it anew. The first is made before any round,
        # so that a server's step that cannot be is told before anything is written.
        self._updates: dict[int, Any] = {lanes: self._traced(lanes)}

    def __call__(self, state: Nest, outputs: Sequence[LaneOutput], facts: RoundFacts) -> tuple[Nest, list[Reports]]:
        """Returns the next state, as NumPy arrays, and each lane's reports.

        Args:
            state: the server's, tensors.
            outputs: one a lane, tensors.
            facts: of the round, tensors.
        """
        if len(outputs) not in self._updates:
            self._updates[len(outputs)] = self._traced(len(outputs))
        after = self._updates[len(outputs)](state, tuple(outputs), facts)
        told = tf.nest.map_structure(lambda t: t.numpy(), after)
        return told, [Reports(output.reports.numpy(), output.sent.numpy()) for output in outputs]

    def _traced(self, lanes: int) -> Any:
        program = self._program

        def update(state: Nest, outputs: tuple[LaneOutput, ...], facts: RoundFacts) -> Nest:
            return program.next_state(state, program.merged(outputs), facts)

        lane = specs_of(program.lane.structure)  # what lanes put out may have another length in the next round
        specs = (specs_of(program.state), (lane,) * lanes, FACTS_SPECS)
        return sums_as_written(tf.function(update, autograph=False).get_concrete_function(*specs))
