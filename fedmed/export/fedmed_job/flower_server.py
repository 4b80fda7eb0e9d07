"""The server's part under Flower: it carries messages; what they mean is in `rounds`."""

# pyright: reportMissingImports=false

import json
import logging
import pathlib
import time

from flwr.app import ArrayRecord, ConfigRecord, Context, MessageType, RecordDict
from flwr.app import Message as FlowerMessage
from flwr.serverapp import Grid, ServerApp

from . import job as jobs
from . import rounds
from .job import Job, JobError
from .site_part import Message, Reply

app = ServerApp()

KINDS = {"sums": MessageType.QUERY, "train": MessageType.TRAIN, "score": MessageType.EVALUATE}


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Waits for all hospitals, runs the job and leaves its results."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    job, initial, settings = jobs.load(), jobs.initial_weights(), context.run_config
    seconds = float(settings["answer-seconds"])
    try:
        nodes = dict.fromkeys(_nodes(grid, job, float(settings["wait-seconds"])), "a hospital")
        outcome = rounds.run(job, initial, lambda message: _asked(grid, nodes, message, seconds))
    except JobError as error:
        logging.error("the job has ended: %s", error)
        raise
    folder = pathlib.Path(str(settings["results"])).expanduser().resolve()
    rounds.write(job, initial, outcome, folder)
    logging.info("results: %s", folder)


def _nodes(grid: Grid, job: Job, seconds: float) -> list[int]:
    """Returns the nodes of all hospitals, once they are connected."""
    until, before = time.monotonic() + seconds, -1
    while len(nodes := list(grid.get_node_ids())) < len(job.sites):
        if len(nodes) != before:
            before = len(nodes)
            logging.info("waiting: %d of %d hospitals are connected", before, len(job.sites))
        if time.monotonic() > until:
            raise JobError(f"{len(nodes)} of {len(job.sites)} hospitals are connected after {seconds:g} seconds")
        time.sleep(1.0)
    if len(nodes) > len(job.sites):
        raise JobError(f"{len(nodes)} nodes are connected, but the job is for {len(job.sites)} hospitals")
    return nodes


def _asked(grid: Grid, nodes: dict[int, str], message: Message, seconds: float) -> dict[str, Reply]:
    """Sends a message to every hospital and returns the answers by the name that each gives itself, and notes it."""
    told = ConfigRecord({"kind": message.kind, "round": message.round, "recipe": message.recipe})
    content = RecordDict({"weights": ArrayRecord(list(message.weights)), "told": told})
    sent = [FlowerMessage(content, message_type=KINDS[message.kind], dst_node_id=node) for node in nodes]
    replies: dict[str, Reply] = {}
    for reply in grid.send_and_receive(sent, timeout=seconds):
        if reply.has_error():
            who = nodes.get(reply.metadata.src_node_id, "a hospital")
            raise JobError(f"{message.kind}: {who} has failed or has left; its own log says why")
        about = reply.content["about"]
        site, names = str(about["site"]), json.loads(about["names"])
        if site in replies:
            raise JobError(f"{message.kind}: two hospitals call themselves {site}")
        nodes[reply.metadata.src_node_id] = site
        arrays = dict(zip(names, reply.content["arrays"].to_numpy_ndarrays(), strict=True))
        replies[site] = Reply(arrays, json.loads(about["numbers"]), str(about["trouble"]))
    return replies
