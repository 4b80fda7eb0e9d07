"""The mean of updates clipped to the cohort's own measure, weighted by shares.

It is norm clipping, the defence of Sun et al. 2019, "Can you really backdoor federated learning?", section 5, but that
the bound is a multiple of the median norm of the round's updates (clients counting alike), so that it follows updates
as they shrink from round to round. With fewer than half of the clients corrupted the median lies among honest norms, so
that what a corrupted client adds is at most its share times `times` the longest honest norm. It also has a part in
where among the honest norms the median lies, and so in how short the honest updates are cut.
"""

from fedmed.learning.aggregator import Aggregator
from fedmed.learning.gathering import Gathered, combined, distances, gathering, middle, shortened
from fedmed.learning.values import Payload


def clipped_mean(times: float) -> Aggregator:
    """Returns the mean of updates clipped to `times` the median of their norms."""

    def report(all_: Gathered) -> Payload:
        norms = distances(all_.updates)
        return combined(all_.payloads, all_.weights * shortened(norms, times * middle(norms)))

    return gathering(report, copies=_COPIES)


_COPIES = 5.0
