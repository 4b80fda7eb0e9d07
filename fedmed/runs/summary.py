"""The values that summary.json and the lines of rounds.jsonl are made of; docs/results.md is generated from them."""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

from fedmed.data.examples import Task
from fedmed.engine.contributions import Contribution
from fedmed.engine.promises import PromisesTold
from fedmed.statistics.worst_served import WorstServed
from fedmed.system import plain

Client: TypeAlias = Annotated[str, "CLIENT", "a client's id"]
MetricKey: TypeAlias = Annotated[str, "METRIC", "such as accuracy, loss or auroc; which there are depends on the task"]
Package: TypeAlias = Annotated[str, "PACKAGE", "a package, or `python`, `architecture` or `platform`"]
ArrayName: TypeAlias = Annotated[str, "ARRAY", "an array of the data set, such as `train.x`"]

Scores: TypeAlias = Mapping[MetricKey, float | None]


@dataclasses.dataclass(frozen=True)
class ClientResult:
    """A client's part in a result.

    Attributes:
        train_rows: its training rows.
        test_rows: its own test rows; 0 where it has none.
        scores: the metric on its test rows, or on the shared ones weighted by its label mix; null where it is not
            defined. Without any rows to be scored on there is none.
        undefined: why a metric is null, in words.
    """

    train_rows: int
    test_rows: int
    scores: Scores = dataclasses.field(metadata=plain.INLINE)
    undefined: Mapping[MetricKey, str]


@dataclasses.dataclass(frozen=True)
class ModelResult:
    """How good the global model is after a round.

    Attributes:
        round: 0 is before training.
        pooled: over all test rows.
        over_clients: each metric's mean over clients, the worst client and the worst decile. A client with 1 to 4 test
            rows of its own counts as without a figure; a metric that no client has is left out.
        clients: each of them.
    """

    round: int
    pooled: Scores
    over_clients: Mapping[MetricKey, WorstServed]
    clients: Mapping[Client, ClientResult]


@dataclasses.dataclass(frozen=True)
class ScoresByClient:
    """Scores of something after the last round.

    Attributes:
        pooled: over all test rows; null where one is not defined.
        clients: of each client with rows to be scored on.
    """

    pooled: Scores
    clients: Mapping[Client, Scores]


@dataclasses.dataclass(frozen=True)
class NullScores(ScoresByClient):
    """Scores of the null model.

    Attributes:
        few: clients with 1 to 4 patients of some class, or 1 to 4 at all, among their training or their test rows: a
            page that is shared shows no figure of theirs, from which that count would follow.
    """

    few: tuple[Client, ...]


@dataclasses.dataclass(frozen=True)
class Traffic:
    """Bytes over all rounds and clients.

    Attributes:
        bytes_down: to clients.
        bytes_up: from clients.
    """

    bytes_down: int
    bytes_up: int


@dataclasses.dataclass(frozen=True)
class RunData:
    """The data set.

    Attributes:
        name: of the data set.
        checksums: the SHA-256 of each array.
    """

    name: str
    checksums: Mapping[ArrayName, str]


@dataclasses.dataclass(frozen=True)
class Summary:
    """What `fedmed run` finds. Counts of few patients are shown: it is made for those who hold the rows.

    Attributes:
        schema: of this page.
        name: of the config.
        missed: who was meant to contribute and did not, or much less, in sentences; the heaviest first.
        task: what kind of label.
        metric: that decides the best round and when to stop.
        rounds: that were done.
        stopped: by what: all rounds done, the target reached, or no more improvement.
        seconds: of the rounds, scoring left out; null under a promise to hospitals, as they tell how many took part.
        clock_hours: that the rounds would take among hospitals, by the virtual clock.
        final: after the last round.
        best: after the round with the best `metric`; chosen on test rows, so it is optimistic. The last round's where
            `metric` is defined over all test rows in none.
        test: where test rows come from, in words.
        traffic: what was sent.
        contributions: what each client was meant to contribute and did; empty where who took part is not told.
        refused: how many updates of a client were not used since they were not finite; clients without one are left
            out.
        nothing_learned: whether no update of any client could be used, so that the model is the untrained one.
        warnings: sentences on what makes these figures worthless or doubtful: no update could be used, training
            diverged or was still improving at its end, the model is worse than before training or than the null model,
            or the saved one lacks what clients keep to themselves.
        parameters: numbers in the model that training changes.
        weights_bytes: of these, float32.
        weights_sha256: of the final weights' float32 bytes, in order.
        seed: of the config.
        data: the data set.
        versions: of what results depend on, and the platform.
        model_file: the final Keras model, beside this file; null when Keras cannot save it.
        null: scores of predicting nothing but the mean, the prevalence or the class shares of the client's own
            training rows (for shared test rows over all: of all training rows).
        skill: of the final model: the share of the null model's loss that it explains. 1 is perfect, 0 no better than
            the null model. `d2` is of the log loss, the squared error or the Poisson deviance; `scaled_brier` of the
            Brier score.
        notes: sentences on how the data were taken, and on whose model is scored where clients have their own.
        privacy: what is promised to patients or to hospitals; null for nothing.
        secure: whether the server saw secure sums of updates only.
        secure_error: by how much rounding moved their mean at most, in the round whose clients count for least, as a
            share of the clip; null without them.
    """

    schema: Literal[1]
    name: str
    missed: tuple[str, ...]
    task: Task
    metric: MetricKey
    rounds: int
    stopped: Literal["rounds", "target", "patience", "budget"]
    seconds: float | None
    clock_hours: float
    final: ModelResult
    best: ModelResult
    test: str
    traffic: Traffic
    contributions: Mapping[Client, Contribution]
    refused: Mapping[Client, int]
    nothing_learned: bool
    warnings: tuple[str, ...]
    parameters: int
    weights_bytes: int
    weights_sha256: str
    seed: int
    data: RunData
    versions: Mapping[Package, str]
    model_file: str | None
    null: NullScores
    skill: ScoresByClient
    notes: tuple[str, ...]
    privacy: PromisesTold | None
    secure: bool
    secure_error: float | None


@dataclasses.dataclass(frozen=True)
class RoundTest:
    """Scores after a round.

    Attributes:
        pooled: over all test rows.
        over_clients: as in summary.json; null where `clients` is.
        clients: on each client's own test rows; null with many clients or a shared test set.
    """

    pooled: Scores
    over_clients: Mapping[MetricKey, WorstServed] | None
    clients: Mapping[Client, Scores] | None


@dataclasses.dataclass(frozen=True)
class RoundRecord:
    """A round. The first is round 0: the scores before training.

    Attributes:
        round: its number.
        learning_rate: of the clients; null at round 0.
        cohort: who was asked to take part.
        absent: those of the cohort who took no part, to why; all of it where too few stayed to open a secure sum.
        late: those whose update was computed on older weights, to how many updates old these were.
        partial: those who took a part of their local steps only, to what share.
        examples: rows trained on by the clients whose update was used, a row counting once an epoch.
        train: mean loss, and accuracy or mean squared error, over these, before each step; null without any, and
            under secure sums.
        refused: those of the cohort whose update was not finite and so not used.
        test: null in rounds that are not scored.
        bytes_down: to the cohort, but for those known to be away.
        bytes_up: from those of it who were there.
        seconds: of training; null under a promise to hospitals, as they tell how many took part.
        clock_seconds: that the round would take among hospitals, by the virtual clock; under a promise to hospitals,
            what one would take that all were asked in.
        evaluation_seconds: of scoring.
        privacy: an epsilon by client that is not exceeded after the round, under "all hospitals" where it is promised
            to them; who took part is then not told. Null where nothing is promised;
            an epsilon is null where there is no noise; empty with more than 50 promises.
        memory_mb: resident, of the process and its children.
    """

    round: int
    learning_rate: float | None
    cohort: tuple[Client, ...]
    absent: Mapping[Client, str]
    late: Mapping[Client, int]
    partial: Mapping[Client, float]
    examples: int
    train: Mapping[MetricKey, float] | None
    refused: tuple[Client, ...]
    test: RoundTest | None
    bytes_down: int
    bytes_up: int
    seconds: float | None
    clock_seconds: float
    evaluation_seconds: float
    privacy: Mapping[Client, float | None] | None
    memory_mb: float
