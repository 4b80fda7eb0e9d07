"""The hospitals of a study: who holds which rows, the split of each seed, and the rows as a model is to see them."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from fedmed.data import clients, faults
from fedmed.data import preprocessing as tables
from fedmed.data.clients import ChangedRows
from fedmed.data.examples import Array, Dataset, Examples, joined
from fedmed.data.faults import Fault
from fedmed.data.preprocessing import Preprocessing
from fedmed.data.splits import ClientRows
from fedmed.settings import config
from fedmed.settings.privacy import NONE, Privacy
from fedmed.settings.study import Kind
from fedmed.system import errors, seeds

POOLED = "pooled"


class Material(NamedTuple):
    """What one model is trained and tested on.

    Attributes:
        train: the clients that train, preprocessed.
        test: every hospital's test rows, in row order, as this model is to see them.
        changed: see `Clients.changed`.
        newcomers: the training rows of the hospital that is left out, if any, as this model is to see them.
    """

    train: dict[str, Examples]
    test: dict[str, Examples]
    changed: ChangedRows | None = None
    newcomers: Mapping[str, Examples] = MappingProxyType({})


class Consortium:
    """A data set dealt out to hospitals once for all seeds; each seed splits the same patients anew.

    A shared test set of the data (MNIST's) is set aside: each hospital is tested on rows of its own.

    Attributes:
        dataset: as loaded and harmonised; x is not preprocessed.
        held: each hospital's row numbers.
        patient: [n] int64, the patient of each row.
        own_test: false where the data came with a test set that is not used.
    """

    def __init__(self, settings: config.RunConfig) -> None:
        self._settings = settings
        loaded, self.held = clients.deal(settings)
        self.own_test = loaded.test is None
        self.dataset: Dataset = dataclasses.replace(loaded, test=None)
        group = self.dataset.examples.group
        self.patient: Array = (
            np.arange(len(self.dataset.examples)) if group is None else np.unique(group, return_inverse=True)[1]
        )
        self._rows: dict[int, dict[str, ClientRows]] = {}

    @property
    def hospitals(self) -> tuple[str, ...]:
        """Ids in the order of the partition."""
        return tuple(self.held)

    @functools.cached_property
    def faults(self) -> tuple[Fault, ...]:
        """What is probably wrong with the data."""
        return faults.found(self.dataset)

    def rows(self, seed: int) -> dict[str, ClientRows]:
        """Returns each hospital's training and test rows at a seed.

        Raises:
            DataError: no hospital has test rows.
        """
        if seed not in self._rows:
            found = clients.split(self.dataset, self.held, dataclasses.replace(self._settings, seed=seed))
            if not any(len(own.test) for own in found.values()):
                raise errors.DataError("data.test_fraction: no hospital has a test row, and a study needs some")
            self._rows[seed] = found
        return self._rows[seed]

    def material(
        self,
        kind: Kind,
        seed: int,
        mode: tables.Mode,
        hospital: str | None = None,
        members: Sequence[str] | None = None,
        share: float = 1.0,
        privacy: Privacy = NONE,
    ) -> Material:
        """Returns what a model of this kind is trained and tested on.

        Whatever a model's training can know is all that its preprocessing knows: a local model scales by its own
        hospital's training rows alone. In mode "by_site" a hospital that took no part scales by its own training
        rows, whose labels are not looked at.

        Args:
            kind: of arm.
            seed: of the split.
            mode: of the preprocessing of tables.
            hospital: the one that trains alone or is left out.
            members: the hospitals there are; default all.
            share: of each hospital's training patients that is used.
            privacy: what the preprocessing must keep to.
        """
        examples, rows = self.dataset.examples, self.rows(seed)
        trained = {name: examples.take(own) for name, own in self._training_rows(kind, seed, hospital, members, share)}
        tested = self.tested(seed)
        test = {key: part for key, (_, part) in tested.items()}
        changed = None
        left = [hospital] if kind == "leave_one_out" and hospital is not None else []
        newcomers = {name: examples.take(self._thinned(rows[name].train, seed, share)) for name in left}
        if self.dataset.is_table:
            everyone = {name: examples.take(own.train) for name, own in rows.items()}
            fitted = self._fitted(trained, everyone, (mode, privacy, seed))
            changed = clients.as_preprocessed(fitted, trained)
            trained = {name: fitted.apply(name, part) for name, part in trained.items()}
            test = {key: fitted.apply(name, part) for key, (name, part) in tested.items()}
            newcomers = {name: fitted.apply(name, part) for name, part in newcomers.items()}
        together = {POOLED: joined(list(trained.values()))} if kind == "pooled" else trained
        return Material(together, test, changed, newcomers)

    def patients_held(self) -> dict[str, int]:
        """Returns how many patients each hospital has, training and test patients together."""
        return {name: len(np.unique(self.patient[rows])) for name, rows in self.held.items()}

    def patients_trained(
        self, kind: Kind, seed: int, hospital: str | None, members: Sequence[str] | None, share: float
    ) -> dict[str, int]:
        """Returns how many patients each client has that trains such a model; see `material`."""
        found = {
            name: np.unique(self.patient[rows])
            for name, rows in self._training_rows(kind, seed, hospital, members, share)
        }
        if kind == "pooled":
            found = {POOLED: np.unique(np.concatenate(list(found.values())))}
        return {name: len(patients) for name, patients in found.items()}

    def _training_rows(
        self, kind: Kind, seed: int, hospital: str | None, members: Sequence[str] | None, share: float
    ) -> list[tuple[str, Array]]:
        rows = self.rows(seed)
        chosen = _training(kind, hospital, members or self.hospitals)
        return [(name, self._thinned(rows[name].train, seed, share)) for name in chosen]

    def tested(self, seed: int) -> dict[str, tuple[str, Examples]]:
        """Returns the rows that every model is tested on, not preprocessed, each with the hospital they are from."""
        rows = self.rows(seed)
        return {name: (name, self.dataset.examples.take(own.test)) for name, own in rows.items()}

    def _fitted(
        self,
        trained: Mapping[str, Examples],
        everyone: Mapping[str, Examples],
        how: tuple[tables.Mode, Privacy, int],
    ) -> Preprocessing:
        features, mode = self.dataset.features, how[0]
        fitted = clients.fitted(*how, trained, features)
        if mode != "by_site":
            return fitted
        others = {
            name: tables.own_scale(fitted.shared, tables.site_sums(part, features))
            for name, part in everyone.items()
            if name not in trained
        }
        return dataclasses.replace(fitted, by_client={**others, **fitted.by_client})

    def _thinned(self, rows: Array, seed: int, share: float) -> Array:
        """Returns the rows of a share of the patients, at least one; a smaller share's are among a larger one's."""
        if share >= 1:
            return rows
        patients = np.unique(self.patient[rows])
        order = seeds.generator(seed, "study.thin", int(rows[0])).permutation(patients)
        return rows[np.isin(self.patient[rows], order[: max(1, round(share * len(patients)))])]


def _training(kind: Kind, hospital: str | None, members: Sequence[str]) -> list[str]:
    if kind == "local":
        return [name for name in members if name == hospital]
    return [name for name in members if kind != "leave_one_out" or name != hospital]
