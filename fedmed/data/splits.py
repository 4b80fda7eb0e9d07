"""Each client's own training and test rows: stratified by label, and no patient on both sides of any client."""

import zlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from fedmed.data.examples import Array, Examples, Task
from fedmed.system import errors, seeds


class ClientRows(NamedTuple):
    """Row numbers of one client, ascending; `test` may be empty, `train` never is."""

    train: Array
    test: Array


def split(
    examples: Examples,
    rows_by_client: Mapping[str, Array],
    test_fraction: float | Mapping[str, float],
    seed: int,
    task: Task,
) -> dict[str, ClientRows]:
    """Returns each client's training and test rows.

    Of n rows floor((1 - test_fraction) * n) are for training, at least one. Where the data have groups (patients) whole
    groups go to a side, so the number is as near as group sizes allow, and a group that several clients hold is on the
    same side everywhere. Classes keep their shares, as in scikit-learn's train_test_split, but a class of one row goes
    where it falls. A client's split depends on its id and rows, not on other clients, but for groups they share.

    Args:
        examples: all rows.
        rows_by_client: client id to row numbers; no client is empty.
        test_fraction: in [0, 1), one for all or one for each client by its id.
        seed: of the experiment; stream "split".
        task: classes are stratified, amounts and counts are not.

    Raises:
        ConfigError: a test fraction is not in [0, 1).
    """
    by_client = test_fraction if isinstance(test_fraction, Mapping) else dict.fromkeys(rows_by_client, test_fraction)
    fractions = {client: _checked(by_client, client) for client in rows_by_client}
    unit = np.arange(len(examples)) if examples.group is None else np.unique(examples.group, return_inverse=True)[1]
    shared = _shared_sides(examples, unit, rows_by_client, fractions, seed)
    strata = examples.y if task in ("binary", "multiclass") else np.zeros(len(examples), np.int64)
    result = {}
    for client, rows in rows_by_client.items():
        rows = np.sort(rows)
        rng = seeds.generator(seed, "split", zlib.crc32(client.encode()))
        train = _client_split(unit[rows], strata[rows], shared, fractions[client], rng)
        result[client] = ClientRows(rows[train], rows[~train])
    return result


def _checked(fractions: Mapping[str, float], client: str) -> float:
    fraction = fractions.get(client)
    if fraction is None or not 0 <= fraction < 1:
        raise errors.ConfigError(f"test_fraction: expected a number >= 0 and < 1 for {client!r}, got {fraction!r}")
    return float(fraction)


def _shared_sides(
    examples: Examples, unit: Array, rows_by_client: Mapping[str, Array], fractions: Mapping[str, float], seed: int
) -> dict[int, bool]:
    """Returns, for each group that several clients hold, whether it is for training.

    A draw of its own decides, so that the side depends on nothing but the seed, the group and its clients' fractions.
    """
    if examples.group is None:
        return {}
    holders: dict[int, list[str]] = {}
    for client, rows in rows_by_client.items():
        for held in np.unique(unit[rows]):
            holders.setdefault(int(held), []).append(client)
    first = dict(zip(*np.unique(unit, return_index=True), strict=True))
    train, draws = {}, {}
    for held, clients in holders.items():
        if len(clients) > 1:
            name = zlib.crc32(str(examples.group[first[held]]).encode())
            draws[held] = seeds.generator(seed, "split", name, 1).random()
            train[held] = draws[held] >= np.mean([fractions[client] for client in clients])
    for client in sorted(rows_by_client):
        held = [int(group) for group in np.unique(unit[rows_by_client[client]])]
        if not any(train.get(group, True) for group in held):  # a client with nothing to learn from takes its likeliest
            train[max(held, key=draws.__getitem__)] = True
    return train


def _client_split(
    unit: Array, strata: Array, shared: Mapping[int, bool], fraction: float, rng: np.random.Generator
) -> Array:
    """Returns bool [n]: which of a client's rows are for training."""
    groups, place, sizes = np.unique(unit, return_inverse=True, return_counts=True)
    fixed = np.array([shared.get(int(group), -1) for group in groups])  # 1 training, 0 test, -1 free
    levels, level = np.unique(strata, return_inverse=True)
    votes = np.zeros((len(groups), len(levels)), np.int64)
    np.add.at(votes, (place, level), 1)
    stratum = votes.argmax(axis=1)
    wanted = max(1, int(np.floor((1 - fraction) * len(unit) + 1e-9)))
    free = np.flatnonzero(fixed < 0)
    available = np.bincount(stratum[free], weights=sizes[free], minlength=len(levels)).astype(np.int64)
    goals = shares(int(np.clip(wanted - sizes[fixed == 1].sum(), 0, available.sum())), available, rng)
    train, over = fixed == 1, 0.0
    for number, goal in enumerate(goals):
        goal, taken = goal - over, 0
        for group in rng.permutation(free[stratum[free] == number]):
            if taken + sizes[group] / 2 <= goal:
                train[group], taken = True, taken + sizes[group]
        over = taken - goal  # what a stratum took too much, the next takes less
    if not train.any():
        train[free[np.argmin(sizes[free])]] = True
    return train[place]


def shares(total: int, counts: Array, rng: np.random.Generator) -> Array:
    """Returns int64 whole numbers of sum `total`, in proportion to `counts` and at most these; ties are drawn."""
    exact = total * counts / max(int(counts.sum()), 1)
    whole = np.floor(exact + 1e-9).astype(np.int64)
    order = np.lexsort((rng.random(len(counts)), -np.round(exact - whole, 9)))
    whole[order[: total - int(whole.sum())]] += 1
    return whole
