"""What each client was meant to contribute to a federation and what it did: planned against real, by rounds."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, TypeAlias

import numpy as np

Why: TypeAlias = Annotated[str, "WHY", "such as `dropped out`, `left after round 10` or `missed the deadline`"]

LEFT, NEVER = "left after round", "never joined"
"""What the reason begins with of a client that is gone for good."""

_MUCH = 0.75  # who is there in no more than this share of the rounds is named
_NAMED = 3  # at least; of those that are gone for good so many:
_GONE_NAMED = 10


@dataclasses.dataclass(frozen=True)
class Attendance:
    """Who was asked in a round and what became of it, by client: absent to why, late and partial to how much."""

    cohort: Sequence[str]
    absent: Mapping[str, str]
    late: Mapping[str, int]
    partial: Mapping[str, float]
    refused: Sequence[str]


@dataclasses.dataclass(frozen=True)
class Contribution:
    """What a client contributed over all rounds.

    Attributes:
        asked: rounds in which it was asked to take part.
        used: of them, those in which its update was used.
        last: the last of these; null where there was none.
        absent: why it took no part, to in how many of the rounds.
        refused: rounds in which its update was not finite and so not used.
        late: rounds in which its update was computed on older weights.
        partial: rounds in which it took a part of its local steps only.
        planned_share: its mean share of the weight of all who were asked, over all rounds; under a rule that counts
            clients alike each weighs the same. Null in a study where a client's small count would follow.
        real_share: its mean share of the weight of all whose update was used; rounds without any count as 0. A rule
            such as krum then picks among these updates, which is not told. Null likewise.
    """

    asked: int
    used: int
    last: int | None
    absent: Mapping[Why, int]
    refused: int
    late: int
    partial: int
    planned_share: float | None
    real_share: float | None


def of(rounds: Iterable[Attendance], shares: Mapping[str, float]) -> dict[str, Contribution]:
    """Returns each client's contribution.

    Args:
        rounds: the first is round 1; none where who took part is not told.
        shares: the weight of each client's update in the aggregate, by id.
    """
    clients, all_ = list(shares), list(rounds)
    place = {client: number for number, client in enumerate(clients)}
    weight = np.array(list(shares.values()), np.float64)
    asked, used, last, late, partial, refused = (np.zeros(len(clients), np.int64) for _ in range(6))
    planned, real = np.zeros(len(clients)), np.zeros(len(clients))
    why: dict[str, dict[str, int]] = {}
    for number, one in enumerate(all_, start=1):
        there = [place[client] for client in one.cohort]
        gone = {*one.absent, *one.refused}
        came = [place[client] for client in one.cohort if client not in gone]
        asked[there] += 1
        used[came] += 1
        last[came] = number
        for counts, who in ((late, one.late), (partial, one.partial), (refused, one.refused)):
            counts[[place[client] for client in who]] += 1
        for total, who in ((planned, there), (real, came)):
            total[who] += weight[who] / max(weight[who].sum(), 1e-30)
        for client, reason in one.absent.items():
            own = why.setdefault(client, {})
            own[reason] = own.get(reason, 0) + 1
    count = max(1, len(all_))
    return {
        client: Contribution(
            asked=int(asked[k]),
            used=int(used[k]),
            last=int(last[k]) or None,
            absent=why.get(client, {}),
            refused=int(refused[k]),
            late=int(late[k]),
            partial=int(partial[k]),
            planned_share=float(planned[k] / count),
            real_share=float(real[k] / count),
        )
        for k, client in enumerate(clients)
    }


def summed(parts: Sequence[Mapping[str, Contribution]]) -> dict[str, Contribution]:
    """Returns contributions to several trainings of the same clients as one: rounds add up, shares are means."""
    return {client: _summed([part[client] for part in parts]) for client in (parts[0] if parts else ())}


def _summed(parts: Sequence[Contribution]) -> Contribution:
    why: dict[str, int] = {}
    for part in parts:
        for reason, count in part.absent.items():
            why[reason] = why.get(reason, 0) + count
    counts = {
        name: sum(getattr(part, name) for part in parts) for name in ("asked", "used", "refused", "late", "partial")
    }
    return Contribution(
        **counts,
        last=max((part.last for part in parts if part.last is not None), default=None),
        absent=why,
        planned_share=_mean([part.planned_share for part in parts]),
        real_share=_mean([part.real_share for part in parts]),
    )


def _mean(shares: Sequence[float | None]) -> float | None:
    known = [share for share in shares if share is not None]
    return float(np.mean(known)) if len(known) == len(shares) else None


def shortfalls(
    found: Mapping[str, Contribution], shares: Mapping[str, float] | None, seeds: int = 1
) -> tuple[str, ...]:
    """Returns in sentences who was meant to contribute and did not, or much less.

    Who is gone for good is named first, however few of its rounds that cost; among these and among the others, whose
    absence took most of all rounds' weight.

    Args:
        found: each client's contribution.
        shares: the weight of its update in a mean; None where it is not told: all count alike then.
        seeds: over how many trainings rounds were counted.
    """
    gone = {client for client, own in found.items() if any(why.startswith((LEFT, NEVER)) for why in own.absent)}
    much = [client for client, own in found.items() if client in gone or own.used <= _MUCH * own.asked < own.asked]
    much.sort(key=lambda client: (client not in gone, -_lost(found[client])))
    named = max(_NAMED, min(len(gone), _GONE_NAMED))
    known = {} if shares is None else shares
    total = max(sum(known.values()), 1e-30)
    parts = {client: share / total for client, share in known.items()}
    said = [_missed(client, found[client], parts.get(client), seeds) for client in much[:named]]
    if rest := [found[client].used / found[client].asked for client in much[named:]]:
        how = f"at most {_MUCH:.0%} of their rounds" if max(rest) <= _MUCH else "fewer rounds than planned"
        said.append(f"{len(rest)} more contributed in {how}, the least in {min(rest):.0%}.")
    return tuple(said)


def _lost(own: Contribution) -> float:
    """Returns which part of all rounds' weight a client's absence took; of its own, where weights are not told."""
    missed = 1 - own.used / own.asked
    return missed if own.planned_share is None else missed * own.planned_share


def _missed(client: str, own: Contribution, share: float | None, seeds: int) -> str:
    reasons = [f"{why} ({_rounds(count)})" for why, count in own.absent.items()]
    reasons += [f"its update was not finite ({_rounds(own.refused)})"] if own.refused else []
    when = f", last in round {own.last}" if own.last else ""
    over = f" of {seeds} seeds" if seeds > 1 else ""
    weight = "" if share is None else f", {share:.0%} of the training weight,"
    return (
        f"{client}{weight} was to contribute in {_rounds(own.asked)}{over} and did in "
        f"{own.used}{when}: {', '.join(reasons)}."
    )


def _rounds(count: int) -> str:
    return f"{count} round{'' if count == 1 else 's'}"
