"""A table as the detectors read it: each column by site, with a sample of rows that is enough for shapes."""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from fedmed.data.examples import Array, Dataset, Feature

MOST_ROWS = 20_000
"""Rows of all sites that are looked at for shapes and ranks; every row is looked at for codes and identifiers."""

_LEAST_OF_A_SITE = 400


@dataclasses.dataclass(frozen=True)
class Sites:
    """Who holds which rows.

    Attributes:
        names: of the sites; one, "", where the data tell none.
        of_row: int64 [n] each row's site, by its place in `names`.
        sampled: of each site, its rows, of many some that are evenly spaced.
    """

    names: tuple[str, ...]
    of_row: Array
    sampled: tuple[Array, ...]

    @functools.cached_property
    def rows(self) -> Array:
        """int64 [sites] rows of each."""
        return np.bincount(self.of_row, minlength=len(self.names))

    @functools.cached_property
    def sample(self) -> Array:
        """int64 [m] all sampled rows."""
        return np.concatenate(self.sampled)

    def counts(self, of_rows: Array) -> Array:
        """Returns int64 [sites], at each how many of the rows that a mask [n] marks."""
        return np.bincount(self.of_row[of_rows], minlength=len(self.names))

    def named(self, chosen: Sequence[int] | Array) -> tuple[str, ...]:
        """Returns the names of sites for a sentence; () where the data tell none."""
        return tuple(self.names[k] for k in chosen if self.names[k])


@dataclasses.dataclass(frozen=True)
class Reading:
    """A column: its feature and float64 [n] values, NaN where missing or a code for missing."""

    feature: Feature
    values: Array

    @functools.cached_property
    def is_missing(self) -> Array:
        """bool [n] the rows without a value."""
        return np.isnan(self.values)

    @property
    def name(self) -> str:
        """The column's name."""
        return self.feature.name


def sites_of(dataset: Dataset) -> Sites:
    """Returns the sites of a data set, in the order of their names."""
    site = dataset.examples.site
    if site is None:
        names, of_row = np.array([""]), np.zeros(len(dataset.examples), np.int64)
    else:
        names, of_row = np.unique(site, return_inverse=True)
    order = np.argsort(of_row, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(of_row, minlength=len(names)))[:-1])
    most = max(_LEAST_OF_A_SITE, MOST_ROWS // len(names))
    sampled = tuple(part[:: max(1, -(-len(part) // most))] for part in parts)
    return Sites(tuple(map(str, names)), of_row, sampled)
