"""What a hospital could do without federated training: models of scikit-learn, tuned inside the training rows.

Boosted trees and a penalised regression, each of one hospital's rows or of everybody's in one place. Their settings
are chosen by cross-validation by patient: by the least mean loss of rows that were left out. No test row is looked at.
"""

import time
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np

from fedmed.data.examples import Array, Feature, Task
from fedmed.settings import sources
from fedmed.settings.study import REFERENCES
from fedmed.statistics import folds, metrics
from fedmed.study.consortium import Consortium
from fedmed.study.plan import Job
from fedmed.study.results import Result
from fedmed.system import seeds

Predict: TypeAlias = Callable[[Array], Array]

FOLDS = 5
MINIMUM_PATIENTS = 10
"""With fewer patients, or fewer than two of each of two classes, there is nothing to tune on."""

_MOST_LEVELS = 254  # of a category, as scikit-learn's trees take it; one of more is looked at as a number
_ITERATIONS = tuple(range(5, 101, 5))
_TREES = tuple((rate, leaves) for rate in (0.05, 0.15) for leaves in (4, 12))
_PENALTIES: Mapping[Task, Array] = {
    "binary": np.logspace(-2, 3, 10),
    "multiclass": np.logspace(-2, 3, 10),
    "regression": np.logspace(-1, 4, 10),
    "count": np.logspace(-5, 1, 10),
}


class Model(Protocol):
    """A family of models and the settings to choose from."""

    @property
    def settings(self) -> Sequence[Any]:
        """What there is to choose from."""
        ...

    def fitted(self, setting: Any, x: Array, y: Array) -> Predict:
        """Returns what predicts as `metrics.evaluate` takes it, fitted with one of the settings."""
        ...

    def tried(self, x: Array, y: Array, to: Array) -> Iterator[Array]:
        """Yields predictions for `to` by models of x and y, one for each setting in order."""
        ...


class Boosting:
    """Histogram-based gradient boosting of table columns as they are; a setting is (rate, leaves, iterations).

    Args:
        task: what is predicted.
        classes: how many.
        features: one a column; which are categories.
        seed: of what little chance there is in it: the rows that bins are made of, in very large tables.
    """

    settings = tuple((*trees, iterations) for trees in _TREES for iterations in _ITERATIONS)

    def __init__(self, task: Task, classes: int, features: Sequence[Feature], seed: int) -> None:
        self._task: Task = task
        self._classes, self._seed = classes, seed
        self._categories = [place for place, f in enumerate(features) if 0 < len(f.levels) <= _MOST_LEVELS]

    def estimator(self, setting: tuple[float, int, int], rows: int) -> Any:
        """Returns scikit-learn's estimator for so many training rows."""
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

        rate, leaves, iterations = setting
        given: dict[str, Any] = {
            "learning_rate": rate, "max_leaf_nodes": leaves, "max_iter": iterations, "early_stopping": False,
            "min_samples_leaf": min(20, max(5, rows // 10)), "l2_regularization": 1.0,
            "categorical_features": self._categories or None, "random_state": self._seed,
        }  # fmt: skip
        if self._task in ("binary", "multiclass"):
            return HistGradientBoostingClassifier(**given)
        return HistGradientBoostingRegressor(loss="poisson" if self._task == "count" else "squared_error", **given)

    def fitted(self, setting: Any, x: Array, y: Array) -> Predict:
        """Returns what predicts, fitted with one of the settings."""
        return _predictor(self.estimator(setting, len(y)).fit(x, y), self._task, self._classes)

    def tried(self, x: Array, y: Array, to: Array) -> Iterator[Array]:
        """Yields predictions by each setting; those of fewer iterations are stages on the way to more."""
        for trees in _TREES:
            model = self.estimator((*trees, _ITERATIONS[-1]), len(y)).fit(x, y)
            by_class = self._task in ("binary", "multiclass")
            stages = model.staged_predict_proba(to) if by_class else model.staged_predict(to)
            for number, raw in enumerate(stages, 1):
                if number in _ITERATIONS:
                    yield _as_scored(raw, model, self._task, self._classes)


class Regression:
    """A logistic, linear or Poisson regression with a squared (L2) penalty; a setting is the penalty's weight.

    Args:
        task: what is predicted.
        classes: how many.
    """

    def __init__(self, task: Task, classes: int) -> None:
        self._task: Task = task
        self._classes = classes
        self.settings = tuple(float(penalty) for penalty in _PENALTIES[task])

    def estimator(self, penalty: float) -> Any:
        """Returns scikit-learn's estimator."""
        from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge

        if self._task == "regression":
            return Ridge(alpha=penalty)
        if self._task == "count":
            return PoissonRegressor(alpha=penalty, max_iter=1000)
        return LogisticRegression(C=1 / penalty, max_iter=1000)

    def fitted(self, setting: Any, x: Array, y: Array) -> Predict:
        """Returns what predicts, fitted with one of the settings."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it has not converged; cross-validation sees what that does
            return _predictor(self.estimator(setting).fit(x, y), self._task, self._classes)

    def tried(self, x: Array, y: Array, to: Array) -> Iterator[Array]:
        """Yields predictions by each setting."""
        for penalty in self.settings:
            yield self.fitted(penalty, x, y)(to)


class Rows(NamedTuple):
    """Training rows as a model takes them.

    Attributes:
        x: [n, d].
        y: [n] labels.
        patient: [n] identifiers.
        hospital: [n] number of the hospital that each is from.
    """

    x: Array
    y: Array
    patient: Array
    hospital: Array


class Tuned(NamedTuple):
    """What cross-validation chose.

    Attributes:
        setting: the best of the model's.
        losses: [n] of each training row by models that were not trained on it; NaN for a row that was not looked at.
    """

    setting: Any
    losses: Array


def tuned(model: Model, task: Task, rows: Rows, rng: np.random.Generator) -> Tuned | None:
    """Returns the setting of the least mean loss in cross-validation by patient; None where there is too little.

    A class that one patient alone has is left out, as no model of the other folds can know it.
    """
    kept = np.ones(len(rows.y), bool)
    patients = len(np.unique(rows.patient))
    rarest = patients
    if task in ("binary", "multiclass"):
        each = {label: len(np.unique(rows.patient[rows.y == label])) for label in np.unique(rows.y)}
        known = {label: count for label, count in each.items() if count > 1}
        kept, rarest = np.isin(rows.y, list(known)), min(known.values()) if len(known) > 1 else 0
    if rarest < 2 or patients < MINIMUM_PATIENTS or (task == "count" and not rows.y.any()):
        return None
    x, y, losses = rows.x[kept], rows.y[kept], np.full((len(model.settings), len(kept)), np.nan)
    fold = folds.by_patient(y, rows.patient[kept], min(FOLDS, rarest), rng)
    for number in range(fold.max() + 1):
        out = fold == number
        if not _can_learn(task, y[~out]):
            return None
        for place, p in enumerate(model.tried(x[~out], y[~out], x[out])):
            losses[place, np.flatnonzero(kept)[out]] = metrics.row_scores(task, "loss", y[out], p)
    best = int(np.nanmean(losses, axis=1).argmin())
    return Tuned(model.settings[best], losses[best])


def _can_learn(task: Task, y: Array) -> bool:
    return len(np.unique(y)) > 1 if task in ("binary", "multiclass") else task != "count" or bool(y.any())


def constant(task: Task, classes: int, y: Array) -> Predict:
    """Returns what predicts the training rows' mean for everybody; of classes their shares, with one row added each."""
    if task in ("binary", "multiclass"):
        shares = (np.bincount(y, minlength=classes) + 1) / (len(y) + classes)
        return lambda x: np.full(len(x), shares[1]) if task == "binary" else np.tile(shares, (len(x), 1))
    return lambda x: np.full(len(x), float(np.mean(y)))


def trained(job: Job, consortium: Consortium) -> Result:
    """Trains and tests a reference arm's model: tuned by cross-validation, then fitted on all of its training rows."""
    import threadpoolctl

    began = time.monotonic()
    task, classes = consortium.dataset.task, consortium.dataset.classes
    rows, tests = material(job, consortium)
    if job.kind.startswith("boosting"):
        model: Model = Boosting(task, classes, consortium.dataset.features, job.training_seed)
    else:
        model = Regression(task, classes)
    rng = seeds.generator(job.settings.seed, "study.reference", zlib.crc32((job.hospital or "").encode()))
    with threadpoolctl.threadpool_limits(1):  # jobs run side by side, and these are too small for threads
        chosen = tuned(model, task, rows, rng)
        predict = constant(task, classes, rows.y) if chosen is None else model.fitted(chosen.setting, rows.x, rows.y)
        found = [predict(x) if len(x) else _nothing(task, classes) for x in tests]
    places = range(len(consortium.hospitals))
    inner = [float("nan") if chosen is None else _mean(chosen.losses[rows.hospital == place]) for place in places]
    return Result(
        predictions=found,
        rounds=np.zeros(0, np.int64),
        curve=np.zeros((0, len(consortium.hospitals) + 1), np.float32),
        sent=np.zeros((0, 2), np.int64),
        refused={},
        seconds=time.monotonic() - began,
        weight_bytes=0,
        inner=tuple(inner),
    )


def material(job: Job, consortium: Consortium) -> tuple[Rows, list[Array]]:
    """Returns the training rows, and each hospital's test rows: columns as they are for trees, else standardised.

    A regression is given what a network is given (see `Consortium.material`), but never unscaled numbers, which a
    penalty would treat unlike.
    """
    seed, dataset = job.settings.seed, consortium.dataset
    names = consortium.hospitals if job.hospital is None else (job.hospital,)
    split = consortium.rows(seed)
    train = np.concatenate([split[name].train for name in names])
    hospital = np.repeat([consortium.hospitals.index(name) for name in names], [len(split[n].train) for n in names])
    if job.kind.startswith("boosting"):
        whole = np.asarray(dataset.examples.x)
        x, tests = whole[train], [whole[split[name].test] for name in consortium.hospitals]
    else:
        mode = job.settings.data.preprocessing
        kind = "pooled" if job.hospital is None else "local"
        made = consortium.material(kind, seed, "federated" if mode == "none" else mode, job.hospital)
        x = np.concatenate([np.asarray(part.x) for part in made.train.values()])
        tests = [np.asarray(made.test[name].x) for name in consortium.hospitals]
    return Rows(x, dataset.examples.y[train], consortium.patient[train], hospital), tests


def code_of(job: Job) -> dict[str, str]:
    """Returns the checksum of the code here for a reference arm's job, which those of fedmed's own do not hold."""
    return {__name__: sources.digests([__name__])[__name__]} if job.kind in REFERENCES else {}


def _predictor(model: Any, task: Task, classes: int) -> Predict:
    by_class = task in ("binary", "multiclass")
    return lambda x: _as_scored(model.predict_proba(x) if by_class else model.predict(x), model, task, classes)


def _as_scored(raw: Array, model: Any, task: Task, classes: int) -> Array:
    """Returns predictions as metrics take them: of classes that no training row has, probabilities of 0."""
    if task not in ("binary", "multiclass"):
        return np.asarray(raw, np.float64)
    p = np.zeros((len(raw), classes))
    p[:, model.classes_] = raw
    return p[:, 1] if task == "binary" else p


def _nothing(task: Task, classes: int) -> Array:
    return np.zeros((0, classes)) if task == "multiclass" else np.zeros(0)


def _mean(losses: Array) -> float:
    known = losses[~np.isnan(losses)]
    return float(known.mean()) if len(known) else float("nan")
