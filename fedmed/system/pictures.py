"""What all pictures that fedmed draws have in common; matplotlib waits until one is drawn."""

from typing import Any

RC: dict[Any, Any] = {
    "svg.hashsalt": "fedmed",  # the same data give the same file
    "text.parse_math": False,  # a "$" in a name is no formula
}
"""Settings for `matplotlib.rc_context`."""
