"""The share of a budget that is spent before training, on what tables are scaled by."""

from collections.abc import Mapping

from fedmed.privacy import accounting
from fedmed.settings.privacy import Privacy


def preprocessing_noise(privacy: Privacy, patients: Mapping[str, int]) -> float:
    """Returns the noise multiplier of the one release that tables are scaled by: what the smallest budget needs.

    Args:
        privacy: with a target and a share of it.
        patients: of each hospital; the delta of each follows from it where none is given.
    """
    spent = privacy.preprocessing_share * (privacy.target_epsilon or 0.0)
    deltas = {privacy.delta or accounting.default_delta(count) for count in patients.values()}
    return max(accounting.noise_for(1.0, 1, spent, delta) for delta in deltas)
