"""q-FedAvg for q-FFL (Li et al. 2020, "Fair resource allocation in federated learning", Algorithm 2).

q-FFL minimises the sum over clients of p_k F_k^(q + 1) / (q + 1): the larger q, the more a client's large loss weighs,
so that losses become more alike. In the paper's symbols: w the server's weights, w_k a client's after its local steps,
F_k its objective at w over all of its rows (see `full_batch`), L = 1 / eta the inverse of the round's learning rate:

    Delta w_k = L (w - w_k),   Delta_k = F_k^q Delta w_k,   h_k = q F_k^(q - 1) ||Delta w_k||^2 + L F_k^q,

and the next w is w - sum Delta_k / sum h_k, as in the authors' program. Here both are sent over L, the update with
FedAvg's sign: what leaves the quotient as it is. ||Delta w_k|| is over the trainable weights; moving statistics take
the plain mean.

The paper draws clients by p_k and sums them alike. Here clients are drawn alike, and the sums are weighted by shares,
which comes to the same p_k on average; uniform weights give the paper's sums. With q = 0 all h_k are L, and the next w
is the mean of w_k: FedAvg with the same weights. A server optimizer takes - sum Delta_k / sum h_k for the mean update.
"""

import functools

import tensorflow as tf

from fedmed.learning import servers
from fedmed.learning import weights as weight_ops
from fedmed.learning.algorithm import Algorithm, ClientOutput, ClientStep, Rows, Training
from fedmed.learning.full_batch import full_loss
from fedmed.learning.learner import Learner
from fedmed.learning.local_training import local_training
from fedmed.learning.servers import Server
from fedmed.learning.values import Counts, Nest, Payload, Turn, Weights

_LEAST = 1e-10  # of a loss, whose power q - 1 may be negative


def qffl(training: Training, q: float) -> Algorithm:
    """Makes the algorithm; a client sends - Delta_k / L and h_k / L.

    Args:
        training: the settings.
        q: >= 0.
    """
    return Algorithm(
        init=functools.partial(servers.initial, training.server),
        broadcast=lambda server: server.weights,
        client=functools.partial(_client, training, q),
        apply=functools.partial(_apply, training),
        weights=lambda server: server.weights,
        payload=lambda weights: Payload(weight_ops.zeros_like(weights), tf.constant(0.0)),
    )


def _client(training: Training, q: float, learner: Learner) -> ClientStep:
    train = local_training(training, learner)

    def update(w: Weights, kept: Nest, rows: Rows, turn: Turn) -> ClientOutput:
        loss = tf.maximum(full_loss(training.client, learner, w, rows, turn), _LEAST)  # F_k
        with tf.control_dependencies([loss]):
            trained = train(w, rows, turn)
        change, weight = weight_ops.subtract(trained.weights, w), tf.pow(loss, q)
        gap = tf.square(weight_ops.norm(change.trainable)) / turn.learning_rate  # ||Delta w_k||^2 / L
        h = q * tf.pow(loss, q - 1) * gap + weight
        delta = Weights([weight * u for u in change.trainable], change.moving)
        return ClientOutput(Payload(delta, h), trained.sums, kept)

    return update


def _apply(training: Training, server: Server, mean: Payload, counts: Counts) -> Server:
    del counts
    # Where all losses are so small that their powers vanish there is nothing to divide by, and no step.
    along = [tf.math.divide_no_nan(delta, mean.extra) for delta in mean.update.trainable]
    return servers.moved(training.server, server, Weights(along, mean.update.moving))
