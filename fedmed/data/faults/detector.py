"""Looks at a table by site and names what is probably not what it seems; nothing is changed."""

import dataclasses

import numpy as np

from fedmed.data.examples import Dataset
from fedmed.data.faults.codes import codes
from fedmed.data.faults.fault import Fault
from fedmed.data.faults.identifiers import identifiers
from fedmed.data.faults.leaks import leaks
from fedmed.data.faults.levels import level_faults
from fedmed.data.faults.readings import Reading, sites_of
from fedmed.data.faults.scales import unit_faults

_ORDER = ("unit", "code", "level", "outcome", "identifier", "constant")


def found(dataset: Dataset) -> tuple[Fault, ...]:
    """Returns the faults of a table as loaded, units first; none for data that are no table.

    Codes for missing are taken out before units and leaks are looked for, and a column that numbers rows is looked at
    no further. For shapes and ranks 20,000 rows are sampled, so 100,000 rows of 50 columns take less than a second.
    """
    if not dataset.is_table:
        return ()
    sites = sites_of(dataset)
    x, faults, kept = np.asarray(dataset.examples.x), [], []
    for place, feature in enumerate(dataset.features):
        reading = Reading(feature, np.ascontiguousarray(x[:, place], dtype=np.float64))
        if own := identifiers(reading, sites):
            faults += own
            continue
        own, reading = codes(reading, sites)
        faults += [*own, *level_faults(reading, sites), *leaks(reading, dataset, sites)]
        kept.append(reading)
    faults += unit_faults(kept, sites)
    return tuple(sorted((_mendable(fault, dataset) for fault in faults), key=lambda fault: _ORDER.index(fault.kind)))


def _mendable(fault: Fault, dataset: Dataset) -> Fault:
    """Returns a fault of a column that is to be left out with the line that does so, where the data set has one."""
    if fault.changes or fault.mend or dataset.name != "table" or fault.kind == "level":
        return fault
    return dataclasses.replace(fault, mend=f'data.args.ignore = ["{fault.column}"]')
