"""Writes and trains very many clients of few rows, and prints as JSON what it took; see experiments.cluster."""

import contextlib
import json
import os
import resource
import statistics
import time
from collections.abc import Sequence

from absl import flags

from experiments import programs
from fedmed.data import store
from fedmed.data.clients import prepare
from fedmed.settings import config
from fedmed.system import quiet

FLAGS = flags.FLAGS
flags.DEFINE_string("rows", None, "an .npz with x and y", required=True)
flags.DEFINE_integer("clients", 20_000, "how many", lower_bound=1)
flags.DEFINE_integer("full", -1, "bytes from which a file takes no other client; 0: a file each; -1: as it comes")


def main(argv: Sequence[str]) -> None:
    """Prepares, writes, and trains a round of a hundred clients and one of all."""
    del argv
    quiet.silence()
    if FLAGS.full >= 0:
        store._FULL = FLAGS.full
    tree = {
        "name": "many",
        "data": {"name": "arrays", "args": {"path": FLAGS.rows}, "test_fraction": 0.0},
        "partition": {"name": "iid", "args": {"clients": FLAGS.clients}},
        "model": {"name": "mlp"},
        "client": {"learning_rate": 0.05, "batch_size": 20},
        "rounds": 1,
        "runtime": {"lanes": 2},
    }
    settings = config.parse(tree)
    told: dict[str, float] = {}
    began = time.perf_counter()
    clients = prepare(settings)
    told["prepare"] = time.perf_counter() - began
    began = time.perf_counter()
    written = store.ClientStore(clients.train)
    told["write"] = time.perf_counter() - began
    paths = list(written.folder.iterdir())
    told["files"] = len(paths)
    told["bytes"] = sum(len(rows) for rows in clients.train.values()) * sum(f.row_bytes for f in written.layout)
    told["disk"] = sum(path.stat().st_blocks * 512 for path in paths)
    began = time.perf_counter()
    written.close()
    told["remove"] = time.perf_counter() - began

    from fedmed.engine.federation import Federation

    began = time.perf_counter()
    federation = Federation(settings, clients.dataset, clients.train)
    told["federation"] = time.perf_counter() - began
    with contextlib.closing(federation):
        start = federation.start()
        few = federation.clients[:: max(1, FLAGS.clients // 100)]
        federation.round(start, few)
        told["round of 100"] = statistics.median(federation.round(start, few).seconds for _ in range(15))
        told["round of all"] = federation.round(start, federation.clients).seconds
    told["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    told["load"] = os.getloadavg()[0]
    print(json.dumps(told))


if __name__ == "__main__":
    programs.run(main)
