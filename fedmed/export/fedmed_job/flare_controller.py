"""The server's part under NVIDIA FLARE: its controller carries messages; what they mean is in `rounds`."""

# pyright: reportMissingImports=false

import pathlib

import numpy as np
from nvflare.app_common.abstract.fl_model import FLModel
from nvflare.app_common.workflows.model_controller import ModelController

from . import job as jobs
from . import rounds
from .job import JobError
from .site_part import Message, Reply


class FedmedController(ModelController):
    """Asks all hospitals, round after round, and leaves the results in the job's folder at the server."""

    def __init__(self) -> None:
        super().__init__(persistor_id="")
        self._sites: tuple[str, ...] = ()

    def run(self) -> None:
        """Runs the job; a job that cannot go on is ended, with the reason in the server's log."""
        job, initial = jobs.load(), jobs.initial_weights()
        self._sites = job.sites
        try:
            outcome = rounds.run(job, initial, self._ask)
        except JobError as error:
            self.panic(str(error))
            return
        workspace = self.engine.get_workspace()
        folder = pathlib.Path(workspace.get_run_dir(self.fl_ctx.get_job_id())) / "results"
        rounds.write(job, initial, outcome, folder)
        self.info(f"results: {folder}")

    def _ask(self, message: Message) -> dict[str, Reply]:
        """Sends a message to every hospital; FLARE itself says, by certificate, who has answered."""
        model = FLModel(
            params={f"w{place}": part for place, part in enumerate(message.weights)} or {"nothing": np.zeros(1)},
            meta={"round": message.round, "recipe": message.recipe},
        )
        replies = self.send_model_and_wait(
            task_name=message.kind, data=model, targets=list(self._sites), min_responses=len(self._sites)
        )
        return {
            reply.meta["client_name"]: Reply(reply.params, reply.meta["numbers"], reply.meta["trouble"])
            for reply in replies
        }
