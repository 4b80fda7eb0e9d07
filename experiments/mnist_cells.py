"""The cells of McMahan et al. 2017 (arXiv 1602.05629), Tables 1 and 2: rounds on MNIST until a test accuracy.

After them come cells of the same task for other algorithms, of which the paper has no figure.
"""

import dataclasses
from typing import Any

CLIENTS = 100
TARGETS = {"2nn": 0.97, "cnn": 0.99}
MODELS = {"2nn": "mcmahan_2nn", "cnn": "mcmahan_cnn"}


@dataclasses.dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        model: "2nn" (97 %) or "cnn" (99 %).
        iid: 600 shuffled rows a client, or two shards of 300 rows sorted by label.
        fraction: C, the share of the 100 clients in a round; 0 is one client.
        epochs: E, local passes.
        batch: B, rows a batch; 0 is a full batch.
        paper: the paper's rounds; None where it has no figure.
        rates: learning rates to try, the middle one first, on the paper's multiplicative grid of 10^(1/3).
        algorithm: what trains, as a comparison names it; "fedadam" is FedAvg with that server.
        args: of the algorithm.
        server: the server's optimizer and rate.
    """

    model: str
    iid: bool
    fraction: float
    epochs: int
    batch: int
    paper: int | None
    rates: tuple[float, ...]
    algorithm: str = "fedavg"
    args: tuple[tuple[str, float], ...] = ()
    server: tuple[str, float] = ("average", 1.0)

    @property
    def name(self) -> str:
        """The cell's name on the command line, such as cnn-iid-C0.1-E5-B10."""
        split = "iid" if self.iid else "noniid"
        by = "" if self.algorithm == "fedavg" else f"-{self.algorithm}"
        by += "".join(f"-{name}{value:g}" for name, value in self.args)
        by += f"-server{self.server[1]:g}" if self.server[0] != "average" else ""
        return f"{self.model}-{split}-C{self.fraction:g}-E{self.epochs}-B{self.batch or 'full'}{by}"

    @property
    def target(self) -> float:
        """The test accuracy to reach."""
        return TARGETS[self.model]

    def settings(self, rate: float, seed: int, rounds: int, patience: int | None = None) -> dict[str, Any]:
        """Returns the settings of one run."""
        shards = {"name": "shards", "args": {"clients": CLIENTS, "shards_per_client": 2}}
        return {
            "name": f"{self.name}-{rate:g}-{seed}",
            "seed": seed,
            "rounds": rounds,
            "data": {"name": "mnist"},
            "partition": {"name": "iid", "args": {"clients": CLIENTS}} if self.iid else shards,
            "model": {"name": MODELS[self.model]},
            "algorithm": {"name": "fedavg" if self.server[0] != "average" else self.algorithm, "args": dict(self.args)},
            "server": {"optimizer": self.server[0], "learning_rate": self.server[1]},
            "cohort": {"fraction": self.fraction} if self.fraction else {"size": 1},
            "client": {"learning_rate": rate, "epochs": self.epochs, "batch_size": self.batch or "full"},
            "stop": {"metric": "accuracy", "target": self.target} | ({"patience": patience} if patience else {}),
        }


def _grid(*thirds: int) -> tuple[float, ...]:
    """Returns 10^(k/3) for each k, to three digits: -3 is 0.1, -4 is 0.0464."""
    return tuple(float(f"{10 ** (third / 3):.3g}") for third in thirds)


_FEW, _MID, _HIGH = _grid(-5, -4, -3), _grid(-4, -3, -2), _grid(-3, -2, -1)

CELLS: tuple[Cell, ...] = (
    Cell("2nn", True, 0.1, 1, 10, 87, _grid(-4, -3, -2)),
    Cell("2nn", False, 0.1, 1, 10, 664, _grid(-5, -4, -3)),
    Cell("cnn", True, 0.1, 5, 10, 20, _MID),
    Cell("cnn", True, 0.1, 1, 10, 34, _MID),
    Cell("cnn", True, 0.1, 5, 50, 29, _MID),
    Cell("cnn", True, 0.1, 1, 50, 65, _HIGH),
    Cell("cnn", False, 0.1, 5, 10, 229, _FEW),
    Cell("cnn", False, 0.1, 1, 10, 350, _FEW),
    Cell("cnn", False, 0.1, 5, 50, 334, _MID),
    Cell("cnn", False, 0.1, 1, 50, 600, _MID),
    Cell("cnn", True, 0.1, 1, 0, 626, _HIGH),
    Cell("cnn", False, 0.1, 1, 0, 483, _HIGH),
    Cell("2nn", True, 0.0, 1, 10, 316, _FEW),
    Cell("2nn", True, 0.2, 1, 10, 77, _MID),
    Cell("2nn", True, 0.5, 1, 10, 75, _MID),
    Cell("2nn", True, 1.0, 1, 10, 70, _MID),
    Cell("2nn", False, 0.2, 1, 10, 619, _FEW),
    Cell("2nn", False, 0.5, 1, 10, 443, _FEW),
    Cell("2nn", False, 1.0, 1, 10, 380, _FEW),
    Cell("2nn", True, 0.1, 1, 0, 1474, _HIGH),
    Cell("2nn", False, 0.1, 1, 0, 1796, _HIGH),
    Cell("cnn", True, 0.1, 5, 0, 179, _HIGH),
    Cell("cnn", False, 0.1, 5, 0, 1000, _MID),  # at 0.215 it still guesses after 20 rounds
    Cell("cnn", True, 0.1, 20, 10, 18, _MID),
    Cell("cnn", False, 0.1, 20, 10, 173, _FEW),
    Cell("cnn", True, 0.1, 20, 50, 32, _MID),
    Cell("cnn", False, 0.1, 20, 50, 426, _MID),
    Cell("2nn", False, 0.1, 5, 10, None, _FEW),
    Cell("2nn", False, 0.1, 5, 10, None, _FEW, "scaffold"),
    Cell("2nn", False, 0.1, 5, 10, None, _FEW, "fedprox", (("mu", 0.01),)),
    Cell("2nn", False, 0.1, 5, 10, None, _FEW, "fednova"),
    Cell("2nn", False, 0.1, 5, 10, None, _FEW, "feddyn", (("alpha", 0.01),)),
    Cell("2nn", False, 0.1, 5, 10, None, _FEW, "feddyn", (("alpha", 0.1),)),
    Cell("2nn", False, 0.1, 5, 10, None, _FEW, "fedadam", (), ("adam", 0.00316)),
    Cell("2nn", False, 0.1, 5, 10, None, _FEW, "fedadam", (), ("adam", 0.01)),
    Cell("2nn", False, 0.1, 5, 10, None, _FEW, "fedadam", (), ("adam", 0.0316)),
    Cell("cnn", False, 0.1, 5, 10, None, _FEW, "scaffold"),
    Cell("cnn", False, 0.1, 5, 10, None, _FEW, "fedprox", (("mu", 0.01),)),
    Cell("cnn", False, 0.1, 5, 10, None, _FEW, "fednova"),
    Cell("cnn", False, 0.1, 5, 10, None, _FEW, "feddyn", (("alpha", 0.01),)),
    Cell("cnn", False, 0.1, 5, 10, None, _FEW, "fedadam", (), ("adam", 0.01)),
)
"""In the order in which they are run: the ones most often reproduced first."""
