"""Who was meant to contribute to a study's federated models, and who did: over all seeds together."""

import dataclasses
from collections.abc import Mapping, Sequence

from fedmed.engine import contributions
from fedmed.engine.contributions import Contribution
from fedmed.study import suppression
from fedmed.study.outcomes import Outcomes
from fedmed.study.plan import label
from fedmed.system import plain


def contributed(outcomes: Outcomes) -> dict[str, dict[str, Contribution]]:
    """Returns of each arm with a scenario or a deadline each hospital's contribution, over all seeds.

    Weights go by rows: where few patients train somewhere, none is told, since from one hospital's rows and all shares
    the others' rows follow.
    """
    found: dict[str, list[Mapping[str, Contribution]]] = {}
    for (arm, _, hospital), result in outcomes.results.items():
        if result.contributions and hospital is None:
            told = {name: plain.from_plain(Contribution, own) for name, own in result.contributions.items()}
            found.setdefault(arm, []).append(told)
    summed = {arm: contributions.summed(parts) for arm, parts in found.items()}
    if any(suppression.few_on_a_side(outcomes.consortium, name, outcomes.seeds) for name in outcomes.hospitals):
        return {arm: {name: _without_shares(one) for name, one in own.items()} for arm, own in summed.items()}
    return summed


def _without_shares(own: Contribution) -> Contribution:
    return dataclasses.replace(own, planned_share=None, real_share=None)


def shortfalls(found: Mapping[str, Contribution], seeds: Sequence[int]) -> tuple[str, ...]:
    """Returns in sentences who was meant to contribute to an arm and did not, over all seeds."""
    planned = {name: own.planned_share for name, own in found.items() if own.planned_share is not None}
    return contributions.shortfalls(found, planned if len(planned) == len(found) else None, len(seeds))


def missed(outcomes: Outcomes, found: Mapping[str, Mapping[str, Contribution]]) -> tuple[str, ...]:
    """Returns in sentences who was meant to contribute and did not; of the first arm of which there is anything."""
    for arm, own in found.items():
        said = shortfalls(own, outcomes.seeds)
        if said:
            return tuple(f"In the arm “{label(outcomes.arm(arm))}”: {text}" for text in said)
    return ()
