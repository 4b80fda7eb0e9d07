"""A simulated study's models: fedmed's own training, or regressions that stand for it and take no time."""

from collections.abc import Sequence

import numpy as np

from experiments.simulated.hospitals import WithFresh
from fedmed.data.examples import Array, joined
from fedmed.settings import config
from fedmed.study import plan
from fedmed.study.outcomes import Outcomes, gather
from fedmed.study.plan import ArmPlan, Job, Scenario
from fedmed.study.results import Result
from fedmed.system import seeds

MODELS = ("fedmed", "regression")
_SHARE = 0.8  # of the training rows that a regression sees: so it depends on its training seed


def trained(hospitals: WithFresh, settings: config.RunConfig, models: str) -> Outcomes:
    """Returns the outcomes of federated and local arms, each with an arm "again" of other training seeds.

    Args:
        hospitals: of the study.
        settings: of the study.
        models: one of MODELS.
    """
    arms = tuple(
        ArmPlan(f"{kind}{' again' if repeat else ''}", kind, settings, {}, repeat)
        for kind in ("federated", "local")
        for repeat in (0, 1)
    )
    jobs = plan.jobs(Scenario("", settings, arms, {}), hospitals.hospitals, "auroc")
    train = _by_fedmed if models == "fedmed" else _by_regression
    return gather(hospitals, plan.seeds_of(settings), arms, list(zip(jobs, train(hospitals, jobs), strict=True)))


def _by_fedmed(hospitals: WithFresh, jobs: Sequence[Job]) -> list[Result]:
    from fedmed.study.trainer import Trainer  # TensorFlow

    trainer = Trainer(hospitals)
    return [trainer.run(job) for job in jobs]


def _by_regression(hospitals: WithFresh, jobs: Sequence[Job]) -> list[Result]:
    return [_regression(hospitals, job) for job in jobs]


def _regression(hospitals: WithFresh, job: Job) -> Result:
    """Fits the rows in one place where a federation would train together: what is judged is how it is told."""
    from sklearn.linear_model import LogisticRegression

    kind = "pooled" if job.kind == "federated" else "local"
    material = hospitals.material(kind, job.settings.seed, job.settings.data.preprocessing, job.hospital)
    rows = joined(list(material.train.values()))
    seen = seeds.generator(job.training_seed, "experiments.regression").random(len(rows.y)) < _SHARE
    model = LogisticRegression(max_iter=300).fit(np.asarray(rows.x)[seen], rows.y[seen])
    wanted = (job.hospital or "",)  # where a model of one hospital is used: there, and on its fresh patients
    predictions: list[Array] = [
        model.predict_proba(part.x)[:, 1].astype(np.float32) if name.startswith(wanted) else np.zeros(0, np.float32)
        for name, part in material.test.items()
    ]
    return Result(predictions, np.zeros(0), np.zeros(0), np.zeros(0), {}, 0.0, 0)
