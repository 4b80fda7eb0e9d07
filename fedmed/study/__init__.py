"""The hospital study: is federation worth it, and for whom."""

from fedmed.settings.study import KINDS, Arm, Kind, Study

__all__ = ["KINDS", "Arm", "Kind", "Study"]
