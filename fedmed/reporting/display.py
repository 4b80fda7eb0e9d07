"""What fedmed.run and fedmed.study return: their results as mappings that show themselves, also in a notebook."""

import base64
import html
import os
import pathlib
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from fedmed.reporting import tables, trials
from fedmed.settings import config


class Shown(Mapping[str, Any]):
    """Results that can be read like the dict they are of, and not written to; `dict(result)` is that dict.

    Attributes:
        folder: where the files lie, as an absolute path.
    """

    def __init__(self, content: Mapping[str, Any], folder: pathlib.Path) -> None:
        self._content = dict(content)
        self.folder = folder.absolute()  # so that it is still found after a change of the current folder

    def __getitem__(self, key: str) -> Any:
        return self._content[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._content)

    def __len__(self) -> int:
        return len(self._content)


class RunResult(Shown):
    """What `summary.json` of a run holds."""

    def __repr__(self) -> str:
        return "\n".join([*tables.final_table(self), f"Results: {self.folder}"])

    def _repr_html_(self) -> str:
        columns = tables.cells(self)
        parts = [f"<p><b>{_text(tables.title(self))}</b></p>", _table(zip(*columns, strict=True))]
        parts += [f"<p>{_text(note)}</p>" for note in tables.notes(self)]
        parts += [*_picture(self.folder / "learning_curves.svg"), *_link(self.folder / "report.html")]
        return _whole(parts)


class StudyResult(Shown):
    """What `study.json` of a study holds."""

    def __repr__(self) -> str:
        return "\n".join([*verdicts(self), "", f"Page: {self.folder / 'report.html'}"])

    def _repr_html_(self) -> str:
        summary, rows = _said(self)
        verdict = [_table([("hospital", "verdict"), *rows], "left")] if rows else []
        warned = [f"<p><b>Warning.</b> {_text(text)}</p>" for text in self["warnings"]]
        return _whole([*warned, f"<p><b>{_text(summary)}</b></p>", *verdict, *_link(self.folder / "report.html")])


class TuningResult(Shown):
    """What `tuning.json` of a tuning holds."""

    @property
    def learning_rate(self) -> float | None:
        """The clients' learning rate that was chosen, None where training diverged at every rate."""
        return None if self["chosen"] is None else self["chosen"]["learning_rate"]

    @property
    def settings(self) -> config.RunConfig:
        """The config with what was chosen, as tuned.toml holds it; UserError where nothing was."""
        return config.load(self.folder / "tuned.toml")

    def __repr__(self) -> str:
        return "\n".join([*trials.console(self), f"Results: {self.folder}"])

    def _repr_html_(self) -> str:
        warned = [f"<p><b>Warning.</b> {_text(text)}</p>" for text in self["warnings"]]
        picture = _picture(self.folder / f"{trials.PICTURE}.svg", "Loss by learning rate")
        return _whole([*warned, f"<p><b>{_text(trials.answer(self))}</b></p>", _table(trials.rows(self)), *picture])


def verdicts(study: Mapping[str, Any]) -> list[str]:
    """Returns a study's answer in lines of text: the summary, then a sentence for each hospital."""
    summary, rows = _said(study)
    warned = [f"Warning. {tables.printable(text)}" for text in study["warnings"]]
    return [
        *warned,
        *(f"Note. {tables.printable(text)}." for text in study["notes"]),
        *([""] if warned or study["notes"] else []),
        summary,
        *([""] if rows else []),
        *(f"{hospital}: {sentence}" for hospital, sentence in rows),
        *_compared(study),
        *_stressed(study),
    ]


def _compared(study: Mapping[str, Any]) -> list[str]:
    """Returns what comparing algorithms has shown, in lines of text; none where nothing was compared."""
    found = study.get("contest")
    if not found:
        return []
    told = [f"{arm}: {own['sentence']}" for arm, own in found["arms"].items() if own["sentence"]]
    left = [f"{arm}: left out; {why}" for arm, why in found["left_out"].items()]
    return ["", tables.printable(found["summary"]), "", *map(tables.printable, [*told, *left])]


def _stressed(study: Mapping[str, Any]) -> list[str]:
    """Returns what trouble does, a line a scenario: the mean by the first rule, and the words by all."""
    found = study.get("stress")
    if not found:
        return []
    told = []
    for row in found["scenarios"].values():
        told.append(f"{row['label']}: {', '.join(_cell(rule, own) for rule, own in row['rules'].items())}")
    left = [f"{name}: not here; {why}" for name, why in found["left_out"].items()]
    return ["", tables.printable(found["summary"]), "", *map(tables.printable, [*told, *left])]


def _cell(rule: str, own: Mapping[str, Any]) -> str:
    mean, told = own["mean"]["estimate"], own["difference"]
    if mean is None:
        return f"{rule} {'diverged' if own['diverged'] else 'no figure'}"
    word = f" {told['word']}" if told and told["word"] in ("better", "worse") else ""
    return f"{rule} {mean:.3f}{word}"


def _said(study: Mapping[str, Any]) -> tuple[str, list[tuple[str, str]]]:
    """Returns the summary and, for each hospital, its name and its verdict; names cannot command a terminal."""
    answer = study["answer"]
    if answer is None:
        return "There is one arm only, so nothing to compare.", []
    rows = [(name, own["sentence"].removeprefix(f"{name}: ")) for name, own in answer["hospitals"].items()]
    return tables.printable(answer["summary"]), [(tables.printable(n), tables.printable(s)) for n, s in rows]


def _whole(parts: Iterable[str]) -> str:
    """Returns the parts as one; notebooks would otherwise set what is between two dollars of a name as a formula."""
    return "\n".join(['<div class="tex2jax_ignore mathjax_ignore">', *parts, "</div>"])


def _text(text: str) -> str:
    """Returns text as HTML; a hospital's name is the user's and may hold anything."""
    return html.escape(text)


def _table(rows: Iterable[Sequence[str]], align: str = "right") -> str:
    """Returns rows of cells as an HTML table; the first row is its header, the first cell of each a row's name."""
    header, *body = rows
    lines = [_row(cells, "td", align) for cells in body]
    return f"<table>\n<thead>{_row(header, 'th', align)}</thead>\n<tbody>{''.join(lines)}</tbody>\n</table>"


def _row(cells: Sequence[str], kind: str, align: str) -> str:
    first, *others = map(_text, cells)
    rest = "".join(f'<{kind} style="text-align:{align}">{cell}</{kind}>' for cell in others)
    return f'<tr><th style="text-align:left">{first}</th>{rest}</tr>\n'


def _picture(file: pathlib.Path, about: str = "Learning curves") -> list[str]:
    """Returns an SVG as an image of its own: written into the page, its ids would be those of another run's too."""
    if not file.is_file():
        return []
    data = base64.b64encode(file.read_bytes()).decode()
    return [f'<img alt="{about}" style="max-width:100%" src="data:image/svg+xml;base64,{data}"/>']


def _link(file: pathlib.Path) -> list[str]:
    """Returns a link to a file, relative where it lies below the current folder, which is a notebook's own.

    A browser opens no file:// from a notebook's server, so the path is told as well.
    """
    if not file.is_file():
        return []
    here = pathlib.Path.cwd()
    below = file.is_relative_to(here)
    target = urllib.parse.quote(file.relative_to(here).as_posix()) if below else file.as_uri()
    return [f'<p><a href="{_text(target)}" target="_blank">Report</a>: {_text(os.fspath(file))}</p>']
