"""Whether an algorithm is for a model, and a deadline for anybody: known once the model is built, so tried before."""

import dataclasses

import numpy as np

from fedmed.engine.federation import Federation
from fedmed.settings import config
from fedmed.study.consortium import Consortium
from fedmed.study.guarantees import training_settings
from fedmed.study.plan import Job
from fedmed.study.results import UNFIT, Result
from fedmed.system import errors


def tried(job: Job, consortium: Consortium) -> Result:
    """Makes a job's federation and trains nothing; the result tells, under UNFIT, which setting is not for its model.

    Raises:
        ModelError: the model itself cannot be used.
        AlgorithmError: an algorithm of the user's own fails.
    """
    own = job.settings
    train = consortium.material("federated", own.seed, own.data.preprocessing, privacy=own.privacy).train
    settings = training_settings(job, list(train), len(consortium.hospitals))
    settings = dataclasses.replace(settings, runtime=config.Runtime("local", settings.runtime.lanes))
    why = ""
    try:
        Federation(settings, consortium.dataset, train).close()
    except errors.ConfigError as error:
        why = str(error)
    nothing = np.zeros(0)
    return Result([], nothing, nothing, nothing, {}, 0.0, 0, told={UNFIT: why} if why else {})
