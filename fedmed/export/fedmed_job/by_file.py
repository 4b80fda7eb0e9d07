"""Messages as files, for what carries files and no connections: one question, one answer, each an .npz.

    python -m fedmed_job.by_file SITE SITE_FILE MESSAGE REPLY

answers, at a hospital, the message in a file.
"""

import json
import logging
import pathlib
import sys

import numpy as np

from . import job as jobs
from .job import JobError
from .site_part import Message, Reply, SitePart


def write_message(path: pathlib.Path, message: Message) -> None:
    """Writes what the server asks."""
    weights = {f"w{place}": part for place, part in enumerate(message.weights)}
    told = json.dumps({"kind": message.kind, "round": message.round, "recipe": message.recipe})
    np.savez(path, told=np.array(told), **weights)


def read_message(path: pathlib.Path) -> Message:
    """Returns what `write_message` wrote."""
    with np.load(path, allow_pickle=False) as held:
        weights = tuple(held[f"w{place}"] for place in range(len(held.files) - 1))
        return Message(**json.loads(str(held["told"])), weights=weights)


def write_reply(path: pathlib.Path, reply: Reply) -> None:
    """Writes what a hospital answers."""
    told = json.dumps({"numbers": reply.numbers, "trouble": reply.trouble})
    np.savez(path, told=np.array(told), **reply.arrays)


def read_reply(path: pathlib.Path) -> Reply:
    """Returns what `write_reply` wrote."""
    with np.load(path, allow_pickle=False) as held:
        arrays = {name: held[name] for name in held.files if name != "told"}
        return Reply(arrays, **json.loads(str(held["told"])))


def main(words: list[str]) -> int:
    """Answers a message; returns the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if len(words) != 4:
        logging.error("usage: python -m fedmed_job.by_file SITE SITE_FILE MESSAGE REPLY")
        return 2
    site, site_file, asked, answer = words
    try:
        part = SitePart(jobs.load(), jobs.initial_weights(), site, site_file)
        write_reply(pathlib.Path(answer), part.answer(read_message(pathlib.Path(asked))))
    except JobError as error:
        logging.error("%s", error)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
