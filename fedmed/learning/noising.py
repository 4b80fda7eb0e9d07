"""The server's part of a promise to hospitals: noise on the sum of clipped updates, over a fixed denominator.

Source: McMahan et al. 2018, "Learning differentially private recurrent language models", Algorithm 1 with the estimator
f_f: the denominator is how many clients were expected, not how many came, so that one client more or less changes
nothing but its own clipped update.
"""

from fedmed.learning import gaussian
from fedmed.learning.values import Payload, Tensor, Weights


def noised_mean(total: Payload, sd: Tensor, expected: Tensor, seed: Tensor) -> Payload:
    """Returns the sum of updates, with noise added, over the expected number.

    Args:
        total: the sum of clipped updates; it has trainable weights alone.
        sd: [] float32 of the noise on each value of the sum: noise multiplier times clip.
        expected: [] float32.
        seed: [2] int32.
    """
    update = total.update
    return Payload(Weights(gaussian.noised(update.trainable, sd, expected, seed), []), ())
