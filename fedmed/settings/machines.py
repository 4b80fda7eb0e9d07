"""Where rounds run: the table `[runtime]`."""

import dataclasses
from typing import Literal

from fedmed.settings.ranges import setting
from fedmed.system import errors


@dataclasses.dataclass(frozen=True)
class Runtime:
    """Where rounds run: in this process ("local"), on TFF's executor ("tff"), or on a cluster ("ray").

    "local" is the default, being faster by measurement (README, "How fast"); "ray" gives its very bits, "tff" the same
    weights to rounding. `lanes` is how many clients train at a time, one thread each; 0 means one a core. Changing it
    changes the order of floating-point sums, so bits are promised only for the same number of lanes.

    For "ray" `address` is HOST:PORT of a cluster that is there already; "" starts one on this machine. `shared` says
    that all hosts see this one's temporary folder and the run's under the same paths; else rows are sent. `insecure`
    lets rows travel to other machines without a token and TLS. docs/cluster.md has all of it.
    """

    name: Literal["local", "tff", "ray"] = "local"
    lanes: int = setting(0, least=0, most=256)
    address: str = ""
    shared: bool = False
    insecure: bool = False


DEFAULT = Runtime()


def check(runtime: Runtime) -> None:
    """Checks what the types cannot say; ConfigError in one line."""
    for name in ("address", "shared", "insecure"):
        if getattr(runtime, name) and runtime.name != "ray":
            raise errors.ConfigError(f"runtime.{name}: is for runtime.name = 'ray', got {runtime.name!r}")
    host, _, port = runtime.address.rpartition(":")
    if runtime.address not in ("", "auto") and not (host and "/" not in host and port.isdigit()):
        raise errors.ConfigError(
            f"runtime.address: expected HOST:PORT, or 'auto' for a Ray that runs on this machine, got "
            f"{errors.shown(runtime.address)}"
        )
