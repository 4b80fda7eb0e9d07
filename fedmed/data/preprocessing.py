"""Preprocessing of a table, fitted on training rows only and from sums that hospitals could share."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from fedmed.data.examples import Array, Examples, Feature
from fedmed.system import errors

Mode: TypeAlias = Literal["federated", "by_site", "none"]

OWN_SCALE_FROM = 5
"""Present values from which a site scales a column by itself; with fewer its mean would tell a patient's value."""
_LARGEST = float(np.finfo(np.float32).max)


@dataclasses.dataclass(frozen=True)
class SiteSums:
    """What one site (or several together) tells of its training rows: sums and counts, no row.

    Attributes:
        rows: number of rows.
        present: int64 [columns] rows in which the column is not missing.
        total: float64 [columns] sum of a number's present values, 0 for a category.
        squares: float64 [columns] sum of squared deviations from the site's own mean, 0 for a category. It tells as
            much as the sum of squares, which is squares + total**2 / present, but does not lose a small spread about a
            large mean to rounding, and is never negative.
        levels: int64 [levels] rows of each level of a category, [0] for a number; one array a column.
    """

    rows: int
    present: Array
    total: Array
    squares: Array
    levels: tuple[Array, ...]


@dataclasses.dataclass(frozen=True)
class Column:
    """What becomes of one column of x.

    Attributes:
        name: the feature's name.
        mean: subtracted from a number.
        scale: then divides it.
        levels: a category's levels in code order, () for a number.
        kept: the levels that get an output of their own; the others share the output "other".
        missing: whether an output says that the value is missing.
        least, most: a number beyond them is taken to be them; None is no limit.
    """

    name: str
    mean: float = 0.0
    scale: float = 1.0
    levels: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    missing: bool = False
    least: float | None = None
    most: float | None = None

    @property
    def output_names(self) -> tuple[str, ...]:
        """Returns the names of the outputs, e.g. ("age", "age=missing") or ("sex=F", "sex=M")."""
        values = (self.name,) if not self.levels else tuple(f"{self.name}={level}" for level in self.kept)
        other = (f"{self.name}=other",) if len(self.kept) < len(self.levels) else ()
        return values + other + ((f"{self.name}=missing",) if self.missing else ())

    def apply(self, values: Array) -> Array:
        """Returns float64 [n, outputs] for values [n]: a number standardised, a category one-hot, missing all 0."""
        absent = np.isnan(values)
        if not self.levels:
            if self.least is not None or self.most is not None:
                values = np.clip(values, self.least, self.most)
            outputs = [np.where(absent, 0.0, (values - self.mean) / self.scale)]
        else:
            outputs = [values == self.levels.index(level) for level in self.kept]
            if len(self.kept) < len(self.levels):
                outputs.append(~absent & ~np.any(outputs, axis=0) if outputs else ~absent)
        return np.stack([*outputs, *([absent] if self.missing else [])], axis=1).astype(np.float64)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a table becomes a model's input; it holds aggregates only, no patient's values."""

    columns: tuple[Column, ...]

    @property
    def output_names(self) -> tuple[str, ...]:
        """Returns a name for each of the d outputs."""
        return tuple(name for column in self.columns for name in column.output_names)

    def apply(self, x: Array) -> Array:
        """Returns float32 [n, d] without missing values for a table x, float64 [n, columns].

        Raises:
            DataError: a value is beyond what float32 holds; the message names its column.
        """
        outputs = [column.apply(x[:, place]) for place, column in enumerate(self.columns)]
        _check_size([own.name for own, out in zip(self.columns, outputs, strict=True) if not _fits(out)])
        return np.concatenate(outputs, axis=1).astype(np.float32)

    def to_json(self) -> list[dict[str, Any]]:
        """Returns the recipe as plain values for json.dumps, one table a column."""
        return [
            {name: value for name, value in dataclasses.asdict(column).items() if value is not None}
            for column in self.columns
        ]

    @classmethod
    def from_json(cls, columns: Sequence[Mapping[str, Any]]) -> "Recipe":
        """Returns the recipe that `to_json` wrote."""
        return cls(tuple(Column(**{**c, "levels": tuple(c["levels"]), "kept": tuple(c["kept"])}) for c in columns))


@np.errstate(over="ignore", invalid="ignore")  # `fit` refuses what overflows
def site_sums(examples: Examples, features: Sequence[Feature]) -> SiteSums:
    """Returns one site's sums over its training rows; examples.x is a table, float64 [n, columns]."""
    x = table_of(examples)
    number = np.array([not feature.is_category for feature in features], dtype=bool)
    here = ~np.isnan(x)
    present = here.sum(axis=0)
    values = np.where(here & number, x, 0.0)
    total = values.sum(axis=0)
    mean = total / np.maximum(present, 1)
    squares = (np.where(here & number, values - mean, 0.0) ** 2).sum(axis=0)
    levels = tuple(_level_counts(x[:, place], feature) for place, feature in enumerate(features))
    return SiteSums(len(x), present, total, squares, levels)


@np.errstate(over="ignore", invalid="ignore")
def combine(sums: Iterable[SiteSums]) -> SiteSums:
    """Returns the sums over all sites' rows together (Chan, Golub and LeVeque 1979).

    Raises:
        DataError: there are no sites.
    """
    sites = list(sums)
    if not sites:
        raise errors.DataError("preprocessing: no client has training rows")
    present = np.stack([site.present for site in sites])
    total = np.stack([site.total for site in sites])
    mean = total.sum(axis=0) / np.maximum(present.sum(axis=0), 1)
    between = present * (total / np.maximum(present, 1) - mean) ** 2
    squares = np.stack([site.squares for site in sites]).sum(axis=0) + between.sum(axis=0)
    levels = tuple(np.sum(counts, axis=0) for counts in zip(*(site.levels for site in sites), strict=True))
    return SiteSums(sum(site.rows for site in sites), present.sum(axis=0), total.sum(axis=0), squares, levels)


def fit(sums: SiteSums, features: Sequence[Feature], *, minimum: int = 1, standardise: bool = True) -> Recipe:
    """Returns the recipe that sums over training rows call for.

    A number is standardised to mean 0 and (population) SD 1, a constant one only centred; a missing one becomes 0, the
    mean. A category gets an output for each level of at least `minimum` training rows and, where that leaves a known
    level out, one called "other". A column missing in any training row gets an output that says so.

    Args:
        sums: of all sites, see `combine`.
        features: one a column.
        minimum: training rows that a level needs for an output of its own.
        standardise: False leaves numbers as they are.
    """
    _check_finite(sums, features)
    mean, scale = _mean_and_scale(sums)
    columns = []
    for place, feature in enumerate(features):
        counts = sums.levels[place]
        scaled = standardise and not feature.is_category
        columns.append(
            Column(
                name=feature.name,
                mean=float(mean[place]) if scaled else 0.0,
                scale=float(scale[place]) if scaled else 1.0,
                levels=feature.levels,
                kept=tuple(level for level, count in zip(feature.levels, counts, strict=True) if count >= minimum),
                missing=bool(sums.present[place] < sums.rows),
            )
        )
    return Recipe(tuple(columns))


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """The recipes of a federation: one shared, and in mode "by_site" one a client with the same outputs.

    In mode "bounds" the scale is public knowledge and no row was looked at, see `bounded`.
    """

    mode: Mode | Literal["bounds"]
    shared: Recipe
    by_client: Mapping[str, Recipe] = dataclasses.field(default_factory=dict)

    @property
    def output_names(self) -> tuple[str, ...]:
        """Returns a name for each of the d inputs of the model, the same for every client."""
        return self.shared.output_names

    def apply(self, client_id: str | None, examples: Examples) -> Examples:
        """Returns the examples with x float32 [n, d]; None stands for rows of no client (a shared test set).

        Raises:
            DataError: mode "by_site" has no recipe for the client.
        """
        recipe = self.shared
        if self.mode == "by_site" and client_id is not None:
            if client_id not in self.by_client:
                raise errors.DataError(f"preprocessing: client {client_id!r} had no training rows to fit its scale on")
            recipe = self.by_client[client_id]
        return dataclasses.replace(examples, x=recipe.apply(table_of(examples)))

    def to_json(self) -> dict[str, Any]:
        """Returns the preprocessing as plain values for json.dumps."""
        clients = {client: recipe.to_json() for client, recipe in self.by_client.items()}
        return {"mode": self.mode, "shared": self.shared.to_json(), "by_client": clients}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Preprocessing":
        """Returns the preprocessing that `to_json` wrote."""
        clients = {client: Recipe.from_json(recipe) for client, recipe in stored["by_client"].items()}
        return cls(stored["mode"], Recipe.from_json(stored["shared"]), clients)


def prepare(
    train_by_client: Mapping[str, Examples], features: Sequence[Feature], mode: Mode, *, minimum: int = 1
) -> Preprocessing:
    """Returns the preprocessing fitted on each client's training rows.

    Args:
        train_by_client: tables, x float64 [n, columns].
        features: one a column.
        mode: "federated" scales by the sums of all clients together; "by_site" each client by its own mean and SD
            (where it has at least OWN_SCALE_FROM present values that differ, else by all clients'), with the outputs
            that all clients together call for; "none" leaves numbers unscaled.
        minimum: training rows, over all clients, that a level needs for an output of its own.
    """
    sums = {client: site_sums(examples, features) for client, examples in train_by_client.items()}
    shared = fit(combine(sums.values()), features, minimum=minimum, standardise=mode != "none")
    by_client = {client: own_scale(shared, own) for client, own in sums.items()} if mode == "by_site" else {}
    return Preprocessing(mode, shared, by_client)


def own_scale(shared: Recipe, own: SiteSums) -> Recipe:
    """Returns the shared recipe with numbers scaled by one site's own sums, where these allow it (see `prepare`)."""
    mean, scale = _mean_and_scale(own)
    varies = (own.present >= OWN_SCALE_FROM) & ~_constant(own)
    return Recipe(
        tuple(
            dataclasses.replace(column, mean=float(mean[place]), scale=float(scale[place]))
            if varies[place] and not column.levels
            else column
            for place, column in enumerate(shared.columns)
        )
    )


def _check_finite(sums: SiteSums, features: Sequence[Feature]) -> None:
    """Raises a DataError where a column has a mean or a spread beyond what float32 holds: no model can be given it."""
    count = np.maximum(sums.present, 1)
    size = np.abs(sums.total / count) + np.sqrt(sums.squares / count)
    _check_size([feature.name for feature, own in zip(features, size, strict=True) if not _fits(own)])


def _fits(values: Array) -> bool:
    return bool((np.abs(values) < _LARGEST).all())


def _check_size(wild: Sequence[str]) -> None:
    if wild:
        raise errors.DataError(
            f"preprocessing: {', '.join(map(repr, wild[:5]))}: a value is so large that the column cannot be scaled; a "
            "typing error? Correct it, or name it in data.args.missing"
        )


def _mean_and_scale(sums: SiteSums) -> tuple[Array, Array]:
    count = np.maximum(sums.present, 1)
    return sums.total / count, np.where(_constant(sums), 1.0, np.sqrt(sums.squares / count))


def _constant(sums: SiteSums) -> Array:
    """Returns which columns do not vary beyond rounding (the bound that scikit-learn uses)."""
    count, eps = np.maximum(sums.present, 1), np.finfo(np.float64).eps
    variance, mean = sums.squares / count, sums.total / count
    return variance <= count * eps * variance + (count * mean * eps) ** 2


def _level_counts(codes: Array, feature: Feature) -> Array:
    present = codes[~np.isnan(codes)].astype(np.int64)
    return np.bincount(present, minlength=len(feature.levels)) if feature.is_category else np.zeros(0, np.int64)


def table_of(examples: Examples) -> Array:
    """Returns the table, float64 [n, columns], that examples hold; DataError where they hold anything else."""
    if isinstance(examples.x, Mapping) or examples.x.ndim != 2:
        raise errors.DataError("preprocessing: only a table of numbers and categories can be standardised")
    return examples.x
