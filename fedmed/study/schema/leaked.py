"""What attacks on a study's own models found."""

import dataclasses
from collections.abc import Mapping

from fedmed.study.schema.shapes import Estimate, Hospital


@dataclasses.dataclass(frozen=True)
class Exposed:
    """How far members of the training patients can be told from others, at a hospital or over all.

    Attributes:
        patients: that were attacked.
        auc: chance that a member is ranked above another patient; 0.5 is guessing.
        caught: by the share of others that may be taken for members, the share of members that is recognised.
    """

    patients: int | None
    auc: Estimate
    caught: Mapping[str, Estimate]


@dataclasses.dataclass(frozen=True)
class MembershipFound:
    """A membership attack on one training.

    Attributes:
        training: which.
        control: whether it is there to show that the attack works.
        models: how many shadow models it took.
        hospitals: of each one's patients.
        all: of all patients together.
        loss_auc: the AUC of the plain attack by the loss, over all.
    """

    training: str
    control: bool
    models: int
    hospitals: Mapping[Hospital, Exposed]
    all: Exposed
    loss_auc: Estimate


@dataclasses.dataclass(frozen=True)
class Rebuilt:
    """How close an attack came to the rows behind one update; no row is among it, but for public pictures.

    Attributes:
        scene: what the server saw.
        way: how it tried.
        rows: behind the update.
        reason: why it was not tried, "" where it was.
        distance: root mean square over columns, in SDs, from a true row to the nearest recovered one, median.
        other: from a true row to the nearest other patient's, median, among the rows that the hospital trains on and
            500 of the other hospitals'.
        guess: from a true row to the nearest of as many rows of others drawn at random, median.
        singled_out: share of the rows to which the attack came closer than any of these other patients is.
        psnr: of pictures, in dB, median; a picture and its recovered one are alike beyond 30.
        pictures: of public data, the true and the recovered ones as PNG in base64; else empty.
    """

    scene: str
    way: str
    rows: int
    reason: str
    distance: float | None
    other: float | None
    guess: float | None
    singled_out: float | None
    psnr: float | None
    pictures: tuple[tuple[str, ...], ...]


@dataclasses.dataclass(frozen=True)
class Audited:
    """What one run says of a promise.

    Attributes:
        promise: in words.
        control: whether its noise was switched off, to show that the audit can refute.
        claim: the epsilon that is promised for the canaries.
        bound: epsilon is at least this, at 95 % confidence.
        ceiling: the bound if all guesses were right: a claim above it cannot be refuted.
        canaries: how many there were.
        sentence: the finding.
    """

    promise: str
    control: bool
    claim: float
    bound: float
    ceiling: float
    canaries: int
    sentence: str


@dataclasses.dataclass(frozen=True)
class Leakage:
    """What attacks found.

    Attributes:
        membership: was this patient's record trained on?
        rebuilt: which rows can be rebuilt from an update, by hospital.
        audits: can one run refute a promise? Empty where nothing is promised to patients.
    """

    membership: tuple[MembershipFound, ...]
    rebuilt: Mapping[Hospital, tuple[Rebuilt, ...]]
    audits: tuple[Audited, ...]
