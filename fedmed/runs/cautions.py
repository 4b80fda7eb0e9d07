"""What a reader of a run must be warned of: nothing was learned, or too little, or less than the null model knows."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from fedmed.data.examples import Task
from fedmed.engine import scenarios
from fedmed.engine.promises import EVERYBODY
from fedmed.settings import config
from fedmed.statistics import loss_curves, metrics, null_model
from fedmed.system import errors

_SMALLER = "a smaller client.learning_rate may help"
_TUNE = "fedmed tune CONFIG looks for settings"
_NAMED = 5

ELSEWHERE = "labels may be at another level there than elsewhere, which a model of its own or fine-tuned can learn"


OWN_MODELS = (
    "each client is scored with a model of its own, made of what it keeps in kept/; weights.npz and model.keras are "
    "the global model"
)
_NOT_WHOLE = (
    "weights.npz and model.keras are not a whole model: the weights that the algorithm leaves to each client are there "
    "as they were before training, and trained in kept/ only; {scored}."
)


def not_whole(own_rows: bool) -> str:
    """Returns the warning of a global model that lacks what clients keep; `own_rows` are what clients are tested on."""
    pooled = "the scores over all test rows are of that model, those of the clients of their own"
    return _NOT_WHOLE.format(scored="scores are of the clients' own models" if own_rows else pooled)


def nothing_learned(records: Sequence[Mapping[str, Any]]) -> bool:
    """Returns whether there were rounds, and not one update could be used: none was finite, or nobody was there.

    A promise to hospitals keeps who took part to itself, so nothing can be said then.
    """
    if EVERYBODY in (records[-1].get("privacy") or {}):
        return False
    return len(records) > 1 and _senders(records) == sum(len(r["refused"]) for r in records)


def _senders(records: Sequence[Mapping[str, Any]]) -> int:
    return sum(len(r["cohort"]) - len(r["absent"]) for r in records)


def warnings(
    settings: config.RunConfig,
    task: Task,
    records: Sequence[Mapping[str, Any]],
    stopped: Literal["rounds", "target", "patience", "budget"],
    worse: tuple[Sequence[str], bool],
    whom: Sequence[Sequence[str]],
) -> tuple[str, ...]:
    """Returns, in sentences, what makes a run's figures worthless or doubtful although it came to its end.

    Args:
        settings: of the run.
        task: of the data.
        records: of all rounds, as rounds.jsonl has them.
        stopped: why there was no further round.
        worse: the clients at which the model is worse than the null model, and whether it is over all test rows.
        whom: the clients that each entry of the scenario befalls, by id; none where these are all.
    """
    return (*_of_training(settings, task, records, stopped, worse), *scenarios.warnings(settings, whom))


def _of_training(
    settings: config.RunConfig,
    task: Task,
    records: Sequence[Mapping[str, Any]],
    stopped: Literal["rounds", "target", "patience", "budget"],
    worse: tuple[Sequence[str], bool],
) -> tuple[str, ...]:
    if nothing_learned(records) and not _senders(records):
        why = sorted({reason for record in records for reason in record["absent"].values()})
        return (f"Nothing was learned: no client was there in any round ({', '.join(why[:_NAMED])}).",)
    if nothing_learned(records):
        advice = "as the scenario has it" if scenarios.refuses(settings) else _SMALLER
        return (f"Nothing was learned: no update of any client was finite; {advice}.",)
    rounds, losses = _curve(task, records)
    if loss_curves.has_diverged(losses):
        return (_diverged(task, losses),)
    found = [_course(settings, task, rounds, losses, stopped), _worse_than_null(task, *worse)]
    return tuple(text for text in found if text)


def _curve(task: Task, records: Sequence[Mapping[str, Any]]) -> tuple[list[int], list[float | None]]:
    """Returns the rounds that were scored, and the loss over all test rows after each."""
    scored = [(r["round"], r["test"]["pooled"].get(null_model.LOSS[task])) for r in records if r["test"]]
    return [number for number, _ in scored], [loss for _, loss in scored]


def _diverged(task: Task, losses: Sequence[float | None]) -> str:
    least = min(loss for loss in losses if loss is not None)
    return f"Training diverged: {_label(task)} {_shown(losses[-1])}, the least was {least:.3g}; {_SMALLER}, or {_TUNE}."


def _label(task: Task) -> str:
    return metrics.metric(task, null_model.LOSS[task]).label


def _shown(loss: float | None) -> str:
    return "not defined, since predictions are not finite" if loss is None else f"{loss:.3g}"


def _course(
    settings: config.RunConfig,
    task: Task,
    rounds: Sequence[int],
    losses: Sequence[float | None],
    stopped: Literal["rounds", "target", "patience", "budget"],
) -> str:
    if len(losses) < 2:
        return ""
    first, last = losses[0], losses[-1]
    if first is not None and last is not None and last > first:
        return f"The model is worse than before training: {_label(task)} {last:.3g}, untrained {first:.3g}; {_SMALLER}."
    share = loss_curves.still_improving(rounds, losses) if stopped == "rounds" else None
    if share is None:
        return ""
    return (
        f"Still improving at the last round: the last quarter of the rounds brought {share:.0%} of all improvement in "
        f"{_label(task)}; rounds = {2 * settings.rounds} would tell more, or {_TUNE}."
    )


def _worse_than_null(task: Task, named: Sequence[str], over_all: bool) -> str:
    if not named and not over_all:
        return ""
    where = [*(["over all test rows"] if over_all else [])]
    where += [f"at {errors.first_few(named, _NAMED)}"] if named else []
    advice = f"{_SMALLER}, or {_TUNE}" if over_all else ELSEWHERE
    return (
        f"The model is worse than predicting {null_model.LABEL[task]} of the training rows {' and '.join(where)}, "
        f"beyond noise (2 standard errors); {advice}."
    )
