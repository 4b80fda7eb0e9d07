"""docs/results.md, what the files of results hold: `python -m fedmed.study.schema.page docs/results.md` writes it."""

import pathlib
import sys

from fedmed.reporting import reference
from fedmed.runs.summary import RoundRecord, Summary
from fedmed.study.schema.findings import Findings
from fedmed.study.schema.tuned import Tuning
from fedmed.system import files

_TITLE = "What the files of results hold"
_INTRO = """\
For whoever reads them by program. This page is generated from the types that the files are written from, in
`fedmed/study/schema` and `fedmed/runs/summary.py`.

All is strict JSON: no NaN and no infinity; what has no value is `null`, and every field is always there. Fields are
only ever added to schema 1. `rounds.jsonl` has an object a line, any other file is one object."""


def text() -> str:
    """Returns the page."""
    kinds = {"study.json": Findings, "summary.json": Summary, "rounds.jsonl": RoundRecord, "tuning.json": Tuning}
    return reference.page(_TITLE, _INTRO, kinds)


if __name__ == "__main__":
    files.write_atomically(pathlib.Path(sys.argv[1]), text())
