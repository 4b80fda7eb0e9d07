"""Who adds which mask in a round under secure sums, and how the server learns what is left of them.

As in Bonawitz et al. 2017 each client has a seed of its own and a key, and shares both among itself and those it is
paired with (Shamir 1979); the keys of two clients give the seed of their pair. The server asks the clients who are
there for shares of the seeds of those who are there and of the keys of those who are not, never for both of one client.
In a large cohort a client is paired with a few others only (Bell et al. 2020): those beside it on a ring in random
order. Sharing, in pure Python, is the cost: a client's takes ten times as long in a cohort of 33 as in one of 10, and
with 20 neighbours four times.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from Crypto.Protocol.SecretSharing import Shamir

from fedmed.learning import fixed_point
from fedmed.settings import config
from fedmed.system import errors, seeds

SECURE_NOT = (
    "The mean of the updates, and with it what the mean tells of patients, is not hidden: noise is another setting.",
    "The mean of one client is its update, and of two each knows the other's: it takes a larger cohort.",
    "A server that lies about who is there, or sends clients unlike weights, is not stopped: it is taken to follow the "
    "protocol and to look at what it gets.",
    "Clients who tell the server their shares, as many as it takes to recover a seed, give the others away.",
    "There are no keys here: seeds follow from the run's own, so this shows the arithmetic and its cost, and protects "
    "nothing by itself.",
    "Who took part, how many rows it has, and whether its update was finite are told.",
)
"""What secure sums do not protect, and this simulation of them less."""

ALL_PAIRS = 32
"""The largest cohort in which all clients are paired."""
NEIGHBOURS = 20
"""How many clients one is paired with in a larger cohort, half of them on each side of it."""


class RoundMasks(NamedTuple):
    """The masks of a round.

    Attributes:
        clients: [m, 3] int64 of each client that is there, by its number; see `secure_sums.Masks`.
        left: [r, 3] int64, those that are left in the sum, from recovered seeds.
        limit: the size of the largest value.
    """

    clients: Mapping[int, np.ndarray]
    left: np.ndarray
    limit: int

    def of(self, client: int) -> np.ndarray:
        """Returns the masks of a client, none for sums in the clear."""
        return self.clients.get(client, _NO_MASKS)


_NO_MASKS = np.zeros((0, 3), np.int64)
IN_THE_CLEAR = RoundMasks({}, _NO_MASKS, 1)
"""No masks at all."""


def check(settings: config.Aggregation, cohort: int) -> None:
    """Raises a ConfigError where sums of so many clients leave too few bits for a value."""
    if not settings.secure:
        return
    if cohort < 2:
        raise errors.ConfigError(
            "aggregation.secure: the sum of a cohort of one is its update and hides nothing; ask more clients"
        )
    found = fixed_point.limit(settings.secure_bits, cohort)
    if found < fixed_point.LEAST:
        most = fixed_point.limit(settings.secure_bits, fixed_point.LEAST)
        raise errors.ConfigError(
            f"aggregation.secure_bits: a sum of {cohort} clients in {settings.secure_bits} bits leaves values of "
            f"-{found} to {found}, too few; at most {most} clients, or more bits"
        )


def threshold(sharers: int, all_pairs: bool) -> int:
    """Returns how many shares recover a seed.

    Two thirds of a cohort in which all share, and one more; half of the few that share in a larger one, whose number
    that are there varies more.
    """
    return (2 * sharers // 3 if all_pairs else sharers // 2) + 1


def of_round(
    settings: config.RunConfig, round_: int, cohort: Sequence[int], there: Collection[int]
) -> RoundMasks | None:
    """Returns a round's masks by the settings; see `planned`."""
    if not settings.aggregation.secure:
        return IN_THE_CLEAR
    return planned(settings.seed, round_, cohort, there, settings.aggregation.secure_bits)


def planned(
    seed: int, round_: int, cohort: Sequence[int], there: Collection[int], bits: int, needed: int | None = None
) -> RoundMasks | None:
    """Returns a round's masks, None where too few clients are there to recover the seeds.

    Args:
        seed: of the run.
        round_: the round.
        cohort: the numbers of those asked.
        there: of them, those who did not drop out.
        bits: of a word.
        needed: shares that recover a seed; `threshold` by default.
    """
    pairs = neighbours(seed, round_, cohort)
    present = set(there)
    if needed is None:
        needed = threshold(1 + len(pairs[cohort[0]]), all_pairs=len(cohort) <= ALL_PAIRS)
    if not present:
        return None
    if any(len(present & {owner, *others}) < needed for owner, others in pairs.items()):
        return None
    keys = {client: _secret(seed, "mask_key", round_, client) for client in cohort}
    clients, left = {}, []
    for client, others in sorted(pairs.items()):
        sharers = sorted([client, *others])
        if client in present:
            own = _secret(seed, "own_mask", round_, client)
            clients[client] = np.stack([_mask(own, 1), *_pair_masks(client, keys[client], others, keys)])
            left.append(_mask(_recovered(own, sharers, present, needed), 1))
        else:
            key, met = _recovered(keys[client], sharers, present, needed), [o for o in others if o in present]
            left += [mask * _UNLIKE for mask in _pair_masks(client, key, met, keys)]
    return RoundMasks(clients, np.stack(left), fixed_point.limit(bits, len(cohort)))


def neighbours(seed: int, round_: int, cohort: Sequence[int]) -> dict[int, list[int]]:
    """Returns whom each client of a cohort is paired with."""
    if len(cohort) <= ALL_PAIRS:
        return {client: [other for other in cohort if other != client] for client in cohort}
    ring = seeds.generator(seed, "mask_ring", round_).permutation(np.array(cohort)).tolist()
    sides = [step for step in range(-NEIGHBOURS // 2, NEIGHBOURS // 2 + 1) if step]
    return {client: [ring[(place + step) % len(ring)] for step in sides] for place, client in enumerate(ring)}


def _pair_masks(
    client: int, key: np.ndarray, others: Sequence[int], keys: Mapping[int, np.ndarray]
) -> list[np.ndarray]:
    """Returns the masks of a client with others; their keys stand for what they publish of them."""
    found = []
    for other in others:
        sign = 1 if client < other else -1
        both = np.concatenate([key, keys[other]][::sign])
        found.append(_mask(_words(np.random.SeedSequence(both.view(np.uint64).tolist())), sign))
    return found


def _recovered(words: np.ndarray, sharers: Sequence[int], present: set[int], needed: int) -> np.ndarray:
    """Shares a secret of 16 bytes, [2] int64, and returns what the first shares of those present come to.

    The shares' coefficients are the machine's own random numbers; what is recovered does not depend on them.
    """
    shares = Shamir.split(needed, len(sharers), words.tobytes())
    given = [share for share, client in zip(shares, sharers, strict=True) if client in present]
    return np.frombuffer(Shamir.combine(given[:needed]), np.int64)


_UNLIKE = np.array([1, 1, -1], np.int64)
"""Turns a mask into that of the other client of the pair."""


def _mask(words: np.ndarray, sign: int) -> np.ndarray:
    return np.array([*words, sign], np.int64)


def _secret(seed: int, stream: str, round_: int, client: int) -> np.ndarray:
    return _words(seeds.sequence(seed, stream, round_, client))


def _words(sequence: np.random.SeedSequence) -> np.ndarray:
    return sequence.generate_state(2, np.uint64).view(np.int64)
