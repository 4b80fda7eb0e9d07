"""What federation costs, how far the answers depend on the seed, and how far models are from a known truth."""

from collections.abc import Mapping
from typing import Any

from fedmed.reporting.page import plots, words
from fedmed.reporting.page.blocks import Block, Figure, Fold, Panel, Section, Table, Text
from fedmed.reporting.page.drawing import Look
from fedmed.reporting.page.plots import Axis, Mark, Row
from fedmed.reporting.page.view import OUTCOMES, View


def communication(view: View) -> Section | None:
    """Returns bytes, rounds and time, against what pooling the data would send once."""
    told = view.study.get("communication")
    if not told:
        return None
    pooled, each = told["pooled_data_bytes"], told["bytes_all"]
    ratio = f", {each / pooled:,.3g} times the data themselves" if pooled else ""
    said = f"{told['rounds']} rounds send {words.size(each)} in all{ratio}. {words.sentence(told['about'])}"
    rows = [
        ["one model (float32)", words.size(told["weights_bytes"])],
        ["a round, per hospital taking part, down and up", words.size(told["bytes_per_round"])],
        [f"all {told['rounds']} rounds, per hospital", words.size(told["bytes_per_hospital"])],
        [f"all {told['rounds']} rounds, all hospitals", words.size(each)],
        [f"time to send, a round, at {told['uplink']}", words.seconds(told["seconds_per_round"])],
        ["all rounds, by the virtual clock", words.seconds(told["clock_seconds"])],
        ["for comparison: all training rows, sent once", words.size(pooled)],
    ]
    tables: list[Block] = [Table("Communication", ["what", "how much"], rows)]
    if told.get("target"):
        tables.append(_target(view, told["target"]))
    return Section("communication", "What it costs", [Text(said), Fold("Round by round, and until when", tables)])


def _target(view: View, target: Mapping[str, Any]) -> Table:
    rows = [
        [
            view.label(arm),
            "not reached" if own["rounds"] is None else f"{own['rounds']:,}",
            words.size(own["bytes_per_hospital"]),
            words.seconds(own["seconds"]),
        ]
        for arm, own in target["arms"].items()
    ]
    header = ["arm", "rounds", "bytes per hospital", "time to send"]
    caption = f"To reach {view.metric['label']} {words.number(target['value'])}"
    return Table(caption, header, rows, (("", words.sentence(target["why"])),))


_AGREE = {"no difference": "no difference", "signs agree": "yes", "signs differ": "no"}


def _agreement(own: Mapping[str, Any]) -> str:
    if own["least"] == own["greatest"] == 0:
        return "no difference"
    return "signs agree" if own["signs_agree"] else "signs differ"


def _one_seed(view: View) -> Section | None:
    if len(view.study["seeds"]) != 1:
        return None
    said = "The study has one seed, and one seed cannot show how much the answer depends on the split of the patients."
    return Section("seeds", "Does the answer depend on the seed", [Text(f"{said} Give more with study.seeds.")])


def seeds(view: View) -> Section | None:
    """Returns each seed's difference at each hospital, or says that one seed cannot tell."""
    told = view.study.get("seed_sensitivity")
    if not told:
        return _one_seed(view)
    label = view.metric["label"]
    comparison = next((c for c in view.study["comparisons"] if c["id"] == told["comparison"]), None)
    rows, cells = [], []
    for hospital in [h for h in view.hospitals if h in told["hospitals"]]:
        own = told["hospitals"][hospital]
        look = OUTCOMES["undecided"][2] if not own["signs_agree"] else Look("blue")
        marks = [Mark(value, None, None, look, False) for value in own["by_seed"]]
        rows.append(Row(hospital, marks, _agreement(own), one_line=True))
        values = [words.signed(own[key]) for key in ("least", "greatest")]
        each = ", ".join(words.signed(value) for value in own["by_seed"])
        cells.append([hospital, each, words.number(own["sd"]), *values, _AGREE[_agreement(own)]])
    ends = view.ends(comparison) if comparison else None
    axis = Axis(f"difference in {label}", 0.0, ends, view.flips(view.metric["name"]))
    svg = plots.rows_chart(rows, axis, f"{axis.label} at each hospital, a circle for each seed")
    read = (
        f"Each circle is one of {len(view.study['seeds'])} seeds, with a split and a training of its own. Circles on "
        "both sides of 0 mean that a single run could have told either story."
    )
    table = Table(
        f"Difference in {label} by seed", ["hospital", "by seed", "SD", "least", "greatest", "signs agree"], cells
    )
    figure = Figure("Difference by seed", words.sentence(told["about"]) + " " + read, [Panel("", svg)], [table])
    folded = Fold("Seed by seed", [figure])
    return Section("seeds", "Does the answer depend on the seed", [Text(_seeds_agree(view, told)), folded])


def _seeds_agree(view: View, told: Mapping[str, Any]) -> str:
    """Returns at how many hospitals every seed points the same way."""
    found = [_agreement(own) for own in told["hospitals"].values()]
    of, every = words.plural(len(found), "hospital"), len(view.study["seeds"])
    said = f"At {found.count('signs agree')} of {of} all {every} seeds point the same way"
    return f"{said}; at {found.count('signs differ')} a single seed could have told either story."


_DISTANCES = {
    "mean_absolute": "mean distance to the true risk",
    "root_mean_square": "root mean square distance",
    "loss_regret": "log loss above the truth's",
    "brier_regret": "Brier score above the truth's",
    "auroc_regret": "AUROC below the truth's",
}


def truth(view: View) -> Section | None:
    """Returns how far each arm's predictions are from the true risk of synthetic patients."""
    told = view.study.get("truth")
    if not told:
        return None
    arms = [arm for arm in view.arms if arm in told["arms"]]
    by = {arm: told["arms"][arm] for arm in arms}
    rows = []
    for unit in view.units(by):
        for arm in arms:
            own = view.at(by[arm], unit)
            if own:
                rows.append([unit or "all hospitals", view.label(arm), *(words.number(own[key]) for key in _DISTANCES)])
    said = words.sentence(told["about"]) + " Only synthetic data can show this."
    table = Table("Distance to the true risk, mean over seeds", ["hospital", "arm", *_DISTANCES.values()], rows)
    return Section(
        "truth", "Against the known truth", [Text(said), Fold("Distance to the true risk", [table])], printed=False
    )
