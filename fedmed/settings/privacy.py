"""What is promised to patients or to hospitals: the table `[privacy]` of a config."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from fedmed.settings.ranges import setting
from fedmed.system import errors

Unit: TypeAlias = Literal["none", "patient", "hospital"]


@dataclasses.dataclass(frozen=True)
class Privacy:
    """Differential privacy, off by default; see docs/privacy.md for what it covers and what not.

    Attributes:
        unit: whom the promise is made to. "patient": hospitals train by DP-SGD (Abadi et al. 2016), a patient being all
            of its rows at a hospital. "hospital", or whatever a client is: the server adds noise to the sum of clipped
            updates (McMahan et al. 2018).
        target_epsilon: of all rounds; the noise is chosen for it, for each hospital by its own size. With
            `noise_multiplier` it is a budget, and the run ends before the round that would exceed it.
        noise_multiplier: SD of the noise over the clip; 0 adds none and promises nothing.
        clip_norm: L2 norm to which a patient's gradient, or a hospital's update, is scaled down.
        delta: of the promise; default n^-1.1, n being the hospital's training patients, or the hospitals.
        bounds: of a table's columns of numbers, [low, high], known without looking at the patients.
        preprocessing_share: of the target that is spent on noisy means and SDs of the columns within their bounds; 0
            scales by the bounds alone.
    """

    unit: Unit = "none"
    target_epsilon: float | None = setting(None, above=0.0)
    noise_multiplier: float | None = setting(None, least=0.0)
    clip_norm: float = setting(1.0, above=0.0)
    delta: float | None = setting(None, above=0.0, below=1.0)
    bounds: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    preprocessing_share: float = setting(0.0, least=0.0, most=0.9)

    @property
    def is_on(self) -> bool:
        """Whether anything is promised, or tried."""
        return self.unit != "none"


NONE = Privacy()


def check(privacy: Privacy) -> None:
    """Checks what the types cannot say; ConfigError in one line."""
    for column, pair in privacy.bounds.items():
        _check_bounds(column, pair)
    if not privacy.is_on:
        asked = [name for name in ("target_epsilon", "noise_multiplier") if getattr(privacy, name) is not None]
        if asked:
            raise errors.ConfigError(
                f"privacy.{asked[0]}: is given, but to nobody; give privacy.unit = 'patient' or 'hospital'"
            )
        return
    if privacy.target_epsilon is None and privacy.noise_multiplier is None:
        raise errors.ConfigError("privacy: give target_epsilon, or noise_multiplier, or both")
    if privacy.noise_multiplier == 0.0 and privacy.target_epsilon is not None:
        raise errors.ConfigError("privacy.target_epsilon: noise_multiplier = 0 adds no noise and keeps no promise")
    if privacy.preprocessing_share and (privacy.unit != "patient" or privacy.target_epsilon is None):
        raise errors.ConfigError(
            "privacy.preprocessing_share: is a share of target_epsilon that is promised to patients; give "
            "privacy.unit = 'patient' and privacy.target_epsilon"
        )


def _check_bounds(column: str, pair: Any) -> None:
    numbers = isinstance(pair, list | tuple) and all(
        isinstance(end, int | float) and not isinstance(end, bool) for end in pair
    )
    if not numbers or len(pair) != 2 or not -1e38 < pair[0] < pair[1] < 1e38:
        raise errors.ConfigError(f"privacy.bounds.{column}: expected [low, high], low < high, got {errors.shown(pair)}")
