"""What a run gives account of: a record of each round, and the summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fedmed.data import faults
from fedmed.data.clients import Clients
from fedmed.engine import attendance, contributions, worth
from fedmed.engine.contributions import Attendance, Contribution
from fedmed.learning import aggregators, fixed_point
from fedmed.runs import cautions, skill
from fedmed.runs.directory import checksum
from fedmed.runs.summary import ClientResult, ModelResult, RoundRecord, RunData, Scores, Summary, Traffic
from fedmed.settings import config
from fedmed.statistics.metrics import METRICS
from fedmed.statistics.worst_served import WorstServed, worst_served
from fedmed.system import machine

if TYPE_CHECKING:
    from fedmed.engine.evaluation import Evaluator, Predicted
    from fedmed.engine.federation import Done, Federation, Position
    from fedmed.engine.promises import Promises


def untrained() -> RoundRecord:
    """Returns the record of round 0."""
    return RoundRecord(
        round=0, learning_rate=None, cohort=(), absent={}, late={}, partial={}, examples=0, train=None, refused=(),
        test=None, bytes_down=0, bytes_up=0, seconds=0.0, clock_seconds=0.0, evaluation_seconds=0.0, privacy=None,
        memory_mb=machine.memory_mb(),
    )  # fmt: skip


def record(done: Done, classes: int, promises: Promises | None) -> RoundRecord:
    """Returns a round's record; sums become means only here, over the clients whose update was used."""
    train, examples = None, 0
    if done.sums:
        used = done.sums["accepted"] > 0
        examples = int(done.sums["examples"][used].sum())
        if examples and "loss" in done.sums:  # secure sums leave it at home
            loss, right = (float(done.sums[name][used].sum(dtype=np.float64)) for name in ("loss", "hits"))
            train = {"loss": loss / examples, "accuracy" if classes else "mse": right / examples}
    return RoundRecord(
        round=done.position.round,
        learning_rate=done.learning_rate,
        cohort=done.cohort,
        absent=done.absent,
        late=done.late,
        partial=done.partial,
        examples=examples,
        train=train,
        refused=done.refused,
        test=None,
        bytes_down=done.bytes_down,
        bytes_up=done.bytes_up,
        seconds=None if _who_is_secret(promises) else done.seconds,
        clock_seconds=done.clock_seconds,
        evaluation_seconds=0.0,
        privacy=None if promises is None else promises.ledger(done.position.round),
        memory_mb=machine.memory_mb(),
    )


def _who_is_secret(promises: Promises | None) -> bool:
    """Tells whether hospitals are promised that nobody learns who took part, as a time of this machine would tell."""
    return promises is not None and promises.unit == "hospital"


def result(
    position: Position, p: Predicted, federation: Federation, clients: Clients, evaluator: Evaluator
) -> ModelResult:
    """Returns how good a position is, by its predictions."""
    scores, reasons = evaluator.clients(p), evaluator.undefined(p)
    by_client = {
        client: ClientResult(
            train_rows=len(clients.train[client]),
            test_rows=len(clients.test[client]) if client in clients.test else 0,
            scores=scores.get(client, {}),
            undefined=reasons.get(client, {}),
        )
        for client in federation.clients
    }
    return ModelResult(position.round, evaluator.pooled(p), over_clients(clients, scores), by_client)


def over_clients(clients: Clients, scores: Mapping[str, Scores]) -> dict[str, WorstServed]:
    """Returns each metric over the clients that have it; of few rows of its own a client's figure is little but noise.

    Args:
        clients: with their rows.
        scores: of each client that was scored.
    """
    own = {client: len(clients.test[client]) if client in clients.test else 0 for client in clients.train}
    told = {client: {} if 0 < rows < _FEWEST_ROWS else scores.get(client, {}) for client, rows in own.items()}
    by_metric = {
        metric.name: worst_served({client: of.get(metric.name) for client, of in told.items()}, metric.better)
        for metric in METRICS[clients.dataset.task]
    }
    return {name: found for name, found in by_metric.items() if found is not None}


def summary(
    settings: config.RunConfig,
    clients: Clients,
    federation: Federation,
    evaluator: Evaluator,
    *,
    last: Position,
    best: Position,
    records: Sequence[Mapping[str, Any]],
    facts: Mapping[str, Any],
    metric: str,
    stopped: Literal["rounds", "target", "patience", "budget"],
    model_file: str | None,
) -> Summary:
    """Returns what a run has found.

    Args:
        settings: of the run.
        clients: with their rows.
        federation: that was trained.
        evaluator: of it.
        last: where it stands.
        best: where it stood after the best round.
        records: of all rounds, as rounds.jsonl has them.
        facts: `refused`, counts by client, and `seconds` of the rounds.
        metric: that decides the best round.
        stopped: why there was no further round.
        model_file: the Keras model's.
    """
    data, size = clients.dataset, federation.weights_bytes
    told = contributions_of(federation, records)
    p, null = evaluator.predictions(last), skill.null_predicted(clients)
    final = result(last, p, federation, clients, evaluator)
    return Summary(
        schema=1,
        name=settings.name,
        missed=contributions.shortfalls(told, federation.shares),
        task=data.task,
        metric=metric,
        rounds=last.round,
        stopped=stopped,
        seconds=None if _who_is_secret(federation.promises) else facts["seconds"],
        clock_hours=sum(record["clock_seconds"] for record in records) / 3600,
        final=final,
        best=final
        if best.round == last.round
        else result(best, evaluator.predictions(best), federation, clients, evaluator),
        test=evaluator.how,
        traffic=Traffic(*(sum(record[way] for record in records) for way in ("bytes_down", "bytes_up"))),
        contributions=told,
        refused=dict(facts["refused"]),
        nothing_learned=cautions.nothing_learned(records),
        warnings=(
            *cautions.warnings(
                settings, data.task, records, stopped, skill.worse_at(clients, p, null), federation.befallen
            ),
            *_unsaved(federation, evaluator),
            *(() if federation.promises is None else worth.doubts(federation.promises)),
            *aggregators.doubts(settings.aggregation, attendance.cohort_size(settings.cohort, len(federation.clients))),
            *faults.warnings(faults.found(data), settings.data.preprocessing),
        ),
        parameters=size // _FLOAT32,
        weights_bytes=size,
        weights_sha256=checksum(federation.weights(last)),
        seed=settings.seed,
        data=RunData(data.name, data.checksums()),
        versions=machine.versions(),
        model_file=model_file,
        null=skill.null_scores(clients, evaluator, null),
        skill=skill.skills(evaluator, p, null),
        notes=(*data.notes, *((cautions.OWN_MODELS,) if federation.is_personal and federation.is_whole else ())),
        privacy=None if federation.promises is None else federation.promises.told(last.round),
        secure=settings.aggregation.secure,
        secure_error=_rounding(settings, federation.shares, size // _FLOAT32, records),
    )


def contributions_of(federation: Federation, records: Sequence[Mapping[str, Any]]) -> dict[str, Contribution]:
    """Returns what each client contributed; {} where hospitals are promised that who took part is not told."""
    if _who_is_secret(federation.promises):
        return {}
    rounds = [
        Attendance(*(record[name] for name in ("cohort", "absent", "late", "partial", "refused")))
        for record in records
        if record["round"]
    ]
    return contributions.of(rounds, federation.shares)


def _unsaved(federation: Federation, evaluator: Evaluator) -> tuple[str, ...]:
    """Returns the warning that the saved weights are not whole, where clients keep a part of them."""
    lacks = federation.is_personal and not federation.is_whole
    return (cautions.not_whole(evaluator.has_own_rows),) if lacks else ()


def _rounding(
    settings: config.RunConfig, shares: Mapping[str, float], values: int, records: Sequence[Mapping[str, Any]]
) -> float | None:
    """Returns by how much the rounding of secure sums moved their mean at most, as a share of the clip.

    A client that counts for little rounds as coarsely as any, so it matters who was there: that of the worst round.
    """
    own = settings.aggregation
    if not own.secure or own.clip_norm is None:
        return None
    cohort, clip = attendance.cohort_size(settings.cohort, len(shares)), own.clip_norm
    used = {tuple(c for c in one["cohort"] if c not in one["absent"] and c not in one["refused"]) for one in records}
    there = [clients for clients in used if clients] or [tuple(shares)]
    counted = [tuple(shares[client] for client in clients) for clients in there]
    return max(fixed_point.resolution(own.secure_bits, cohort, clip, values, each).worst for each in counted) / clip


_FLOAT32 = 4  # bytes
_FEWEST_ROWS = 5  # as on the page, which withholds the figures of fewer
