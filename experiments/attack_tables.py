"""The page of `experiments.attacks`: what corrupted hospitals do to a federation, by rule of aggregation."""

import dataclasses
import statistics
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

NOBODY = "nobody"
STEP = 5
"""Rounds between two points of a curve."""
BOUND = 2.0
"""Points of accuracy that a rule may lose and still count as withstanding."""
WORDS: Mapping[str, str] = {
    NOBODY: "nobody corrupted",
    "sign_flip": "sign flipped",
    "sign_flip_10": "sign flipped, 10 times as long",
    "boost_10": "10 times as long",
    "label_flip": "labels flipped",
    "backdoor": "backdoor",
    "backdoor_boost_10": "backdoor, 10 times as long",
}
RULES = (
    "mean", "clipped_mean", "centred_clipping", "geometric_median", "median", "trimmed_mean", "krum", "multi_krum",
)  # fmt: skip
"""In the order of the columns."""
SPLIT_WORDS: Mapping[str, str] = {
    "alike": "Clients with like rows",
    "unlike": "Clients with unlike mixes of digits (Dirichlet 0.5) and unlike sizes",
}
Results = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Cell:
    """A training: who divides the rows, what befalls which share of the clients, the rule, and the seed."""

    split: str
    attack: str
    share: float
    rule: str
    seed: int

    @property
    def key(self) -> str:
        """The cell's name in the results file."""
        return f"{self.split}/{self.attack}/{self.share:g}/{self.rule}/{self.seed}"


@dataclasses.dataclass(frozen=True)
class Found:
    """A figure of one cell of a table, in %: the mean over seeds, the least and the greatest."""

    mean: float
    low: float
    high: float


Row = tuple[str, float]
"""An attack and its share of the clients."""
Table = dict[Row, dict[str, Found]]
"""Row -> rule -> what was found there."""


def table(results: Results, split: str, figure: str = "accuracy") -> Table:
    """Returns a figure of a division's cells; what a rule makes of nobody corrupted is in the row of each share."""
    values: dict[tuple[str, float, str], list[float]] = {}
    for key, cell in results["cells"].items():
        of, attack, share, rule, _ = key.split("/")
        if of == split:
            values.setdefault((attack, float(share), rule), []).append(cell[figure])
    shares = sorted({share for _, share, _ in values if share})
    made: Table = {}
    for attack in WORDS:
        for share in shares:
            for of, at, rule in values:
                if of == attack and at in ((share, 0.0) if attack == NOBODY else (share,)):
                    one = values[of, at, rule]
                    made.setdefault((attack, share), {})[rule] = Found(statistics.fmean(one), min(one), max(one))
    return made


def page(results: Results) -> str:
    """Returns the results as Markdown, what matters first."""
    splits = [split for split in SPLIT_WORDS if losses(table(results, split))]
    tables = {split: table(results, split) for split in splits}
    triggered = {split: backdoors(results, split) for split in splits}
    lines = ["# What corrupted hospitals do to a federation, by rule of aggregation", ""]
    for split in splits:
        lines += [_filled(f"{SPLIT_WORDS[split]}: {summary(tables[split], triggered[split])}"), ""]
    lines += [_filled(_CAUTION), "", _filled(settings(results, splits))]
    for split in splits:
        lines += ["", f"## {SPLIT_WORDS[split]}", "", "Accuracy on the test rows, %; the mean over seeds:", ""]
        lines += [*shown(tables[split]), "", *map(_item, sentences(tables[split], triggered[split])), ""]
        lines += ["How often the trigger makes the model say the backdoor's class, %; the mean over seeds:", ""]
        lines += shown(triggered[split])
    for split in splits:
        lines += ["", f"## {SPLIT_WORDS[split]}: least to greatest accuracy over the seeds, %", ""]
        lines += shown(tables[split], ranges=True)
    return "\n".join([*lines, ""])


_CAUTION = (
    "What is said of the best rule is said after the fact, and no attacker here knows the rule. One who does stays "
    "just inside what the rule lets pass and does more harm, also to Krum, the median and the trimmed mean: Baruch, "
    'Baruch and Goldberg 2019, "A little is enough"; Fang et al. 2020, "Local model poisoning attacks to '
    'Byzantine-robust federated learning". So these tables show the most that one may hope of a rule. '
    "Like rows are the kindest case for rules that look for what differs; where hospitals differ, an honest one may "
    "look corrupted (Karimireddy, He and Jaggi 2022)."
)


def backdoors(results: Results, split: str) -> Table:
    """Returns how often the trigger works, where nobody is corrupted and where somebody taught it."""
    found = table(results, split, "backdoor")
    return {row: of for row, of in found.items() if row[0] == NOBODY or row[0].startswith("backdoor")}


def settings(results: Results, splits: Sequence[str]) -> str:
    """Returns how the cells were made."""
    own, seeds = results["config"], sorted({int(key.rsplit("/", 1)[1]) for key in results["cells"]})
    by = "was given" if "rate" in own else "is what `fedmed tune` chose for the mean with nobody corrupted"
    rates = ", ".join(f"{results['rates'][split]:g} ({split})" for split in splits)
    courses = (
        f"{', '.join(f'{value:.1f}' for value in clean_curve(results, split))} ({split})"
        for split in splits
        if clean_curve(results, split)
    )
    return (
        "Made by `uv run python -m experiments.attacks`, which has all settings; each seed's figures and curves are in "
        f"`attacks.json`. Scikit-learn's digits at ten clients, all of them in each of {own['rounds']} rounds; a "
        f"quarter of each client's rows are for testing. `{own['model']['name']}`, {own['client']['epochs']} local "
        f"epoch in batches of {own['client']['batch_size']}. The learning rate, which all have, {by}: {rates}. The "
        f"accuracy of the mean with nobody corrupted, every {STEP} rounds, in %: {'; '.join(courses)}. "
        "`trimmed_mean`, `krum` and `multi_krum` are told the true number of corrupted clients, and the same number "
        "where nobody is corrupted. Who is corrupted is drawn by the seed, and stays corrupted in all rounds. Labels "
        "flipped: each digit becomes the next. Backdoor: half of the client's images get a bright corner of 3 x 3 "
        "pixels and the label 0; the trigger works on a test image of another digit that is called 0 once it has the "
        f"corner. A model of NaN says nothing, which is 0 %. "
        f"Seeds {', '.join(map(str, seeds))}. Machine: {results['machine']}."
    )


def _filled(text: str) -> str:
    return textwrap.fill(text, 118, break_long_words=False, break_on_hyphens=False)


def _item(text: str) -> str:
    return textwrap.fill(
        text, 118, initial_indent="- ", subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )


def clean_curve(results: Results, split: str) -> list[float]:
    """Returns the accuracy of the mean with nobody corrupted, by rounds, the mean over seeds."""
    curves = [cell["curve"] for key, cell in results["cells"].items() if key.startswith(f"{split}/{NOBODY}/0/mean/")]
    return [statistics.fmean(values) for values in zip(*curves, strict=True)]


def shown(table_: Table, ranges: bool = False) -> list[str]:
    """Returns the lines of a table: an attack and a share a row, a rule a column; "-" where a cell was not run."""
    rules = [rule for rule in RULES if any(rule in of for of in table_.values())]
    lines = [f"| attack | corrupted | {' | '.join(rules)} |", "|---" * (len(rules) + 2) + "|"]
    for (attack, share), of in table_.items():
        cells = [_cell(of.get(rule), ranges) for rule in rules]
        who = f"0 %, told {_percent(share)}" if attack == NOBODY else _percent(share)
        lines.append(f"| {WORDS[attack]} | {who} | {' | '.join(cells)} |")
    is_whole = all(rule in of for of in table_.values() for rule in rules)
    return lines if is_whole else [*lines, "", "`-`: not run, and not spoken of."]


def _cell(found: Found | None, ranges: bool) -> str:
    if found is None:
        return "-"
    return f"{found.low:.1f} to {found.high:.1f}" if ranges else f"{found.mean:.1f}"


def losses(table_: Table) -> dict[Row, dict[str, float]]:
    """Returns the points that rules lose in attacked rows against the mean with nobody corrupted.

    Only rows that all rules of the table have: the best of some is not said to be the best.
    """
    rules = {rule for of in table_.values() for rule in of}
    clean = next((of["mean"].mean for (attack, _), of in table_.items() if attack == NOBODY and "mean" in of), None)
    if clean is None or len(rules) == 1:
        return {}
    return {
        row: {rule: clean - found.mean for rule, found in of.items()}
        for row, of in table_.items()
        if row[0] != NOBODY and set(of) == rules
    }


def sentences(table_: Table, triggered: Table) -> list[str]:
    """Returns a sentence or two an attack: what the mean loses, which rule loses least, and whether that is little."""
    lost, found = losses(table_), costs(table_)
    for attack in dict.fromkeys(attack for attack, _ in lost):
        rows = {share: of for (own, share), of in lost.items() if own == attack}
        best = {share: min(of, key=lambda rule, of=of: of[rule]) for share, of in rows.items()}
        mean = _and(f"{of['mean']:.1f}" for of in rows.values())
        least = _and(f"{rows[share][rule]:.1f} (`{rule}`)" for share, rule in best.items())
        fails = [_percent(share) for share, rule in best.items() if rows[share][rule] > BOUND]
        said = (
            f"{WORDS[attack].capitalize()}: at {_and(map(_percent, rows))} the mean loses {mean} points; the least "
            f"that any rule loses is {least}."
        )
        said += f" No rule stays within {BOUND:g} points at {_and(fails)}." if fails else ""
        passed = [_let_through((attack, share), table_, triggered) for share in rows if (attack, share) in triggered]
        found.append(f"{said} The trigger works on {'; '.join(passed)}." if passed else said)
    return found


def costs(table_: Table) -> list[str]:
    """Returns a sentence on what rules lose where nobody is corrupted; none where only the mean was run."""
    rows = {row: of for row, of in table_.items() if row[0] == NOBODY and "mean" in of}
    lost = [
        (of["mean"].mean - one.mean, rule, share)
        for (_, share), of in rows.items()
        for rule, one in of.items()
        if rule != "mean"
    ]
    if not lost:
        return []
    points, rule, share = max(lost)
    least, other, _ = min(lost)
    return [
        f"Nobody corrupted: beside the mean a rule loses between {least:.1f} (`{other}`) and {points:.1f} points "
        f"(`{rule}` at {_percent(share)}). Here and below, less than 0 is a gain."
    ]


def _let_through(row: Row, table_: Table, triggered: Table) -> str:
    """Returns on how many images the trigger works by the mean, and by the rule that lets least through."""
    by = triggered[row]
    rule = min(by, key=lambda name: by[name].mean)
    return (
        f"{by['mean'].mean:.1f} % of images by the mean at {_percent(row[1])}, and on {by[rule].mean:.1f} % "
        f"at least (`{rule}`, of {table_[row][rule].mean:.1f} % accuracy)"
    )


def summary(table_: Table, triggered: Table) -> str:
    """Returns the main figures, in sentences."""
    lost = losses(table_)
    clean = next(of["mean"].mean for row, of in table_.items() if row[0] == NOBODY)
    worst = max(lost, key=lambda row: lost[row]["mean"])
    least = {row: min(of.values()) for row, of in lost.items()}
    kept, failed = (sum(points <= BOUND for points in least.values()), sum(of["mean"] > BOUND for of in lost.values()))
    surest = min(lost[worst], key=lambda rule: max(of[rule] for of in lost.values()))
    where = max(lost, key=lambda row: lost[row][surest])
    found = [
        f"of {clean:.1f} % accuracy the mean loses more than {BOUND:g} points in {failed} of {len(lost)} attacks "
        f"by shares of the clients, and {lost[worst]['mean']:.1f} at worst ({_row(worst)}).",
        f"The rule that is best against each stays within {BOUND:g} points of the mean with nobody corrupted in {kept} "
        f"of {len(lost)}, and loses at most {max(least.values()):.1f}.",
        f"`{surest}` loses least at its worst: {lost[where][surest]:.1f} points ({_row(where)}).",
    ]
    taught = [row for row in triggered if row in lost]
    if taught:
        row = max(taught, key=lambda one: min(found.mean for found in triggered[one].values()))
        by = triggered[row].values()
        found.append(
            f"A backdoor gets furthest against all rules in the row `{WORDS[row[0]]}`: the trigger works on "
            f"{_let_through(row, table_, triggered)}, and by {sum(one.mean > 50 for one in by)} of {len(by)} rules on "
            "more than half."
        )
    return " ".join(found)


def _row(row: Row) -> str:
    return f"{WORDS[row[0]]}, {_percent(row[1])}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _and(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
