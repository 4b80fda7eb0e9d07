"""Shadow federations of a membership attack: the study's own training, on random halves of everybody's patients.

Each hospital's patients, training and test patients alike, are halved anew for each pair of models, and a model is
asked for the risk of every row of them. So of each model it is known who was in.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from fedmed.attacks import membership
from fedmed.attacks.membership import Shadows
from fedmed.data import clients
from fedmed.data.examples import Array, Task
from fedmed.settings import config
from fedmed.settings.privacy import NONE
from fedmed.study import privacy_price
from fedmed.study.consortium import Consortium, Material
from fedmed.study.plan import ArmPlan, Job, job_name
from fedmed.study.results import Result
from fedmed.system import seeds

NAME = "shadow"
OWN, OVERFITTED, NO_NOISE = "this study", "overfitted", "clipped, no noise"
_SURE = 1e-7  # a probability is kept this far from 0 and 1, so that its logit is finite


def arms(settings: config.RunConfig, is_table: bool) -> list[ArmPlan]:
    """Returns the trainings that are attacked: the study's, one that must leak, and those with promises."""
    found = [(OWN, settings), (OVERFITTED, overfitted(settings, is_table))]
    asked = sorted(settings.study.privacy.epsilons, reverse=True)
    if asked:
        found.append((NO_NOISE, privacy_price.without_noise(settings)))
    found += [(f"at epsilon {epsilon:g}", privacy_price.promised(settings, epsilon)) for epsilon in asked]
    return [ArmPlan(name, "federated", own, {}) for name, own in found]


def overfitted(settings: config.RunConfig, is_table: bool) -> config.RunConfig:
    """Returns a training that learns its rows by heart: many passes, no promise, and for a table a large network.

    No scenario and no deadline keeps a hospital from it, or the control would fail for that.
    """
    model = settings.model
    if is_table:
        model = dataclasses.replace(model, name="mlp", args={"hidden": [128, 128]})
    return dataclasses.replace(
        settings,
        model=model,
        rounds=min(settings.rounds, 20),
        algorithm=config.Algorithm(),
        client=config.Client(learning_rate=0.1, batch_size=16, epochs=20),
        server=config.Server(),
        aggregation=config.Aggregation(),
        cohort=config.Cohort(),
        scenario=(),
        clock=dataclasses.replace(settings.clock, deadline=None),
        privacy=NONE,
    )


def jobs(settings: config.RunConfig, asked: Sequence[ArmPlan], metric: str) -> list[Job]:
    """Returns a job for each training and half; only its last round is scored."""
    models = settings.study.leakage.models
    return [
        Job(
            job_name(NAME, arm.name, number, None),
            arm.name,
            arm.kind,
            dataclasses.replace(arm.settings, evaluation=config.Evaluation(every=arm.settings.rounds)),
            metric=metric,
            repeat=number + 1,  # of its own randomness and noise, or an attack would know them
            shadow=(number, models),
        )
        for arm in asked
        for number in range(models)
    ]


def inside(consortium: Consortium, models: int, seed: int) -> dict[str, Array]:
    """Returns for each hospital who is in which model, [models, rows held] bool."""
    places = {name: np.unique(consortium.patient[rows], return_inverse=True) for name, rows in consortium.held.items()}
    counts = {name: len(patients) for name, (patients, _) in places.items()}
    drawn = membership.halves(counts, models, seeds.generator(seed, "study.shadows"))
    return {name: drawn[name][:, place] for name, (_, place) in places.items()}


def material(consortium: Consortium, job: Job) -> Material:
    """Returns the half that a shadow model is trained on, and as test rows all that there are."""
    examples, own = consortium.dataset.examples, job.settings
    train = {name: examples.take(rows) for name, rows in _halves(consortium, job).items()}
    test = {name: examples.take(rows) for name, rows in consortium.held.items()}
    if not consortium.dataset.is_table:
        return Material(train, test)
    scaled = clients.fitted(own.data.preprocessing, own.privacy, job.training_seed, train, consortium.dataset.features)
    return Material(
        {name: scaled.apply(name, part) for name, part in train.items()},
        {name: scaled.apply(name, part) for name, part in test.items()},
        clients.as_preprocessed(scaled, train),
    )


def patients_trained(consortium: Consortium, job: Job) -> dict[str, int]:
    """Returns how many patients of each hospital are in a shadow model's half."""
    return {name: len(np.unique(consortium.patient[rows])) for name, rows in _halves(consortium, job).items()}


def _halves(consortium: Consortium, job: Job) -> dict[str, Array]:
    if job.shadow is None:
        raise ValueError(f"{job.name} is no shadow model")
    number, models = job.shadow
    drawn = inside(consortium, models, job.settings.seed)
    return {name: rows[drawn[name][number]] for name, rows in consortium.held.items()}


def shadows(consortium: Consortium, found: Sequence[Result], seed: int) -> Shadows:
    """Returns what is known of the models of one training, in their order."""
    drawn, held = inside(consortium, len(found), seed), consortium.held
    everyone = np.concatenate(list(held.values()))
    y = consortium.dataset.examples.y[everyone]
    told = np.stack([np.concatenate(result.predictions) for result in found])
    return Shadows(
        inside=np.concatenate(list(drawn.values()), axis=1),
        score=np.stack([confidence(consortium.dataset.task, y, p) for p in told]),
        hospital=np.repeat(list(held), [len(rows) for rows in held.values()]),
        patient=consortium.patient[everyone],
    )


def confidence(task: Task, y: Array, p: Array) -> Array:
    """Returns how much at home a model is with each row, [n]: the logit of the label's probability, or minus the loss.

    Args:
        task: what kind of label.
        y: [n] labels.
        p: [n] means, or [n, classes] probabilities.
    """
    p = p.astype(np.float64)
    if task == "binary":
        own = np.where(y == 1, p, 1 - p)
    elif task == "multiclass":
        own = p[np.arange(len(y)), y]
    else:
        return -np.square(y - p) if task == "regression" else y * np.log(np.maximum(p, _SURE)) - p
    own = np.clip(own, _SURE, 1 - _SURE)
    return np.log(own) - np.log1p(-own)


def by_arm(asked: Sequence[ArmPlan], trained: Sequence[Job], found: Mapping[str, Result]) -> dict[str, list[Result]]:
    """Returns each training's results, in the order of its models."""
    return {arm.name: [found[job.name] for job in trained if job.arm == arm.name] for arm in asked}
