"""A hospital's part under Flower: it carries messages; what they mean is in `site_part`."""

# pyright: reportMissingImports=false

import functools
import json
import logging

from flwr.app import ArrayRecord, ConfigRecord, Context, RecordDict
from flwr.app import Message as FlowerMessage
from flwr.clientapp import ClientApp

from . import job as jobs
from .site_part import Message, SitePart, answered

app = ClientApp()


@functools.cache
def _part(site: str, site_file: str) -> SitePart:
    return SitePart(jobs.load(), jobs.initial_weights(), site, site_file)


@app.query()
@app.train()
@app.evaluate()
def answer(asked: FlowerMessage, context: Context) -> FlowerMessage:
    """Returns the answer to one message. The node's config says who the hospital is, and where its site file is."""
    site, told = str(context.node_config["site"]), asked.content["told"]
    weights = tuple(asked.content["weights"].to_numpy_ndarrays())
    message = Message(str(told["kind"]), int(told["round"]), str(told["recipe"]), weights)
    reply = answered(lambda: _part(site, str(context.node_config["site-file"])), message)
    if reply.trouble:
        logging.getLogger("flwr").error("%s", reply.trouble)
    about = {
        "site": site,
        "names": json.dumps(list(reply.arrays)),
        "numbers": json.dumps(reply.numbers),
        "trouble": reply.trouble,
    }
    content = RecordDict({"arrays": ArrayRecord(list(reply.arrays.values())), "about": ConfigRecord(about)})
    return FlowerMessage(content, reply_to=asked)
