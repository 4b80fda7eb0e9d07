"""APFL (Deng et al. 2020, "Adaptive personalized federated learning", Algorithm 1): a mix of two models, step by step.

In the paper's symbols: w is trained as in FedAvg, from the global weights; v_i is client i's own model, which it keeps.
It is tested with the mix v_bar_i = alpha_i v_i + (1 - alpha_i) w, and each step, on the same batch xi,

    w_i     <- w_i - eta grad f_i(w_i; xi)
    v_i     <- v_i - eta grad_v f_i(v_bar_i; xi)
    alpha_i <- alpha_i - eta <v_i - w_i, grad f_i(v_bar_i; xi)>        where alpha is adaptive (eq. 10), within [0, 1]

all from the values before the step; grad_v f_i(v_bar_i) is alpha_i grad f_i(v_bar_i), by the chain rule. Moving
statistics are not mixed: those of v_bar_i are kept with v_i. (The authors' program, FedTorch, learns alpha_i at a
round's first batch alone, and pulls it towards zero; eq. 10 has neither.)
"""

import functools
from typing import NamedTuple

import tensorflow as tf

from fedmed.learning import batches, fedavg, optimizers
from fedmed.learning import weights as weight_ops
from fedmed.learning.algorithm import METRICS, Algorithm, ClientOutput, ClientStep, Rows, Training
from fedmed.learning.learner import Learner
from fedmed.learning.servers import Server
from fedmed.learning.values import Payload, Tensor, Turn, Weights


class Own(NamedTuple):
    """What a client keeps: v_i, with v_bar_i's moving statistics, and alpha_i [] float32."""

    v: Weights
    alpha: Tensor


def apfl(training: Training, alpha: float, adaptive: bool) -> Algorithm:
    """Makes the algorithm: FedAvg with a second model at each client, and a mix of both.

    Args:
        training: of the clients.
        alpha: the share of a client's own model in its mix, at the start; 0 is the global model, 1 the own alone.
        adaptive: whether each client learns its alpha.
    """
    return fedavg.fedavg(training)._replace(
        client=functools.partial(_client, training, adaptive),
        kept=lambda weights: Own(weights, tf.constant(alpha)),
        personal=_personal,
        trainings=lambda own: (own, own),
    )


def _personal(server: Server, own: Own) -> Weights:
    return Weights(_mixed(own.alpha, own.v.trainable, server.weights.trainable), own.v.moving)


def _mixed(alpha: Tensor, v: list[Tensor], w: list[Tensor]) -> list[Tensor]:
    """Returns v_bar."""
    return [alpha * a + (1 - alpha) * b for a, b in zip(v, w, strict=True)]


class _Model:
    """One of a client's two models: its variables, with the optimizer of its own."""

    def __init__(self, training: Training, learner: Learner) -> None:
        self.trainable = [
            tf.Variable(tf.zeros(v.shape), trainable=False, constraint=v.constraint) for v in learner.trainable
        ]
        self.moving = [tf.Variable(tf.zeros(v.shape), trainable=False) for v in learner.moving]
        self._optimizer = optimizers.optimizer(training.client, self.trainable)

    def begin(self, weights: Weights) -> None:
        """Starts from these weights, with an optimizer that starts anew."""
        for variable, value in zip([*self.trainable, *self.moving], weight_ops.tensors(weights), strict=True):
            variable.assign(value, read_value=False)
        self._optimizer.reset()

    def step(self, gradients: list[Tensor], moving: list[Tensor], turn: Turn, number: Tensor) -> None:
        """Steps along gradients, and takes moving statistics over."""
        self._optimizer.apply(gradients, turn.learning_rate, number)
        for variable, value in zip(self.moving, moving, strict=True):
            variable.assign(value, read_value=False)

    def weights(self) -> Weights:
        """Returns the values."""
        return Weights([v.read_value() for v in self.trainable], [v.read_value() for v in self.moving])


def _client(training: Training, adaptive: bool, learner: Learner) -> ClientStep:
    w, v = _Model(training, learner), _Model(training, learner)
    share = tf.Variable(tf.zeros([]), trainable=False)  # alpha_i

    def gradients_at(
        weights: Weights, rows: Rows, picked: Tensor, seed: Tensor
    ) -> tuple[list[Tensor], Tensor, Weights]:
        """Returns a batch's gradients at these weights, its sums, and the weights with their moving statistics."""
        learner.assign(weights)
        x = tf.nest.map_structure(lambda t: tf.gather(t, picked), rows.x)
        gradients, sums = learner.gradients(x, tf.gather(rows.y, picked), seed)
        with tf.control_dependencies([*gradients, sums]):
            return gradients, sums, learner.weights()

    def step(rows: Rows, turn: Turn, picked: Tensor, number: Tensor) -> Tensor:
        seed, alpha = tf.random.experimental.stateless_fold_in(turn.seed, number), share.read_value()
        w_i, v_i = w.weights(), v.weights()
        v_bar = Weights(_mixed(alpha, v_i.trainable, w_i.trainable), v_i.moving)
        along_w, sums, after_w = gradients_at(w_i, rows, picked, seed)
        along_mix, _, after_mix = gradients_at(v_bar, rows, picked, seed)
        w.step(along_w, after_w.moving, turn, number)
        v.step([alpha * g for g in along_mix], after_mix.moving, turn, number)
        if adaptive:
            apart = zip(v_i.trainable, w_i.trainable, along_mix, strict=True)
            slope = tf.add_n([tf.reduce_sum((a - b) * g) for a, b, g in apart])
            share.assign(tf.clip_by_value(alpha - turn.learning_rate * slope, 0.0, 1.0), read_value=False)
        return tf.concat([[tf.cast(tf.size(picked), tf.float32)], sums], axis=0)

    def update(received: Weights, own: Own, rows: Rows, turn: Turn) -> ClientOutput:
        w.begin(received)
        v.begin(own.v)
        share.assign(own.alpha, read_value=False)
        plan = batches.Plan.of(training.client, tf.shape(rows.y)[0], turn.work)
        sums = batches.for_each_batch(plan, turn.seed, functools.partial(step, rows, turn), tf.zeros([len(METRICS)]))
        with tf.control_dependencies([sums]):
            change, kept = weight_ops.subtract(w.weights(), received), Own(v.weights(), share.read_value())
        return ClientOutput(Payload(change), dict(zip(METRICS, tf.unstack(sums), strict=True)), kept)

    return update
