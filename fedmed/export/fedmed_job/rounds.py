"""The federation's rounds as the server sees them, however messages travel: sums, training, scores."""

import json
import logging
import pathlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from . import server_step, shared_sums
from .job import Array, Job, JobError, Weights, packed
from .site_part import Message, Reply

Ask = Callable[[Message], Mapping[str, Reply]]
"""Sends a message to every hospital and returns the answers of those that gave one, by name."""

_LOG = logging.getLogger(__name__)


class Outcome(NamedTuple):
    """What comes of the job.

    Attributes:
        weights: what was trained, then moving statistics.
        recipe: how rows become inputs, as JSON.
        losses: mean loss over all training rows, of each round.
        rows: that each hospital has trained on.
        scores: of each hospital on its own test rows.
        differences: where the hospitals' rows call for other inputs than the job was made with.
    """

    weights: list[Array]
    recipe: str
    losses: list[float]
    rows: dict[str, int]
    scores: dict[str, dict[str, float]]
    differences: list[str]


def run(job: Job, initial: Weights, ask: Ask, rounds: int | None = None) -> Outcome:
    """Runs the job. A round without every hospital's answer is no round: the job ends.

    Args:
        job: that was exported.
        initial: weights that it begins with.
        ask: how messages travel.
        rounds: default the job's.

    Raises:
        JobError: a hospital has not answered, cannot, or sends weights that are not finite.
    """
    told = _all(job, ask(Message("sums")), "the sums")
    recipe, differences = shared_sums.fitted(job, [told[site].arrays for site in job.sites])
    for line in differences:
        _LOG.warning("inputs: %s", line)
    state, losses = server_step.started(job.server, initial.sent, len(initial.trainable)), []
    for round_ in range(job.rounds if rounds is None else rounds):
        message = Message("train", round_, recipe.to_json(), tuple(state.weights))
        replies = _all(job, ask(message), f"round {round_ + 1}")
        state, loss = _stepped(job, state, [replies[site] for site in job.sites])
        losses.append(loss)
        _LOG.info("round %d: loss %.4f", round_ + 1, loss)
    final = Message("score", len(losses), recipe.to_json(), tuple(state.weights))
    scored = _all(job, ask(final), "the scores")
    scores = {site: scored[site].numbers for site in job.sites}
    rows = {site: int(told[site].arrays["rows"][0]) for site in job.sites}
    return Outcome(state.weights, recipe.to_json(), losses, rows, scores, differences)


def _all(job: Job, replies: Mapping[str, Reply], what: str) -> Mapping[str, Reply]:
    if not replies:  # frameworks give up the whole round where one hospital fails
        raise JobError(
            f"{what}: no answer came: the job was stopped, or a hospital has failed; the hospitals' logs tell"
        )
    for site in job.sites:
        if site not in replies:
            raise JobError(f"{what}: {site} has not answered")
        if replies[site].trouble:
            raise JobError(f"{what}: {site}: {replies[site].trouble}")
    return replies


def _stepped(job: Job, state: server_step.State, replies: list[Reply]) -> tuple[server_step.State, float]:
    updates = [[reply.arrays[f"w{place}"] for place in range(len(state.weights))] for reply in replies]
    for site, update in zip(job.sites, updates, strict=True):
        if not all(np.isfinite(part).all() for part in update):
            raise JobError(f"{site}: its update is not finite; training diverged, so try a smaller learning rate")
    rows = [reply.numbers["rows"] for reply in replies]
    shares = rows if job.server.weighting == "examples" else [1.0] * len(rows)
    loss = float(np.average([reply.numbers["loss"] for reply in replies], weights=rows))
    return server_step.moved(job.server, state, server_step.mean(updates, shares)), loss


def write(job: Job, initial: Weights, outcome: Outcome, folder: pathlib.Path) -> None:
    """Leaves `weights.npz` and `results.json` in a folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    count = len(initial.trainable)
    trained = Weights(outcome.weights[:count], outcome.weights[count:], initial.fixed)
    (folder / "weights.npz").write_bytes(packed(trained))
    told = {
        "job": job.name,
        "rounds": len(outcome.losses),
        "training_loss": outcome.losses,
        "training_rows": outcome.rows,
        "scores": outcome.scores,
        "differences": outcome.differences,
        "columns": [column.name for column in job.columns],
        "inputs": shared_sums.input_names(job),
        "recipe": json.loads(outcome.recipe),
    }
    (folder / "results.json").write_text(json.dumps(told, indent=1), encoding="utf-8")
