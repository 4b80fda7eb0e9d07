"""The TRIPOD+AI checklist (Collins et al. 2024, BMJ 385: e078378), filled from the study as far as it can be."""

from collections.abc import Mapping, Set
from typing import Any

from fedmed.reporting.page import words
from fedmed.reporting.page.blocks import Fold, Section, Table, Text
from fedmed.reporting.page.view import View

_AUTHORS = "For the authors of a publication."
_NOT = "Not applicable: simulation on existing data."

ITEMS: tuple[tuple[str, str, str], ...] = (
    ("1", "Title: a study that develops or evaluates a prediction model, its target and outcome", "{question}"),
    ("2", "Abstract (TRIPOD+AI for Abstracts)", "The summary and the verdicts at the top of this page."),
    ("3a", "Background: healthcare context and rationale", _AUTHORS),
    ("3b", "Background: target population and intended use", _AUTHORS),
    ("3c", "Background: known health inequalities", _AUTHORS),
    ("4", "Objectives: development, evaluation, or both", "Development and internal evaluation of {arms}; {external}."),
    ("5a", "Data: sources of development and evaluation data", "“{data}”{synthetic}; both from the same hospitals."),
    ("5b", "Data: dates of data collection and follow-up", "Not recorded in the data set's description here."),
    ("6a", "Participants: setting, number and location of centres", "{hospitals}; see “The patients”."),
    ("6b", "Participants: eligibility criteria", "All rows of the data set; see {datasheet}."),
    ("6c", "Participants: treatments received", "Not modelled."),
    ("7", "Data preparation: cleaning, harmonisation, across groups", "Preprocessing: {preprocessing}."),
    ("8a", "Outcome: definition, how and when assessed, rationale", "{outcome}. Definition: {datasheet}."),
    ("8b", "Outcome: qualifications of assessors", _NOT),
    ("8c", "Outcome: blinding of assessors", _NOT),
    ("9a", "Predictors: choice of initial predictors", "{predictors}"),
    ("9b", "Predictors: definition, how and when measured", "Names and units in Table 1; more: {datasheet}."),
    ("9c", "Predictors: qualifications of assessors", _NOT),
    ("10", "Sample size: how it was arrived at, and justified", "All rows there are{rows}{patients}. {needed}"
     "What they can tell is given as the detectable difference of each hospital."),
    ("11", "Missing data: how handled", "Missingness by hospital in Table 1; each training's own preprocessing fills "
     "what is missing, learnt from training rows only."),
    ("12a", "Analysis: how data were used and partitioned", "{splits}"),
    ("12b", "Analysis: how predictors were handled", "Preprocessing: {preprocessing}; fitted on training rows only."),
    ("12c", "Analysis: type of model, building steps, hyperparameters",
     "In the config under “To make it again”{tuned}. {references}"),
    ("12d", "Analysis: heterogeneity between clusters", "Every figure is given by hospital; “How different the "
     "hospitals are” and the differences by hospital."),
    ("12e", "Analysis: measures of performance, and plots", "{measures}."),
    ("12f", "Analysis: model updating (e.g. recalibration)", "{updating}"),
    ("12g", "Analysis: how predictions were calculated", "By the weights at the end of training; config and seeds give "
     "the same weights on the same machine."),
    ("13", "Class imbalance: methods, and recalibration", "None was used; calibration is reported as "
     "trained{and_after}."),
    ("14", "Fairness: approaches to address it", "{fairness}"),
    ("15", "Model output: what it is, thresholds", "{output}"),
    ("16", "Training versus evaluation: differences in setting, eligibility, outcome, predictors", "None but chance: "
     "both are splits of the same hospitals' patients{left_out}."),
    ("17", "Ethical approval", "{ethics}"),
    ("18a", "Open science: funding", _AUTHORS),
    ("18b", "Open science: conflicts of interest", _AUTHORS),
    ("18c", "Open science: protocol", "The config is the protocol; if fixed beforehand is for the authors."),
    ("18d", "Open science: registration", _AUTHORS),
    ("18e", "Open science: availability of data", "Checksums under “To make it again”; access is up to their holder."),
    ("18f", "Open science: availability of code", "fedmed {version}, Apache License 2.0; command and config given."),
    ("19", "Patient and public involvement", _AUTHORS),
    ("20a", "Results: flow of participants, with and without the outcome", "“What each hospital trains and is tested "
     "on”; counts of fewer than {minimum_cell} are hidden."),
    ("20b", "Results: characteristics, overall and by setting, missing data", "Table 1."),
    ("20c", "Results: development against evaluation data", "Random splits of the same patients; not tabled apart."),
    ("21", "Results: participants and events in each analysis", "“What each hospital trains and is tested on”, and "
     "each table of subgroups."),
    ("22", "Results: full model specification", "Weights follow from config and seeds; they are not kept."),
    ("23a", "Results: performance with intervals, also in key subgroups", "{level} intervals throughout; {subgroups}."),
    ("23b", "Results: heterogeneity across clusters", "By hospital in every figure and table."),
    ("24", "Results: model updating", "{updated}"),
    ("25", "Discussion: interpretation, in context of earlier studies", "The verdicts by their stated rule; context is "
     "for the authors."),
    ("26", "Discussion: limitations", "“What was not done” and “What this shows about privacy”."),
    ("27a", "Usability: poor quality or missing input", "Missing values are filled as in training; not tried in use."),
    ("27b", "Usability: interaction and expertise needed", "Not applicable: no model is put to use by this study."),
    ("27c", "Usability: next steps, applicability, generalisability", _AUTHORS),
)  # fmt: skip


def checklist(view: View) -> Section:
    """Returns the checklist with what this study reports of each item."""
    said = _facts(view)
    rows = [[number, item, words.sentence(answer.format_map(said))] for number, item, answer in ITEMS]
    text = (
        "TRIPOD+AI lists what a report of a clinical prediction model owes its readers (Collins et al. 2024, BMJ 385: "
        "e078378). Items are named in short and filled from this study; what only people can answer is left to them."
    )
    table = Table("TRIPOD+AI items", ["item", "asks for", "in this study"], rows, words=True)
    folded = Fold(f"The {len(ITEMS)} items, filled as far as they can be", [table])
    return Section("tripod", "Reporting checklist (TRIPOD+AI)", [Text(text), folded], printed=False)


def _facts(view: View) -> Mapping[str, Any]:
    study, data = view.study, view.study["data"]
    kinds = {view.kind(arm) for arm in view.arms}
    left_out = "leave_one_out" in kinds
    return {
        "question": study["question"] or "The question at the top of this page; the title is for the authors.",
        "arms": words.listed([f"“{view.label(arm)}”" for arm in view.arms]),
        "external": "external evaluation by leaving a hospital out" if left_out else "no external evaluation",
        "data": data["name"],
        "synthetic": " (synthetic)" if data["synthetic"] else "",
        "hospitals": f"{view.hospitals_told}: {words.listed(view.hospitals)}",
        "preprocessing": data.get("preprocessing") or "none",
        "outcome": _outcome(view),
        "predictors": _predictors(data),
        "datasheet": "the data set's datasheet" if data.get("roles") is None else "the output of “fedmed data CONFIG”",
        "rows": "" if data["rows"] is None else f": {view.rows_told}",
        "patients": f" of {view.patients_told}" if view.patients_told else "",
        "splits": study["design"]["splits"],
        "measures": words.listed([measure["label"] for measure in study["measures"]], 20),
        "tuned": f"; {_tuned(study)}",
        "updating": _updating(kinds),
        "updated": _updated(view, kinds),
        "and_after": ", and after recalibration" if "recalibrated" in kinds else "",
        "needed": _needed(view),
        "references": _references(view),
        "fairness": "Not addressed in training; performance by subgroup is reported."
        if study["subgroups"]
        else "Not addressed in training, and no subgroup was looked at.",
        "output": _output(view),
        "left_out": ", except in the arm that leaves a hospital out" if left_out else "",
        "ethics": "Not applicable: the data are synthetic." if data["synthetic"] else _AUTHORS,
        "version": study["reproduce"]["versions"].get("fedmed", ""),
        "minimum_cell": study["minimum_cell"],
        "level": view.level,
        "subgroups": "by subgroup under “Subgroups”" if study["subgroups"] else "no subgroup was looked at",
    }


_UPDATES = {
    "recalibrated": "Recalibration at each hospital, cross-fitted on its tested patients, is an arm of its own.",
    "fine_tuned": "Fine-tuning at each hospital is an arm of its own.",
}


def _tuned(study: Mapping[str, Any]) -> str:
    if study["design"].get("tuning"):
        return "learning rates were searched for every arm, see “What was compared, and how”"
    compared = "; those of the algorithms compared were, see “Which algorithm”" if study.get("contest") else ""
    return f"learning rates are the config's, not searched for each arm{compared}"


def _updating(kinds: Set[str]) -> str:
    return " ".join(text for kind, text in _UPDATES.items() if kind in kinds) or "None was done."


def _updated(view: View, kinds: Set[str]) -> str:
    if not kinds & set(_UPDATES):
        return "None was done."
    shown = "The arms of item 12f stand in every table"
    return f"{shown}; see “What recalibration at each hospital buys”." if view.study["recalibration"] else f"{shown}."


def _needed(view: View) -> str:
    """Says which hospitals have the rows that a regression of their columns needs."""
    found = view.study["sample_size"]
    if not found:
        return ""
    rows = {own["id"]: own["train_rows"] for own in view.study["hospitals"] if own["train_rows"] is not None}
    told = {name: own for name, own in found["hospitals"].items() if own["needed"] is not None and name in rows}
    short = [f"{name} ({rows[name]:,} of {own['needed']:,})" for name, own in told.items() if not own["reached"]]
    reached = len(told) - len(short)
    said = f"{words.sentence(found['about'])} {reached} of {words.plural(len(told), 'hospital')} told reach it"
    said += f"; too few at {words.listed(short, 6)}. " if short else ". "
    both = found["all"]
    if both["needed"] is None:
        return said
    return f"{said}All together {'reach' if both['reached'] else 'do not reach'} it ({both['needed']:,} needed). "


def _references(view: View) -> str:
    found = view.study["references"]
    if not found:
        return "No reference model was trained."
    names = "; ".join(arm["label"] for arm in found["arms"] if arm["reference"])
    return f"Reference models, tuned by cross-validation on training rows: {names}."


def _predictors(data: Mapping[str, Any]) -> str:
    used, roles = len(data["features"]), data.get("roles")
    if roles is None:
        return f"All {used or 'input'} columns of the data set; none was selected."
    chosen = ", which “features” names" if "features" in roles else ""
    others = words.listed([f"“{role}”" for role in roles if role != "features"])
    return f"{words.plural(used, 'column')} of the table{chosen}; those that {others} name are not among them."


def _outcome(view: View) -> str:
    names = view.study["data"].get("class_names") or []
    if view.study["task"] == "binary" and len(names) > 1:
        return f"The event “{names[1]}”"
    if view.study["task"] == "multiclass":
        return f"One of {len(names) or view.study['data']['classes']} classes"
    return "A count" if view.study["task"] == "count" else "A number"


def _output(view: View) -> str:
    if view.study["task"] == "binary":
        specificity = f"{100 * view.study['specificity']:g} %" if view.study.get("specificity") else "a fixed"
        return f"A probability. Sensitivity is given at {specificity} specificity and net benefit over thresholds."
    return "Probabilities of classes." if view.study["task"] == "multiclass" else "A number; no threshold."
