"""Finds what is wrong with a table before anyone trains on it: units, codes, levels, leaks and identifiers."""

from fedmed.data.faults.detector import found
from fedmed.data.faults.fault import Fault, mending_lines

__all__ = ["Fault", "found", "mending_lines"]
