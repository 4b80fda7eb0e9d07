"""Local training, which the algorithms share: with a promise to the patients where the settings make one."""

from fedmed.learning.algorithm import Training
from fedmed.learning.learner import Learner
from fedmed.learning.plain_training import plain_training
from fedmed.learning.private_training import private_training
from fedmed.learning.trained import LocalTraining


def local_training(training: Training, learner: Learner) -> LocalTraining:
    """Returns local training bound to a learner's variables."""
    if training.privacy.unit == "patient":
        return private_training(training, learner, training.clipping)
    return plain_training(training.client, learner)
