"""All hospitals' parts in one process: what a rehearsal needs that has every hospital's files at hand.

    python -m fedmed_job.all_here SITE_FILE RESULTS [ROUNDS]

SITE_FILE is the path of the hospitals' site files, in which {site} stands for a hospital's name.
"""

import logging
import pathlib
import sys

from . import job as jobs
from . import rounds
from .job import JobError
from .site_part import Message, Reply, SitePart


def main(words: list[str]) -> int:
    """Runs the job and leaves its results; returns the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if len(words) not in (2, 3):
        logging.error("usage: python -m fedmed_job.all_here SITE_FILE RESULTS [ROUNDS]")
        return 2
    job, initial = jobs.load(), jobs.initial_weights()
    try:
        parts = {site: SitePart(job, initial, site, words[0]) for site in job.sites}

        def ask(message: Message) -> dict[str, Reply]:
            return {site: part.answer(message) for site, part in parts.items()}

        outcome = rounds.run(job, initial, ask, int(words[2]) if len(words) == 3 else None)
    except JobError as error:
        logging.error("%s", error)
        return 2
    rounds.write(job, initial, outcome, pathlib.Path(words[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
