"""The page of a study, in the order in which a committee asks."""

import pathlib
from collections.abc import Callable
from typing import Any

from fedmed.reporting.page import (
    calibration,
    cohort,
    comparing,
    contributing,
    decision,
    differences,
    growing,
    instead,
    learning,
    limits,
    price,
    promise_price,
    render,
    rivals,
    subgroups,
    suspected,
    together,
    tripod,
    under_trouble,
    verdict,
    what_leaks,
    words,
)
from fedmed.reporting.page.blocks import Page, Section
from fedmed.reporting.page.view import View

_SECTIONS: tuple[Callable[[View], Section | None], ...] = (
    suspected.doubts,
    comparing.performance,
    comparing.differences,
    together.section,
    instead.references,
    rivals.section,
    under_trouble.section,
    calibration.calibration,
    instead.recalibration,
    decision.decision,
    subgroups.subgroups,
    cohort.table_one,
    differences.shift,
    comparing.arms,
    learning.learning,
    growing.grow,
    growing.external,
    growing.scenarios,
    price.communication,
    contributing.of_study,
    promise_price.section,
    what_leaks.section,
    price.seeds,
    price.truth,
    limits.not_done,
    limits.privacy,
    tripod.checklist,
    limits.again,
)


def write_study(study: dict[str, Any], folder: pathlib.Path) -> None:
    """Writes report.html and report.md to `folder`.

    Args:
        study: study.json, as docs/results.md says.
        folder: an existing directory.
    """
    render.write(page_of(View(study)), folder)


def page_of(view: View) -> Page:
    """Returns a study's page."""
    study = view.study
    sections = [section for make in _SECTIONS if (section := make(view)) is not None]
    answer, findings = study.get("answer"), verdict.findings(view)
    summary = answer["summary"] if answer else "The study has no two arms to compare, so it gives no verdict."
    return Page(
        kind="Hospital study",
        name=study["name"],
        question=study["question"] or f"Does federated training help each of these {view.hospitals_told}?",
        summary=words.sentence(summary),
        findings=findings,
        groups=verdict.groups(findings),
        together=[
            text
            for text in (
                together.headline(view),
                instead.headline(view),
                rivals.headline(view),
                under_trouble.headline(view),
                verdict.miscalibrated(view),
            )
            if text
        ],
        overview=verdict.overview(findings),
        warnings=[words.sentence(text) for text in study["warnings"]],
        notes=[*verdict.notes(view), *(words.sentence(text) for text in study["notes"])],
        sections=sections,
    )
