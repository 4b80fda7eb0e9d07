"""A federated model made worse by exactly the margin: noise in its logits, as much as fresh patients say it takes."""

import dataclasses

import numpy as np

from experiments.simulated.hospitals import WithFresh
from fedmed.data.examples import Array
from fedmed.statistics import auroc
from fedmed.study.outcomes import Outcomes
from fedmed.study.plan import ArmPlan
from fedmed.system import seeds

AT_MARGIN = "at the margin"
_STEPS = 10  # of bisection, from noise of 0 to 4 in logits


def with_worse(outcomes: Outcomes, hospitals: WithFresh, margin: float) -> Outcomes:
    """Returns the outcomes with an arm AT_MARGIN: its AUROC is `margin` lower at each hospital, mean over seeds."""
    amounts = {name: _amount(outcomes, hospitals, name, margin) for name in outcomes.hospitals}
    results = dict(outcomes.results)
    for seed in outcomes.seeds:
        own = outcomes.results["federated", seed, None]
        rng = seeds.generator(seed, "experiments.worse")
        tested = [
            noisy(p, rng.normal(size=len(p)), amounts[name])
            for name, p in zip(outcomes.hospitals, own.predictions, strict=False)  # fresh patients come after them
        ]
        results[AT_MARGIN, seed, None] = own._replace(predictions=tested)
    arm = ArmPlan(AT_MARGIN, "federated", outcomes.arms[0].settings, {})
    return dataclasses.replace(outcomes, arms=(*outcomes.arms, arm), results=results)


def noisy(p: Array, noise: Array, amount: float) -> Array:
    """Returns probabilities with noise added to their logits."""
    inside = np.clip(p.astype(np.float64), 1e-7, 1 - 1e-7)
    return 1 / (1 + np.exp(-(np.log(inside / (1 - inside)) + amount * noise)))


def _amount(outcomes: Outcomes, hospitals: WithFresh, name: str, margin: float) -> float:
    """Returns the standard deviation of noise that takes the margin off the AUROC on fresh patients."""
    y = hospitals.fresh[name].y
    place = len(outcomes.hospitals) + outcomes.hospitals.index(name)
    models = [outcomes.results["federated", seed, None].predictions[place] for seed in outcomes.seeds]
    noise = seeds.generator(outcomes.seeds[0], "experiments.worse.fresh", place).normal(size=len(y))

    def scored(amount: float) -> float:
        return float(np.mean([auroc(y, noisy(p, noise, amount)) for p in models]))

    wanted, low, high = scored(0.0) - margin, 0.0, 4.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if scored(middle) > wanted else (low, middle)
    return (low + high) / 2
