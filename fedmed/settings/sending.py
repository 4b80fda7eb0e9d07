"""How updates and weights are written when they are sent: the table `[compression]` of a config."""

import dataclasses
from typing import Literal

from fedmed.settings.ranges import setting


@dataclasses.dataclass(frozen=True)
class Compression:
    """How weights are written when they are sent; moving statistics travel as they are.

    Up: "quantise" rounds updates to `bits` at random, "top_k" sends the `share` of the values that are largest (what is
    left out is added to the client's next update, with `error_feedback`), "random_mask" sends a random `share`. Down:
    "quantise" rounds what the server sends to 8 bits.
    """

    up: Literal["none", "quantise", "top_k", "random_mask"] = "none"
    down: Literal["none", "quantise"] = "none"
    bits: Literal[2, 4, 8] = 8
    share: float = setting(0.1, above=0.0, most=1.0)
    error_feedback: bool = True


UNCOMPRESSED = Compression()
