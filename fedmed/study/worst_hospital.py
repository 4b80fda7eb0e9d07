"""Whom an arm serves worst, beside its mean: of figures that are told already, so none that is withheld follows."""

from collections.abc import Mapping, Sequence

from fedmed.statistics import worst_served
from fedmed.study.measures import Measure
from fedmed.study.schema import Estimate, WorstHospital

ALONE = "fewer than two hospitals have a figure"


def worst_hospitals(
    hospitals: Sequence[str], figures: Mapping[str, Mapping[str, Estimate]], found: Sequence[Measure]
) -> dict[str, WorstHospital]:
    """Returns the worst hospital and the worst decile by measure, of those where higher or lower is better.

    Args:
        hospitals: all there are; those without a figure are counted.
        figures: an arm's Estimates, by hospital and measure; a hospital may be left out.
        found: the measures.
    """
    return {m.name: _worst(hospitals, figures, m) for m in found if m.better != "target"}


def _worst(hospitals: Sequence[str], figures: Mapping[str, Mapping[str, Estimate]], measure: Measure) -> WorstHospital:
    told = {name: own[measure.name] for name, own in figures.items() if measure.name in own}
    values = {name: told[name].estimate if name in told else None for name in hospitals}
    assert measure.better != "target"
    worst = worst_served(values, measure.better)
    if worst is None or worst.clients < 2:
        known = 0 if worst is None else worst.clients
        return WorstHospital(None, None, None, "", ALONE, None, len(hospitals) - known, None)
    own = told[worst.worst]
    return WorstHospital(
        own.estimate, own.low, own.high, own.method, "", worst.worst, worst.without, worst.worst_decile
    )
