"""A loop of one's own in plain TFF gives the weights of `fedmed run`, also where clients keep something or drop out."""

import pathlib
from typing import Any

import numpy as np
import pytest
import tensorflow_federated as tff
import tiny

import fedmed
from fedmed.runs import experiment


@pytest.mark.parametrize(
    "changes",
    [{}, {"algorithm": {"name": "scaffold"}, "cohort": {"size": 3}, "scenario": [{"name": "absent", "chance": 0.3}]}],
    ids=["fedavg", "scaffold"],
)
def test_three_rounds_in_plain_tff_are_those_of_a_run(changes: dict[str, Any], tmp_path: pathlib.Path) -> None:
    path = tiny.save_sites(tmp_path / "own.npz")
    settings = tiny.settings("tiny_models:dropout", data={"args": {"path": path}}, rounds=3, **changes)
    with fedmed.iterative_process(settings) as federation:
        assert isinstance(federation.process, tff.templates.IterativeProcess)
        state = federation.process.initialize()
        for number in range(3):
            facts, lanes = federation.work(number)
            state, reports = federation.process.next(state, facts, lanes)
            assert sum(len(np.asarray(sums)) for sums, _ in reports) == sum(len(lane.rows) for lane in lanes)
        weights = federation.weights(state)
    experiment.run(settings, tmp_path / "run")
    with np.load(tmp_path / "run" / "weights.npz") as saved:
        tiny.assert_close([*weights.trainable, *weights.moving], list(saved.values()))
