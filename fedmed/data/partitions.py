"""Partitions: who holds which rows. Every row goes to exactly one client, and a group's rows stay together.

Where the data name groups (patients), the simulated partitions deal out whole groups, the sizes they speak of count
groups, and a group's label is its first row's. Labels that are amounts are cut into 10 quantile bins where a partition
needs classes.
"""

from collections.abc import Mapping

import numpy as np

from fedmed.data import registries
from fedmed.data.examples import Array, Examples, Partition
from fedmed.data.units import dealt, even, strata
from fedmed.system import errors, seeds

_WHERE = "partition.args"
DRAWS = 1000


def clients_of(examples: Examples, partition: Partition, seed: int) -> dict[str, Array]:
    """Returns client id to ascending row numbers, by the seed's stream "partition".

    Raises:
        DataError: the partition (perhaps a user's own) leaves out or repeats a row, or has an empty client.
    """
    given = partition(examples, seeds.generator(seed, "partition"))
    rows_by_client = {str(client): np.sort(np.asarray(rows)) for client, rows in given.items()}
    for client, rows in rows_by_client.items():
        if rows.ndim != 1 or (len(rows) and rows.dtype.kind not in "iu"):
            raise errors.DataError(f"partition: client {client!r} must have row numbers, got {rows.dtype} {rows.shape}")
        if len(rows) == 0:
            raise errors.DataError(f"partition: client {client!r} has no rows")
        if rows[0] < 0 or rows[-1] >= len(examples):
            raise errors.DataError(f"partition: client {client!r} has rows beyond 0 to {len(examples) - 1}")
    if not rows_by_client:
        raise errors.DataError("partition: there are no clients")
    times = np.bincount(np.concatenate(list(rows_by_client.values())), minlength=len(examples))
    if (times != 1).any():
        raise errors.DataError(
            f"partition: every row must go to exactly one client; {int((times == 0).sum())} rows go to none "
            f"and {int((times > 1).sum())} to several"
        )
    return rows_by_client


@registries.partitions.register("by_site")
def by_site() -> Partition:
    """Each site is a client of its own name: the federation as it is."""

    def partition(examples: Examples, rng: np.random.Generator) -> Mapping[str, Array]:
        if examples.site is None:
            others = ", ".join(name for name in registries.partitions.names() if name != "by_site")
            raise errors.DataError(
                f"partition.name: 'by_site' needs data with sites, and these have none; use {others}"
            )
        names, site = np.unique(examples.site, return_inverse=True)
        return {str(name): np.flatnonzero(site == number) for number, name in enumerate(names)}

    return partition


@registries.partitions.register("iid")
def iid(*, clients: int) -> Partition:
    """Deals the rows out at random, as many to each client as to any other, give or take one."""
    _at_least_one("clients", clients)

    def deal(labels: Array, rng: np.random.Generator) -> Array:
        return _cut(rng.permutation(len(labels)), even(len(labels), clients))

    return lambda examples, rng: dealt(examples, clients, deal, rng)


@registries.partitions.register("shards")
def shards(*, clients: int, shards_per_client: int = 2) -> Partition:
    """Sorts rows by label, cuts them into equal shards, and deals each client some (McMahan et al. 2017).

    With two shards most clients see at most two classes. Shards differ by at most one row. Amounts are sorted as they
    are, without bins.
    """
    _at_least_one("clients", clients)
    _at_least_one("shards_per_client", shards_per_client)
    count = clients * shards_per_client

    def deal(labels: Array, rng: np.random.Generator) -> Array:
        shuffled = rng.permutation(len(labels))  # so that which rows of a class make a shard is drawn
        order = shuffled[np.argsort(labels[shuffled], kind="stable")]
        shard = _cut(order, even(len(labels), count))
        return (rng.permutation(count) // shards_per_client)[shard]

    return lambda examples, rng: dealt(examples, clients, deal, rng, each=shards_per_client)


@registries.partitions.register("dirichlet")
def dirichlet(*, clients: int, alpha: float, minimum: int = 1) -> Partition:
    """Divides each class among the clients in proportions drawn from Dir(alpha); small alpha is heavy skew.

    This is the field's usual variant (Yurochkin et al. 2019; Li et al. 2022), by class; Hsu et al. 2019 draw by client.
    Client sizes differ too. "10 clients, Dirichlet 0.5" is the customary benchmark. The whole draw is repeated until
    every client has `minimum` rows.
    """
    _at_least_one("clients", clients)
    _at_least_one("minimum", minimum)
    _positive("alpha", alpha)

    def deal(labels: Array, rng: np.random.Generator) -> Array:
        classes = strata(labels)
        sizes = np.bincount(classes)
        for _ in range(DRAWS):
            edges = np.rint(np.cumsum(rng.dirichlet(np.full(clients, alpha), len(sizes)), axis=1) * sizes[:, None])
            edges[:, -1] = sizes
            counts = np.diff(edges.astype(np.int64), axis=1, prepend=0)
            if counts.sum(axis=0).min() >= minimum:
                return _cut(_shuffled_by_class(classes, rng), counts.ravel(), clients)
        raise errors.DataError(
            f"{_WHERE}.alpha: {DRAWS} draws from Dir({alpha:g}) each left one of {clients} clients with fewer than "
            f"{minimum} of {len(labels)} rows or groups; use a larger alpha or fewer clients"
        )

    return lambda examples, rng: dealt(examples, clients, deal, rng, each=minimum)


@registries.partitions.register("quantity_skew")
def quantity_skew(*, clients: int, alpha: float, minimum: int = 1) -> Partition:
    """Draws client sizes from Dir(alpha), labels alike: each gets `minimum` rows and a drawn share of the others."""
    _at_least_one("clients", clients)
    _at_least_one("minimum", minimum)
    _positive("alpha", alpha)

    def deal(labels: Array, rng: np.random.Generator) -> Array:
        free = len(labels) - clients * minimum
        edges = np.rint(np.cumsum(rng.dirichlet(np.full(clients, alpha))) * free).astype(np.int64)
        edges[-1] = free
        return _cut(rng.permutation(len(labels)), minimum + np.diff(edges, prepend=0))

    return lambda examples, rng: dealt(examples, clients, deal, rng, each=minimum)


@registries.partitions.register("classes_per_client")
def classes_per_client(*, clients: int, classes: int) -> Partition:
    """Gives each client rows of exactly `classes` classes; a class is divided evenly among those who hold it.

    Every class is held by someone, and all by about as many clients ("#C = k" in Li et al. 2022).
    """
    _at_least_one("clients", clients)
    _at_least_one("classes", classes)

    def deal(labels: Array, rng: np.random.Generator) -> Array:
        stratum = strata(labels)
        holders = _holders(np.bincount(stratum), clients, classes, rng)
        counts = np.zeros(holders.shape, np.int64)
        for number, size in enumerate(np.bincount(stratum)):
            held = rng.permutation(np.flatnonzero(holders[number]))  # who gets the odd rows is drawn
            counts[number, held] = even(int(size), len(held))
        return _cut(_shuffled_by_class(stratum, rng), counts.ravel(), clients)

    return lambda examples, rng: dealt(examples, clients, deal, rng, each=classes)


def _holders(sizes: Array, clients: int, classes: int, rng: np.random.Generator) -> Array:
    """Returns bool [classes there are, clients]: who holds what; each client picks the classes least held so far."""
    there = len(sizes)
    if classes > there:
        raise errors.DataError(f"{_WHERE}.classes: {classes} classes a client, but the data have {there}")
    if clients * classes < there:
        raise errors.DataError(
            f"{_WHERE}.classes: {clients} clients of {classes} classes cannot hold all {there} classes; "
            f"at least {-(-there // clients)} each"
        )
    holders = np.zeros((there, clients), dtype=bool)
    for client in range(clients):
        held = holders.sum(axis=1)
        order = np.lexsort((rng.random(there), held, held >= sizes))[:classes]
        if (held >= sizes)[order].any():  # a holder needs at least a row of its own
            raise errors.DataError(
                f"{_WHERE}.clients: {clients} clients of {classes} classes are too many: rows suffice for {client}; "
                "use fewer clients or classes"
            )
        holders[order, client] = True
    return holders


def _shuffled_by_class(classes: Array, rng: np.random.Generator) -> Array:
    shuffled = rng.permutation(len(classes))
    return shuffled[np.argsort(classes[shuffled], kind="stable")]


def _cut(order: Array, sizes: Array, clients: int | None = None) -> Array:
    """Returns [u] owners: the first sizes[0] units of `order` are owned by 0, and so on, modulo `clients`."""
    number = np.arange(len(sizes)) if clients is None else np.arange(len(sizes)) % clients
    owner = np.empty(len(order), np.int64)
    owner[order] = np.repeat(number, sizes)
    return owner


def _at_least_one(name: str, number: int) -> None:
    if number < 1:
        raise errors.ConfigError(f"{_WHERE}.{name}: expected a whole number >= 1, got {number}")


def _positive(name: str, number: float) -> None:
    if not 0 < number < float("inf"):
        raise errors.ConfigError(f"{_WHERE}.{name}: expected a number > 0, got {number}")
