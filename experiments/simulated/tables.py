"""The summaries of simulated studies as a page."""

from collections.abc import Callable, Mapping, Sequence

from experiments.simulated.populations import PopulationSummary
from experiments.simulated.tallies import LARGE, Claims, Share, Summary

_TRUTHS = ("expected", "own")
_CLAIMS: Sequence[tuple[str, Callable[[Claims], Share]]] = (
    ("an arm against itself told *gains* or *harmed*, at most 5 %", lambda c: c.null),
    ("the same: consortium's means whose interval leaves out 0, at most 5 %", lambda c: c.null_mean),
    ("worse by the margin, and told *no worse*, at most 2.5 %", lambda c: c.at_margin),
    ("the same: studies that tell it to any hospital, at most 2.5 %", lambda c: c.at_margin_studies),
    ("claims on a question whose side is wrong", lambda c: c.wrong),
    (f"gains above {LARGE:g} that the AUROC alone told, Holm over hospitals (before)", lambda c: c.gains_before),
    (f"gains above {LARGE:g} told *gains* (now)", lambda c: c.gains),
    (f"gains above {LARGE:g} told *gains*, or by the consortium's mean or line", lambda c: c.gains_with_consortium),
    ("gains that mean or line tell to a hospital, which its expected truth denies", lambda c: c.consortium_wrong),
)


def markdown(models: str, found: Mapping[str, Summary]) -> list[str]:
    """Returns lines: coverage, then claims, of studies with these models, a column a cell."""
    studies = ", ".join(f"{one.studies} of {name}" for name, one in found.items() if name != "all")
    head = [f"## {models}", "", f"Studies: {found['all'].studies} ({studies}).", ""]
    return [*head, *_coverage(found), "", *_claims(found), ""]


def of_populations(models: str, found: Mapping[str, PopulationSummary]) -> list[str]:
    """Returns lines: what the consortium's answer is worth where each study has hospitals of its own."""
    lines = [f"## {models}: hospitals drawn anew in each study", ""]
    lines += _header(["consortium", *(f"{name} ({one.studies} studies)" for name, one in found.items())])
    told: Sequence[tuple[str, Callable[[PopulationSummary], str]]] = (
        ("**mean, over hospitals such as these**", lambda one: _percent(one.mean.expected)),
        ("mean, over the study's own hospitals", lambda one: _percent(one.mean.own)),
        ("mean width", lambda one: f"{one.mean.width:.4f}"),
        ("estimate - truth", lambda one: f"{one.mean.bias:+.4f}"),
        ("prediction interval, other studies' hospitals", lambda one: _percent(one.predicted)),
        ("an arm against itself: the interval leaves out 0, at most 5 %", lambda one: _percent(one.null)),
    )
    return [*lines, *(_row([words, *[of(one) for one in found.values()]]) for words, of in told), ""]


def _coverage(found: Mapping[str, Summary]) -> list[str]:
    lines = _header(["95 % intervals that hold", *found, "mean width", "estimate - truth"])
    for figure, whole in found["all"].coverage.items():
        known = [one.coverage.get(figure) for one in found.values()]
        expected, own = ([_percent(getattr(one, which)) if one else "" for one in known] for which in _TRUTHS)
        lines.append(_row([f"**{figure}, expected**", *expected, f"{whole.width:.4f}", f"{whole.bias:+.4f}"]))
        lines.append(_row([f"{figure}, own models'", *own, "", ""]))
    predicted = [_percent(one.predicted) for one in found.values()]
    return [*lines, _row(["hospitals' AUROC differences, by the prediction interval", *predicted, "", ""])]


def _claims(found: Mapping[str, Summary]) -> list[str]:
    lines = _header(["claims", *found])
    lines += [_row([words, *[_percent(of(one.claims)) for one in found.values()]]) for words, of in _CLAIMS]
    for word in found["all"].claims.outcomes:
        counts = [str(one.claims.outcomes.get(word, 0)) for one in found.values()]
        lines.append(_row([f"federated against alone: {word}", *counts]))
    return lines


def _header(words: Sequence[str]) -> list[str]:
    return [_row(words), _row(["---"] * len(words))]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _percent(share: Share) -> str:
    return f"{100 * share.count / share.of:.1f} % ({share.count}/{share.of})" if share.of else "none"
