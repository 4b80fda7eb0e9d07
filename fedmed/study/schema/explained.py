"""What is known without any model, and how much of what it leaves open each arm explains."""

import dataclasses
from collections.abc import Mapping

from fedmed.study.schema.asked import Scored
from fedmed.study.schema.compared import Performance
from fedmed.study.schema.shapes import Arm


@dataclasses.dataclass(frozen=True)
class Explained:
    """The null model beside the arms, and each arm's skill.

    Attributes:
        about: what the null model predicts, in words.
        null: its figures in the metrics that mean something for it, not in those of ranks, whose AUROC is 0.5.
        measures: the skills. `d2` is 1 - loss / loss of the null model: of the log loss, the squared error or the
            Poisson deviance, by task; `scaled_brier` the same of the Brier score.
        skill: of each arm. A hospital whose small count would follow has none and is left out of all together.
    """

    about: str
    null: Performance
    measures: tuple[Scored, ...]
    skill: Mapping[Arm, Performance]
