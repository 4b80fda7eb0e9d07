"""Validation rows inside the training rows: settings are chosen on them, and no test row is ever looked at."""

import dataclasses
from typing import NamedTuple

import numpy as np

from fedmed.data import clients, splits
from fedmed.data.examples import Array
from fedmed.data.splits import ClientRows
from fedmed.settings import config
from fedmed.study.consortium import Consortium
from fedmed.study.suppression import MINIMUM_CELL
from fedmed.system import errors, seeds


class Inner(NamedTuple):
    """How training rows are split again.

    Attributes:
        fraction: of each hospital's training patients that validate.
        of: the seed whose training rows these are, the same for every seed of the inner split; None where each seed
            splits its own training rows.
    """

    fraction: float
    of: int | None = None


class Validation(Consortium):
    """The hospitals of a study without their test rows: what is tested on are validation rows.

    A hospital's training rows are divided by patient, just as its test rows were taken from all of its rows. Whatever
    is fitted, a table's preprocessing too, is fitted on the inner training rows.
    """

    def __init__(self, settings: config.RunConfig, inner: Inner) -> None:
        super().__init__(settings)
        self._inner = inner

    def rows(self, seed: int) -> dict[str, ClientRows]:
        """Returns each hospital's inner training rows, and as `test` its validation rows, perhaps none.

        Raises:
            DataError: all hospitals together have too few patients to choose by.
        """
        if seed not in self._rows:
            drawn = int(seeds.generator(seed, "study.validation").integers(2**31 - 1))
            outer = self._trained(seed if self._inner.of is None else self._inner.of)
            found = splits.split(self.dataset.examples, outer, self._inner.fraction, drawn, self.dataset.task)
            if not self._are_enough(np.concatenate([own.test for own in found.values()])):
                raise errors.DataError("tuning: the hospitals have too few training patients to choose settings by")
            self._rows[seed] = found
        return self._rows[seed]

    def can_choose(self, seed: int, hospital: str) -> bool:
        """Whether a hospital has enough validation patients of its own to choose by; a few would tell of themselves."""
        return self._are_enough(self.rows(seed)[hospital].test)

    def _trained(self, seed: int) -> dict[str, Array]:
        """Returns each hospital's training rows at a seed of the study."""
        found = clients.split(self.dataset, self.held, dataclasses.replace(self._settings, seed=seed))
        return {name: own.train for name, own in found.items()}

    def _are_enough(self, rows: Array) -> bool:
        return len(np.unique(self.patient[rows])) >= MINIMUM_CELL


class Validations:
    """Hospitals that are loaded once for all searches among them."""

    def __init__(self) -> None:
        self._found: dict[str, Validation] = {}

    def of(self, settings: config.RunConfig, inner: Inner) -> Validation:
        """Returns the hospitals of these settings and this split."""
        key = repr((settings, inner))
        if key not in self._found:
            self._found[key] = Validation(settings, inner)
        return self._found[key]


def hospitals(settings: config.RunConfig, inner: Inner | None) -> Consortium:
    """Returns a study's hospitals with their test rows or, given an inner split, with validation rows instead."""
    return Consortium(settings) if inner is None else Validation(settings, inner)
