"""What tuning tried and chose: tuning.json, and a study's record of the rates that its arms were given."""

import dataclasses
from typing import Literal, TypeAlias

from fedmed.data.examples import Task
from fedmed.study.schema.shapes import Arm, Hospital, Settings

Fate: TypeAlias = Literal["trained", "diverged", "refused"]


@dataclasses.dataclass(frozen=True)
class RateTrial:
    """A candidate after some rounds.

    Attributes:
        learning_rate: of the clients.
        set: the other settings that were searched.
        rounds: that it was trained.
        loss: per validation row of all hospitals, the mean over seeds; null unless trained.
        by_seed: the same at each of `seeds`; null where it diverged.
        fate: "diverged" where the loss is not finite, "refused" where an update was not finite and not used.
    """

    learning_rate: float
    set: Settings
    rounds: int
    loss: float | None
    by_seed: tuple[float | None, ...]
    fate: Fate


@dataclasses.dataclass(frozen=True)
class Tuning:
    """What `fedmed tune` leaves in tuning.json.

    Attributes:
        schema: 1.
        name: of the config.
        task: what kind of label.
        measure: what the loss is called.
        learning_rate: the config's own.
        seeds: each has its own validation patients and training randomness, the same for all candidates.
        validation: share of each hospital's training patients that the loss is of; no test row is looked at.
        budgets: after how many rounds candidates are compared.
        trials: by `set`, then by rate, then by rounds.
        untrained: the loss before the first round, the mean over seeds; null where it is not finite.
        chosen: the best after all rounds; null where none was trained so far without diverging.
        warnings: sentences on what makes the choice doubtful.
    """

    schema: int
    name: str
    task: Task
    measure: str
    learning_rate: float
    seeds: tuple[int, ...]
    validation: float
    budgets: tuple[int, ...]
    trials: tuple[RateTrial, ...]
    untrained: float | None
    chosen: RateTrial | None
    warnings: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class TunedArm:
    """The learning rates that an arm was given in a study that tunes its arms.

    Attributes:
        arm: its name, or that of a point of the growing consortium.
        hospital: the one that trains alone, else null.
        learning_rates: at each seed.
        notes: in words, where a rate was not found in the ordinary way.
        set: the other settings that were searched, at each seed.
        trials: that were made, at each seed: candidates, each counted again where it goes on to more rounds.
        rounds: that they trained, at each seed.
    """

    arm: Arm
    hospital: Hospital | None
    learning_rates: tuple[float, ...]
    notes: tuple[str, ...]
    set: tuple[Settings, ...] = ()
    trials: tuple[int, ...] = ()
    rounds: tuple[int, ...] = ()
