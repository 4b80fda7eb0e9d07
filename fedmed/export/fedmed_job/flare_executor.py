"""A hospital's part under NVIDIA FLARE: its executor carries messages; what they mean is in `site_part`."""

# pyright: reportMissingImports=false

import os

import numpy as np
from nvflare.apis.executor import Executor
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal
from nvflare.app_common.abstract.fl_model import FLModel
from nvflare.app_common.utils.fl_model_utils import FLModelUtils

from . import job as jobs
from .site_part import Message, SitePart, answered


class SiteExecutor(Executor):
    """Answers the server. The variable FEDMED_SITE_FILE says where the hospital's site file is."""

    def __init__(self) -> None:
        super().__init__()
        self._part: SitePart | None = None

    def execute(self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        """Returns the answer to one message."""
        del abort_signal
        asked = FLModelUtils.from_shareable(shareable)
        weights = [asked.params[f"w{place}"] for place in range(len(asked.params)) if f"w{place}" in asked.params]
        message = Message(task_name, asked.meta["round"], asked.meta["recipe"], tuple(weights))
        reply = answered(lambda: self._made(fl_ctx.get_identity_name()), message)
        if reply.trouble:
            self.log_error(fl_ctx, reply.trouble)
        arrays = reply.arrays or {"nothing": np.zeros(1)}
        meta = {"numbers": reply.numbers, "trouble": reply.trouble}
        return FLModelUtils.to_shareable(FLModel(params=arrays, meta=meta))

    def _made(self, site: str) -> SitePart:
        if self._part is None:
            site_file = os.environ.get("FEDMED_SITE_FILE", "")
            self._part = SitePart(jobs.load(), jobs.initial_weights(), site, site_file)
        return self._part
