"""The four workloads, as settings of fedmed; every contender gets the same clients, rows and model."""

from typing import Any

from fedmed.settings import config

_MNIST: dict[str, Any] = {"data": {"name": "mnist"}, "model": {"name": "mnist_cnn"}, "rounds": 1, "name": "speed"}

_TREES: dict[str, dict[str, Any]] = {
    "W1": _MNIST
    | {
        "partition": {"name": "dirichlet", "args": {"clients": 10, "alpha": 0.5}},
        "client": {"learning_rate": 0.02, "batch_size": 20},
    },
    "W2": _MNIST
    | {
        "model": {"name": "mcmahan_cnn"},
        "partition": {"name": "iid", "args": {"clients": 100}},
        "cohort": {"size": 10},
        "client": {"learning_rate": 0.1, "batch_size": 10},
    },
    "W3": _MNIST
    | {
        "partition": {"name": "iid", "args": {"clients": 3000}},
        "cohort": {"size": 1000},
        "client": {"learning_rate": 0.02, "batch_size": 20},
    },
    "W4": {
        "name": "speed",
        "rounds": 1,
        "data": {"name": "diabetes_ehr"},
        "model": {"name": "mlp"},
        "client": {"learning_rate": 0.05, "batch_size": 32, "steps": 20},
    },
}

WHAT = {
    "W1": "mnist_cnn, 10 clients, Dirichlet 0.5 over 60,000 rows, batch 20, one epoch",
    "W2": "mcmahan_cnn, 10 of 100 IID clients of 600 rows, batch 10, one epoch",
    "W3": "mnist_cnn, 1,000 clients of 20 rows, batch 20, one epoch",
    "W4": "mlp, three synthetic hospitals, batch 32, 20 local steps",
}


def settings(workload: str, runtime: str = "local") -> config.RunConfig:
    """Returns a workload's settings."""
    return config.parse({**_TREES[workload], "runtime": {"name": runtime}})
