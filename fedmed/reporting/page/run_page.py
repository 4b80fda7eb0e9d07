"""The page of a single run: how good its model is for each client, how it got there, and what it cost."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fedmed.reporting import tables
from fedmed.reporting.page import contributing, limits, plots, protection, render, words
from fedmed.reporting.page.blocks import (
    Block,
    Code,
    Figure,
    Finding,
    Fold,
    Items,
    Key,
    Page,
    Panel,
    Section,
    Table,
    Text,
)
from fedmed.reporting.page.drawing import Look
from fedmed.reporting.page.plots import Frame, Line
from fedmed.reporting.page.view import View
from fedmed.reporting.page.words import Notes
from fedmed.statistics import null_model
from fedmed.statistics.metrics import METRICS

MOST_CLIENTS = 50
_MOST_PANELS, _SMALL = 11, 5
_QUANTILES = (("lowest", 0), ("10 %", 10), ("median", 50), ("90 %", 90), ("highest", 100))
_NOT_DONE = (
    "This is one run with one seed and one split: its figures carry no intervals, and another seed gives others.",
    "Nothing was compared: whether joining helps a hospital is what “fedmed study” answers.",
)


def write_run(summary: dict[str, Any], records: Sequence[Mapping[str, Any]], folder: pathlib.Path) -> None:
    """Writes report.html and report.md of a run to its directory.

    Args:
        summary: as in summary.json.
        records: lines of rounds.jsonl.
        folder: the run directory; its config.toml is shown.
    """
    render.write(page_of(summary, records, folder), folder)


def page_of(summary: Mapping[str, Any], records: Sequence[Mapping[str, Any]], folder: pathlib.Path) -> Page:
    """Returns a run's page."""
    labels = {metric.name: metric.label for metric in METRICS[summary["task"]]}
    sections = [
        _results(summary, labels),
        _learning(summary, records, labels),
        _cost(summary, records),
        contributing.section(summary["contributions"]),
        Section("not-done", "What was not done", [Items([("", text) for text in _NOT_DONE])]),
        protection.section(summary["privacy"], what=_rounding(summary), secure=summary["secure"]),
        _again(summary, folder),
    ]
    return Page(
        kind="Federated run",
        name=summary["name"],
        question=f"{summary['name']}: how good is the model for each client?",
        summary=_summary(summary, labels),
        findings=_findings(summary, labels),
        warnings=[
            *(f"Not as planned: {text}" for text in summary["missed"]),
            *(words.sentence(text) for text in summary["warnings"]),
        ],
        notes=[words.sentence(text) for text in summary["notes"]],
        sections=[section for section in sections if section],
    )


def _summary(summary: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    final, best, name = summary["final"], summary["best"], summary["metric"]
    why = {"target": ", its target reached", "patience": ", no longer getting better"}.get(summary["stopped"], "")
    value = final["pooled"].get(name)
    shown = words.number(value) if value is not None else "not defined"
    text = f"After round {final['round']}{why}, {labels[name]} over all test rows is {shown}"
    if best["round"] != final["round"] and best["pooled"].get(name) is not None:
        text += f"; it was best after round {best['round']} ({words.number(best['pooled'][name])})"
    promise = f" {tables.promised(summary['privacy'])}" if summary["privacy"] else ""
    return f"{text}. Scored on {summary['test']}.{promise}"


def _findings(summary: Mapping[str, Any], labels: Mapping[str, str]) -> list[Finding]:
    clients = summary["final"]["clients"]
    if len(clients) > MOST_CLIENTS:
        return []
    name, found = summary["metric"], []
    for client, own in clients.items():
        value, reason = _value(own, name)
        plain = f"{labels[name]} {words.number(value)}" if value is not None else reason
        rows = f"{words.count(own['train_rows'])} training rows, {words.count(own['test_rows'])} test rows"
        found.append(Finding(client, "", "", "none" if value is None else "open", words.sentence(plain), rows + "."))
    return found


def _value(own: Mapping[str, Any], name: str) -> tuple[float | None, str]:
    """Returns a client's figure, or None and why there is none."""
    if 0 < own["test_rows"] < _SMALL:
        return None, f"withheld, fewer than {_SMALL} test rows"
    value = own.get(name)
    reason = (own.get("undefined") or {}).get(name) or "no test rows of its own, or not defined for them"
    return (value, "") if value is not None else (None, reason)


def _results(summary: Mapping[str, Any], labels: Mapping[str, str]) -> Section:
    clients, names = summary["final"]["clients"], [summary["metric"], *(n for n in labels if n != summary["metric"])]
    everyone = ["all, pooled", *_sums(clients), *(words.number(summary["final"]["pooled"].get(n)) for n in names)]
    notes, rows = Notes(), []
    if len(clients) > MOST_CLIENTS:
        for title, share in _QUANTILES:
            rows.append([title, *(_quantile(clients, key, share) for key in ("train_rows", "test_rows", *names))])
    else:
        for client, own in clients.items():
            told = [_value(own, n) for n in names]
            cells = [words.number(v) if v is not None else f"none [{notes.mark(reason)}]" for v, reason in told]
            rows.append([client, words.count(own["train_rows"]), words.count(own["test_rows"]), *cells])
    header = ["client", "training rows", "test rows", *(labels[n] for n in names)]
    general = "" if len(clients) <= MOST_CLIENTS else f"Quantiles over {len(clients)} clients, each column by itself."
    over = _over_clients(summary["final"]["over_clients"], names)
    said = [about(summary, labels[summary["metric"]]) for about in (tables.worst, tables.ranked)]
    table = Table(
        "Figures by client after the last round", header, [*rows, everyone, *over], notes.listed(general, *said)
    )
    return Section("results", "Results", [table, *_skill(summary, labels), *_refused(summary)])


def _over_clients(over: Mapping[str, Any], names: Sequence[str]) -> list[list[str]]:
    """Returns rows: each metric's mean over clients, the worst client and its name, the worst decile."""
    told = [own if (own := over.get(name)) and own["clients"] > 1 else {} for name in names]
    worst = [f"{words.number(own['value'])} ({own['worst']})" if own else words.NONE for own in told]
    means, deciles = ([words.number(own.get(key)) for own in told] for key in ("mean", "worst_decile"))
    rows = [("mean over clients", means), ("worst client", worst), ("worst decile", deciles)]
    return [[title, "", "", *cells] for title, cells in rows if set(cells) != {words.NONE}]


def _skill(summary: Mapping[str, Any], labels: Mapping[str, str]) -> list[Block]:
    """Returns the null model's figures by client, and the skill of the model."""
    if len(summary["final"]["clients"]) > MOST_CLIENTS:
        return []
    task, null, skill = summary["task"], summary["null"], summary["skill"]
    names, kinds = [name for name in labels if name not in null_model.NOT_FOR_RANKS], null_model.SKILLS[task]

    def row(title: str, nulls: Mapping[str, Any], own: Mapping[str, Any], told: bool) -> list[str]:
        values = [*(nulls.get(n) for n in names), *(own.get(k.name) for k in kinds)]
        return [title, *(words.number(value) if told and value is not None else words.NONE for value in values)]

    rows = [
        row(client, null["clients"].get(client, {}), skill["clients"].get(client, {}), client not in null["few"])
        for client in summary["final"]["clients"]
    ]
    header = ["client", *(labels[n] for n in names), *(k.label for k in kinds)]
    note = (
        f"The null model predicts {null_model.LABEL[task]} of the client's own training rows for every row. D² and the "
        "like are the share of its loss that the trained model explains: 1 is perfect, 0 no better, below 0 worse."
    )
    hidden = "Not shown where a client's count of 1 to 4 patients would follow." if null["few"] else ""
    everyone = row("all, pooled", null["pooled"], skill["pooled"], not null["few"])
    caption = "The null model's figures, and the skill of the trained one"
    return [Table(caption, header, [*rows, everyone], Notes().listed(note, hidden))]


def _sums(clients: Mapping[str, Any]) -> list[str]:
    """Returns all clients' rows, unless the one count that is hidden would follow from the others and the sum."""
    told = [[own[key] for own in clients.values()] for key in ("train_rows", "test_rows")]
    return ["hidden" if any(0 < n < _SMALL for n in counts) else words.count(sum(counts)) for counts in told]


def _quantile(clients: Mapping[str, Any], key: str, share: float) -> str:
    known = [own[key] for own in clients.values() if own.get(key) is not None]
    value = float(np.percentile(known, share)) if known else None
    return words.count(value) if key.endswith("rows") and value is not None else words.number(value)


def _refused(summary: Mapping[str, Any]) -> list[Block]:
    refused = [f"{client} ({times} times)" for client, times in (summary.get("refused") or {}).items()]
    if not refused:
        return [Text("No update was refused.")]
    return [Text(f"Not averaged, since the update was not finite: {words.listed(refused)}.", "Refused updates.")]


def _learning(
    summary: Mapping[str, Any], records: Sequence[Mapping[str, Any]], labels: Mapping[str, str]
) -> Section | None:
    tested = [record for record in records if record.get("test")]
    if not tested:
        return None
    name, label = summary["metric"], labels[summary["metric"]]
    rounds = [record["round"] for record in tested]
    pooled = [record["test"]["pooled"].get(name) for record in tested]
    clients = list(tested[-1]["test"].get("clients") or {})
    drawn = [c for c in clients if _value(summary["final"]["clients"][c], name)[0] is not None][:_MOST_PANELS]
    own = {client: [((r["test"].get("clients") or {}).get(client) or {}).get(name) for r in tested] for client in drawn}
    seen = [value for values in (pooled, *own.values()) for value in values if value is not None]
    room = 0.04 * (max(seen) - min(seen)) if seen else 0.0
    frame = Frame("round", label, ylim=(min(seen) - room, max(seen) + room) if room else None, whole=True)
    width, panels = View.width(1 + len(drawn)), []
    for title, values in (("all, pooled", pooled), *own.items()):
        lines = [Line(rounds, pooled, Look("muted", (3, 2)), width=1.0), Line(rounds, values, Look("blue"))]
        panels.append(Panel(title, plots.lines_chart(lines, frame, f"{label} of {title} by round", width)))
    places = sorted({0, len(rounds) // 2, len(rounds) - 1})
    rows = [
        [title, *(words.number(values[k]) for k in places)] for title, values in (("all, pooled", pooled), *own.items())
    ]
    table = Table(f"{words.capital(label)} by round", ["client", *(f"round {rounds[k]}" for k in places)], rows)
    read = f"{words.capital(label)} on test rows after each round; dashed in grey, all test rows together."
    keys = [Key("this client", "blue"), Key("all, pooled", "muted", "3 2")]
    return Section(
        "learning", "Learning curves", [Figure(f"{words.capital(label)} by round", read, panels, [table], keys)]
    )


def _cost(summary: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> Section:
    traffic, rounds = summary["traffic"], summary["rounds"]
    asked, absent = (_mean_of(records, key) for key in ("cohort", "absent"))
    rows = [
        ["rounds", f"{rounds:,}"],
        ["one model", f"{words.size(summary['weights_bytes'])}, {summary['parameters']:,} parameters"],
        ["sent to clients, all rounds", words.size(traffic["bytes_down"])],
        ["sent by clients, all rounds", words.size(traffic["bytes_up"])],
        ["clients asked in a round, mean", f"{asked:,g}" if asked else "not told, as who takes part is promised"],
        *([["of them absent, mean", f"{absent:,g}"]] if absent else []),
        ["all rounds among hospitals, by the virtual clock", words.seconds(3600 * summary["clock_hours"])],
    ]
    return Section("communication", "What it costs", [Table("Communication", ["what", "how much"], rows)])


def _rounding(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    if summary["secure_error"] is None:
        return []
    said = f"It moves the mean of the updates by at most {summary['secure_error']:.2g} of the clip, in L2 norm."
    return [("The rounding of secure sums.", said)]


def _mean_of(records: Sequence[Mapping[str, Any]], key: str) -> float:
    """Returns how many clients a round lists under a key, mean over rounds."""
    return round(float(np.mean([len(record[key]) for record in records if record["round"]] or [0])), 2)


def _again(summary: Mapping[str, Any], folder: pathlib.Path) -> Section:
    config = folder / "config.toml"
    blocks: list[Block] = [Text(f"{summary['seed']}", "Seed.")]
    if "model_file" in summary and summary["model_file"] is None:
        blocks.append(Text(words.sentence(tables.NOT_SAVED), "There is no model.keras."))
    checksums = {**summary["data"]["checksums"], "weights": summary["weights_sha256"]}
    told: list[Block] = [
        limits.facts("Versions", "package", "version", summary["versions"]),
        limits.facts(f"Checksums of “{summary['data']['name']}” and of the weights", "array", "SHA-256", checksums),
    ]
    if config.is_file():
        told.insert(0, Code("Config, with every default", config.read_text()))
    blocks.append(Fold("Config, versions and checksums", told))
    return Section("reproduce", "To make it again", blocks)
