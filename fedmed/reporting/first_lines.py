"""What is told on the console before the first round: whom a runtime lets in, and what is wrong with the data."""

import sys
from collections.abc import Sequence
from typing import TextIO

from fedmed.data.faults import Fault
from fedmed.reporting import fault_lines
from fedmed.settings import config

OPEN_WORKER = (
    'runtime.name = "tff": TFF\'s worker listens on every network interface of this machine and asks for no password; '
    "keep others out by a firewall"
)


def tell(
    runtime: config.Runtime, faults: Sequence[Fault], *, quiet: bool = False, stream: TextIO | None = None
) -> None:
    """Prints the lines on standard error, nothing when quiet.

    TFF 0.87's worker has no option to listen on the loopback only. In a network namespace of its own nobody outside
    could reach it, but neither could we, other than through a relay that each weight would pass twice; and most
    containers, and some distributions, do not let their users make one. So it is told instead.
    """
    if runtime.name == "tff" and not quiet:
        print(OPEN_WORKER, file=stream or sys.stderr, flush=True)
    fault_lines.tell(faults, quiet=quiet, stream=stream)
