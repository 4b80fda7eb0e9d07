"""What a study's data are and how it is made, in words for the page."""

from collections.abc import Sequence
from typing import cast, get_args

import numpy as np

from fedmed.settings import config
from fedmed.settings.study import Kind
from fedmed.study import plan, suppression
from fedmed.study.consortium import Consortium
from fedmed.study.plan import ArmPlan
from fedmed.study.schema import ArmDesign, Column, Data, DataFault, Design, Role
from fedmed.study.schema.tuned import TunedArm
from fedmed.study.tuning.arms import ABOUT, NOT_TUNED

_ROLES: tuple[Role, ...] = get_args(Role)

_ESTIMAND = (
    "The expected difference, on new patients of a hospital, between the models that two arms train on as many "
    "patients as here, over training seeds."
)
_VERDICT_RULE = (
    "Each hospital is asked whether the model does better in {metric}, is better calibrated, and is more useful, as "
    "far as the task has these. It is harmed when it is worse in any, and gains when it is better in one and worse in "
    "none; claims are adjusted for its questions by Holm's procedure and for the hospitals by Benjamini and "
    "Bogomolov's, at {alpha:g}. It is no worse when {metric} is shown to be less than {margin:g} worse (one-sided "
    "{side:g}, Holm over hospitals) and no question points the other way; else it is undecided. With fewer than "
    "{events} informative tested patients there is no figure and no verdict."
)
_NOTHING_TUNED = "Settings such as learning rate and rounds were not tuned for each arm; all arms have the config's."
_ONLY_COMPARED_TUNED = (
    "Settings such as learning rate and rounds were not tuned for the study's own arms, which all have the config's; "
    "learning rates were searched for the algorithms compared, under “Which algorithm”."
)
_REFERENCES_TUNED = (
    "The reference models were tuned by cross-validation and the arms were not, which favours the reference models."
)
_ONE_SEED = "One seed cannot show how much the answer depends on the split and on the training's randomness."
_INTERVALS_OF_ONE = f"Patients vary, with the models held fixed. {_ONE_SEED}"
_INTERVALS = (
    "Patients come or go in all seeds together, with the models held fixed; what seeds add beyond their test patients "
    "is added to the variance; quantiles are Student's (fedmed.statistics.difference_interval)."
)


def data(settings: config.RunConfig, consortium: Consortium) -> Data:
    """Returns what the study's data are."""
    dataset = consortium.dataset
    own = "Each hospital's own test rows, split anew at each seed; a patient's rows stay on one side."
    aside = " The data set's own test set is not used." if not consortium.own_test else ""
    untold = bool(suppression.few_held(consortium))  # the one hospital's would follow from all and the others'
    return Data(
        name=dataset.name,
        rows=None if untold else len(dataset.examples),
        patients=None if untold else len(np.unique(consortium.patient)),
        classes=dataset.classes,
        class_names=tuple(dataset.class_names),
        features=_columns(consortium),
        synthetic="risk_true" in dataset.truth,
        test=own + aside,
        preprocessing=settings.data.preprocessing if dataset.is_table else None,
        roles=_roles(settings),
        faults=tuple(DataFault(f.kind, f.column, f.sites, f.text, f.mend) for f in consortium.faults),
    )


def _columns(consortium: Consortium) -> tuple[Column, ...]:
    """Returns the columns of a table; what few patients hold is not named."""
    found = []
    for place, feature in enumerate(consortium.dataset.features):
        told = feature
        if feature.is_category:
            codes = np.asarray(consortium.dataset.examples.x)[:, place]
            told, _ = suppression.without_rare(consortium, feature, codes)
        found.append(Column(told.name, told.unit, told.levels))
    return tuple(found)


def _roles(settings: config.RunConfig) -> tuple[Role, ...] | None:
    """Returns which settings say what a user's own table's columns are; None for any other data set."""
    if settings.data.name != "table":
        return None
    return tuple(role for role in _ROLES if settings.data.args.get(role))


def design(
    settings: config.RunConfig,
    arms: Sequence[ArmPlan],
    pairs: Sequence[tuple[str, str]],
    consortium: Consortium,
    metric: str,
    margin: float,
    tuned: Sequence[TunedArm] = (),
) -> Design:
    """Returns how the study is made: its arms, and the sentences on its method; margin is of the primary metric."""
    study = settings.study
    return Design(
        arms=tuple(_arm(arm) for arm in arms),
        comparisons=tuple(f"{of}-{against}" for of, against in pairs),
        estimand=_ESTIMAND,
        splits=_splits(study.seeds),
        verdict_rule=_VERDICT_RULE.format(
            metric=metric,
            alpha=round(1 - study.level, 6),
            side=round((1 - study.level) / 2, 6),
            margin=margin,
            events=study.minimum_events,
        ),
        interval_method=_INTERVALS if study.seeds > 1 else _INTERVALS_OF_ONE,
        suppression=suppression.RULE,
        subgroups_asked=study.subgroups is not None,
        not_done=_not_done(settings, arms, consortium),
        tuning=ABOUT if settings.study.tune else "",
        tuned=tuple(tuned),
    )


def _arm(arm: ArmPlan) -> ArmDesign:
    kind = cast(Kind, arm.kind)  # reference arms are told of in a section of their own
    return ArmDesign(arm.name, kind, plan.label(arm), plan.about(arm), set=arm.changes)


def _splits(seeds: int) -> str:
    if seeds == 1:
        return f"One random split of the patients, the same for all arms. {_ONE_SEED}"
    return f"{seeds} random splits of the same patients, one a seed, the same for all arms."


def _not_done(settings: config.RunConfig, arms: Sequence[ArmPlan], consortium: Consortium) -> tuple[str, ...]:
    untuned = _ONLY_COMPARED_TUNED if settings.study.compare else _NOTHING_TUNED
    said = [
        NOT_TUNED if settings.study.tune else untuned,
        "No model was chosen by its test results: each is the one after the last round.",
        "Patients come from the same hospitals and time as those trained on; later patients were not tested.",
        "What training sets of one hospital have in common is not in the intervals; no method sees it from splits.",
    ]
    if settings.study.reference and consortium.dataset.is_table and not settings.study.tune:
        said.append(_REFERENCES_TUNED)
    if not any(arm.kind == "leave_one_out" for arm in arms):
        said.append("No model was tested at a hospital that took no part (leave_one_out).")
    if "risk_true" in consortium.dataset.truth:
        said.append("The patients are synthetic: what is found holds for hospitals such as these, not for yours.")
    if settings.stop.target is not None or settings.stop.patience is not None:
        said.append("The config's early stopping was left out, as it looks at test rows.")
    return tuple(said)
