"""How far a model is from the truth, where the data are synthetic and the true risk is known."""

import dataclasses
from typing import TypeAlias

import numpy as np

from fedmed.statistics.metrics import CLIP
from fedmed.statistics.ranking import weighted_auroc

Array: TypeAlias = np.ndarray


@dataclasses.dataclass(frozen=True)
class Truth:
    """Distances to the true risk; 0 is perfect, and regrets are never below 0 but for the rank regret's rounding.

    Attributes:
        mean_absolute: mean |p - risk|.
        root_mean_square: root of the mean squared p - risk.
        loss_regret: expected log loss minus that of the true risk.
        brier_regret: expected Brier score minus that of the true risk.
        auroc_regret: expected AUROC of the true risk minus the model's; NaN where all risks are 0 or all are 1.
    """

    mean_absolute: float
    root_mean_square: float
    loss_regret: float
    brier_regret: float
    auroc_regret: float


def against_truth(p: Array, risk: Array) -> Truth | None:
    """Returns how far predictions are from the true risks, in expectation over outcomes drawn from those risks.

    Taking the expectation, rather than one draw of outcomes, leaves out the noise that model and oracle share.

    Args:
        p: [n] predicted probabilities, clipped by 1e-7 for the log loss.
        risk: [n] true probabilities.

    Returns:
        The distances, None without rows.
    """
    if not len(p):
        return None
    p, risk = np.asarray(p, dtype=np.float64), np.asarray(risk, dtype=np.float64)
    return Truth(
        mean_absolute=float(np.abs(p - risk).mean()),
        root_mean_square=float(np.sqrt(np.square(p - risk).mean())),
        loss_regret=float((_expected_loss(p, risk) - _expected_loss(risk, risk)).mean()),
        brier_regret=float(np.square(p - risk).mean()),
        auroc_regret=expected_auroc(risk, risk) - expected_auroc(p, risk),
    )


def expected_auroc(p: Array, risk: Array) -> float:
    """Returns the AUROC with each row counted as an event by its risk and as a non-event by the rest.

    A row also meets itself, as a tie, which is of order 1/n.

    Args:
        p: [n] predictions.
        risk: [n] true probabilities.
    """
    events = np.repeat([True, False], len(p))
    return float(weighted_auroc(events, np.tile(p, 2), np.concatenate([risk, 1 - np.asarray(risk)])))


def _expected_loss(p: Array, risk: Array) -> Array:
    q = np.clip(p, CLIP, 1 - CLIP)
    return -(risk * np.log(q) + (1 - risk) * np.log1p(-q))
