"""Nothing empty reaches TensorFlow's kernels: with oneDNN, a max-pool's gradient of no rows aborts the process."""

from typing import Any

import numpy as np
import pytest
import tiny
import tiny_models
from tiny import assert_same

from fedmed.data.examples import Examples
from fedmed.engine.runtimes.worker import Worker
from fedmed.learning.learner import Learner
from fedmed.learning.objective import objective
from fedmed.learning.predictor import Predictor
from fedmed.learning.program import model_weights
from fedmed.models import Spec


def images(count: int) -> Examples:
    rng = np.random.default_rng(count)
    return Examples(rng.integers(0, 255, (count, 8, 8, 1)).astype(np.uint8), rng.integers(0, 2, count))


@pytest.mark.parametrize("local", [{"batch_size": 4}, {"steps": 3}], ids=str)
@pytest.mark.parametrize("runtime", ["local", "tff"])
def test_a_client_without_rows_trains_nothing_and_changes_nothing(
    runtime: str, local: dict[str, Any], worker: Worker
) -> None:
    changes = tiny.settings("tiny_models:pooled_image", client=local, runtime={"name": runtime, "lanes": 1})
    alone = tiny.one_round(changes, tiny.clients_of({"a": images(9)}), worker)
    both = tiny.one_round(changes, tiny.clients_of({"a": images(9), "b": images(0)}), worker)
    assert_same(both.after.trainable, alone.after.trainable)
    assert both.reports[1].tolist() == [0, 0, 0, 0, 1]


def test_no_rows_are_predicted_without_asking_the_model() -> None:
    model = tiny_models.pooled_image(Spec((8, 8, 1), "binary", 2))
    predict = Predictor(Learner(model, objective("binary", "mean")), batch_size=4, threads=1)
    assert predict(model_weights(model), images(0).x).shape == (0,)
