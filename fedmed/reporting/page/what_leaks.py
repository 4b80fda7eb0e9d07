"""What leaks: attacks on the study's own models, beside a control that shows that they can succeed."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from fedmed.reporting.page import plots, words
from fedmed.reporting.page.blocks import Block, Figure, Fold, Panel, Section, Table, Text
from fedmed.reporting.page.drawing import Look
from fedmed.reporting.page.plots import Axis, Mark, Row
from fedmed.reporting.page.view import View
from fedmed.reporting.page.words import Notes

_GUESSING = 0.5
_FEW = 5
_SIDE = 42  # points of a picture


def section(view: View) -> Section | None:
    """Returns the attacks; None where none were made."""
    found = view.study["leakage"]
    if not found:
        return None
    blocks: list[Block] = [
        Text(_who(found["membership"]), "Was this patient trained on?"),
        _membership(found["membership"]),
        Fold("By hospital", [_by_hospital(view, found["membership"])]),
        Text(_rebuilding(found["rebuilt"]), "Can rows be rebuilt from an update?"),
        *_rebuilt(found["rebuilt"]),
        *_audits(found["audits"]),
    ]
    return Section("leakage", "What leaks: attacks on models trained like these", blocks)


def _who(found: Sequence[Mapping[str, Any]]) -> str:
    """Returns what the membership attack says of the study's model, as far as its control allows."""
    own = next(one for one in found if not one["control"])
    control = next((one for one in found if one["control"]), None)
    auc = own["all"]["auc"]
    said = (
        "An attacker with the model, the patient's row and label, and data to train models alike, ranks those who were "
        f"trained on above others with AUC {words.estimate(auc)}; guessing is 0.5"
    )
    if control is None:
        return f"{said}."
    works = control["all"]["auc"]
    if works["low"] is None or works["low"] <= _GUESSING:
        return (
            f"The control failed: on a model that was made to learn its rows by heart the same attack reaches AUC "
            f"{words.estimate(works)}, which is not shown to be better than guessing. So nothing follows from what it "
            "finds on other models; more shadow models make it stronger."
        )
    leaks = auc["low"] is not None and auc["low"] > _GUESSING
    verdict = "So the model leaks" if leaks else "Whether this model leaks is open, as its interval includes guessing"
    heart = f"On a model made to learn its rows by heart the same attack reaches {words.estimate(works)}"
    return f"{said}. {heart}. {verdict}."


def _membership(found: Sequence[Mapping[str, Any]]) -> Figure:
    rows, cells, notes = [], [], Notes()
    for one in found:
        auc = one["all"]["auc"]
        look = Look("muted", (), "D") if one["control"] else Look("vermillion", (), "o")
        name = f"{one['training']} (control)" if one["control"] else one["training"]
        marks = [Mark(auc["estimate"], auc["low"], auc["high"], look)] if auc["estimate"] is not None else []
        rows.append(Row(name, marks, words.estimate(auc)))
        caught = [notes.estimate(own) for own in one["all"]["caught"].values()]
        cells.append([name, str(one["models"]), notes.estimate(auc), *caught, notes.estimate(one["loss_auc"])])
    axis = Axis("AUC of the attack", _GUESSING, ("guessing", "recognised"))
    svg = plots.rows_chart(rows, axis, "AUC of the membership attack by training, with intervals")
    shares = [f"recognised at {100 * float(rate):g} % false alarms" for rate in found[0]["all"]["caught"]]
    header = ["training", "shadow models", "AUC", *shares, "AUC by the loss alone"]
    table = Table("Membership attack over all hospitals", header, cells, notes.listed())
    read = (
        "The likelihood-ratio attack (LiRA, Carlini et al. 2022) with shadow federations: the same training on random "
        "halves of everybody's patients, each model attacked by the others. Intervals have the models as their unit. "
        "More models make a stronger attack, so only trainings with as many are to be compared."
    )
    return Figure("Who can be recognised", read, [Panel("", svg)], [table])


def _by_hospital(view: View, found: Sequence[Mapping[str, Any]]) -> Table:
    notes = Notes()
    rows = [
        [hospital, *(notes.estimate((one["hospitals"].get(hospital) or {}).get("auc")) for one in found)]
        for hospital in view.hospitals
    ]
    return Table(
        "AUC of the membership attack by hospital",
        ["hospital", *(one["training"] for one in found)],
        rows,
        notes.listed("An attack at a hospital ranks its own patients among themselves."),
    )


def _rebuilding(rebuilt: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    if not rebuilt:
        return "It was not tried: the model has several inputs."
    shown = any(one["pictures"] for own in rebuilt.values() for one in own)
    what = (
        "Pictures are of public data: true above, recovered below."
        if shown
        else "Distances are told and no row is: root mean square over columns, in standard deviations. A row is held "
        "against those of other patients, all that the hospital trains on and up to 500 of the other hospitals: where "
        "the attack comes closer to it than each of these is, its patient is singled out."
    )
    return (
        "Tried as a server would that looks into one hospital's update before training, from one row and one step, "
        "which is the worst case, to a whole round, and then under protection: as a secure sum of all hospitals, and "
        f"under the config's clip and noise, or noise as large as the clip. {what}"
    )


def _rebuilt(rebuilt: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Block]:
    blocks: list[Block] = []
    for hospital, scenes in rebuilt.items():
        panels = [Panel(one["scene"], _pictures(one)) for one in scenes if one["pictures"]]
        table = _scenes(hospital, scenes)
        if panels:
            read = "PSNR beyond 30 dB is a faithful copy; two unlike digits have about 10."
            blocks.append(Figure(f"Rows of {hospital}", read, panels, [table]))
        else:
            blocks.append(table)
    return blocks if len(blocks) < 2 else [blocks[0], Fold("At other hospitals", blocks[1:])]


def _scenes(hospital: str, scenes: Sequence[Mapping[str, Any]]) -> Table:
    notes, rows = Notes(), []
    for one in scenes:
        begun = [one["scene"], f"{one['rows']:,}"]
        if one["reason"]:
            rows.append([*begun, f"not tried [{notes.mark(one['reason'])}]", *[words.NONE] * 4])
        elif one["psnr"] is not None:
            rows.append([*begun, one["way"], f"PSNR {one['psnr']:.1f} dB", *[words.NONE] * 3])
        else:
            share = _singled_out(one)
            distances = [words.number(one[key]) for key in ("distance", "other", "guess")]
            rows.append([*begun, one["way"], *distances, share])
    header = [
        "what the server sees",
        "rows behind it",
        "way",
        "to the row",
        "nearest other patient",
        "by guessing",
        "singled out",
    ]
    return Table(f"Rows rebuilt from an update of {hospital}", header, rows, notes.listed())


def _singled_out(one: Mapping[str, Any]) -> str:
    """Returns the share of rows that are singled out; of many rows, not when it tells of 1 to 4."""
    share, rows = one["singled_out"], one["rows"]
    if share is None:
        return words.NONE
    return "few" if rows >= _FEW and 0 < round(share * rows) < _FEW else f"{100 * share:.0f} %"


def _pictures(one: Mapping[str, Any]) -> str:
    """Returns the true pictures above the recovered ones, as one SVG."""
    true, recovered = one["pictures"]
    width = _SIDE * max(1, len(true))
    images = [
        f'<image href="data:image/png;base64,{escape(png)}" x="{_SIDE * place + 1}" y="{row * _SIDE + 1}" '
        f'width="{_SIDE - 2}" height="{_SIDE - 2}" style="image-rendering:pixelated"/>'
        for row, pictures in enumerate((true, recovered))
        for place, png in enumerate(pictures)
    ]
    alt = f"{one['scene']}: true pictures above, recovered ones below"
    size = f'width="{width * 4 // 3}" height="{2 * _SIDE * 4 // 3}" viewBox="0 0 {width} {2 * _SIDE}"'
    return f'<svg class="plot" role="img" aria-label="{escape(alt)}" {size}>{"".join(images)}</svg>'


def _finding(one: Mapping[str, Any]) -> str:
    if one["bound"] > one["claim"]:
        return "refuted"
    return "not refuted" if one["claim"] < one["ceiling"] else "could not be refuted"


def _audits(audits: Sequence[Mapping[str, Any]]) -> list[Block]:
    if not audits:
        return []
    rows = [
        [
            f"{one['promise']} (control)" if one["control"] else one["promise"],
            f"{one['claim']:.2f}",
            f"{one['bound']:.2f}",
            f"{one['ceiling']:.2f}",
            _finding(one),
        ]
        for one in audits
    ]
    note = (
        f"One run with {audits[0]['canaries']:,} canaries (Steinke et al. 2023) through the hospitals' own step, at "
        "the rate, noise and number of steps of a hospital: epsilon is at least the bound, at 95 % confidence. A claim "
        "above the ceiling cannot be refuted. That a claim is not refuted does not prove it. The control has its "
        "noise off, and claims 1 all the same. Claims are for the canaries, at delta 1e-5, with the noise that "
        "patients are given; at so small a delta the same noise promises less."
    )
    header = ["promise", "claimed epsilon", "at least", "ceiling", "finding"]
    return [Table("Audit of the promise", header, rows, (("", note),))]
