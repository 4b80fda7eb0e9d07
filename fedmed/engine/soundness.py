"""Combinations of settings in which a promise would not hold, refused before anything is trained."""

from fedmed.data.examples import Task
from fedmed.settings.config import RunConfig
from fedmed.system import errors

_TRAINED_PRIVATELY = ("fedavg", "fedprox", "scaffold", "fednova", "feddyn", "fedavg_moments")
"""Whose clients touch rows through `learning.local_training` alone, so that all they send is made of noisy steps."""

_SENDS_AN_UPDATE_ALONE = ("fedavg", "fedprox")


def check(settings: RunConfig, task: Task, is_table: bool) -> None:
    """Raises a ConfigError, in one line with what to do, for what `[privacy]` cannot be combined with."""
    privacy = settings.privacy
    if not privacy.is_on:
        return
    check_training(settings)
    if settings.stop.target is not None or settings.stop.patience is not None:
        asked = "target" if settings.stop.target is not None else "patience"
        raise errors.ConfigError(
            f"stop.{asked}: looks at test patients after each round, which privacy.unit does not cover; leave it out"
        )
    if is_table and settings.data.preprocessing != "federated":
        raise errors.ConfigError(
            f"data.preprocessing: {settings.data.preprocessing!r} looks at patients without noise, which privacy.unit "
            "does not cover; give 'federated', which then scales by privacy.bounds"
        )
    if task == "regression" and settings.data.standardise_label:
        raise errors.ConfigError(
            "data.standardise_label: takes mean and SD of patients' labels without noise, which privacy.unit does not "
            "cover; give false"
        )


def check_training(settings: RunConfig) -> None:
    """Raises a ConfigError for training with which a promise would not hold."""
    privacy, name = settings.privacy, settings.algorithm.name
    if not privacy.is_on:
        return
    allowed = _TRAINED_PRIVATELY if privacy.unit == "patient" else _SENDS_AN_UPDATE_ALONE
    if name not in allowed:
        raise errors.ConfigError(
            f"algorithm.name: privacy.unit = {privacy.unit!r} holds for {', '.join(map(repr, allowed))}, got {name!r}"
        )
    if privacy.unit == "patient":
        return
    if settings.aggregation.rule != "mean":
        raise errors.ConfigError(
            f"aggregation.rule: privacy.unit = 'hospital' adds noise to a sum and needs 'mean', got "
            f"{settings.aggregation.rule!r}"
        )
    if settings.aggregation.secure or settings.compression.up != "none":
        asked = "aggregation.secure" if settings.aggregation.secure else "compression.up"
        raise errors.ConfigError(
            f"{asked}: rounds updates after they are clipped, so that they weigh more than privacy.unit = 'hospital' "
            "counts; leave it out"
        )
    if settings.aggregation.clip_norm is not None:
        raise errors.ConfigError(
            "aggregation.clip_norm: privacy.unit = 'hospital' clips updates by privacy.clip_norm; leave this one out"
        )


def check_study(settings: RunConfig) -> None:
    """Raises a ConfigError for what a study cannot do under a promise."""
    if not settings.privacy.is_on:
        return
    study = settings.study
    if study.tune:
        raise errors.ConfigError(
            "study.tune: looks at validation patients many times without noise, which privacy.unit does not cover; "
            "give false"
        )
    if study.compare:
        raise errors.ConfigError(
            "study.compare: tunes each algorithm on validation patients without noise, which privacy.unit does not "
            "cover; compare without [privacy]"
        )
    for kind in study.arms:
        if kind == "fine_tuned":
            raise errors.ConfigError(
                "study.arms: 'fine_tuned' trains on a hospital's patients once more, beyond what was promised to them; "
                "leave it out"
            )


def check_arm(settings: RunConfig, name: str, *, fine_tuned: bool, searched: bool) -> None:
    """Raises a ConfigError for an arm of a study that would spend more on patients than it promises them.

    Args:
        settings: of the arm.
        name: of the arm.
        fine_tuned: whether it is trained on at each hospital.
        searched: whether a learning rate is looked for.
    """
    if not settings.privacy.is_on:
        return
    if fine_tuned:
        raise errors.ConfigError(
            f"arms, {name!r}: 'fine_tuned' trains on a hospital's patients once more, beyond what was promised to "
            "them; leave it out"
        )
    if searched:
        raise errors.ConfigError(
            f"study.tune: looks at validation patients many times without noise for a rate of the arm {name!r}, which "
            "its promise does not cover; give false, or leave the promise out"
        )


def check_tuning(settings: RunConfig) -> None:
    """Raises a ConfigError where a promise would be tuned for: every try looks at validation patients without noise."""
    if settings.privacy.is_on:
        raise errors.ConfigError(
            "privacy.unit: tuning looks at validation patients many times without noise, which no promise covers; tune "
            "without [privacy], best on other patients, and give what is found to the config"
        )
