"""Finds what is wrong with a table before anyone trains on it: units, codes, levels, leaks and identifiers."""

from fedmed.data.faults.detector import found
from fedmed.data.faults.fault import MENDED_BY, Fault, mending_lines, warnings

__all__ = ["MENDED_BY", "Fault", "found", "mending_lines", "warnings"]
