"""Which digits can a server rebuild from a hospital's update? True and recovered ones side by side.

    uv run python -m experiments.inversion

Each case is an update of fedmed's own local training on MNIST test digits, attacked as the server sees it. "sigmoid
net" is the one of Zhu et al. 2019, with weights as they draw them, which suits the attack; mnist_cnn and mcmahan_2nn
are fedmed's, with their usual first weights.
"""

import pathlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from absl import flags

from experiments import programs
from fedmed.system import files, machine, pictures, quiet, seeds

quiet.silence()  # before TensorFlow is imported

import tensorflow as tf  # noqa: E402

from fedmed.attacks import inversion, observation, reconstruction  # noqa: E402
from fedmed.attacks.descent import Search  # noqa: E402
from fedmed.attacks.inversion import Target  # noqa: E402
from fedmed.attacks.likeness import Pictures  # noqa: E402
from fedmed.attacks.observation import Seen, Work  # noqa: E402
from fedmed.data import mnist  # noqa: E402
from fedmed.learning.algorithm import Rows  # noqa: E402
from fedmed.learning.learner import Learner  # noqa: E402
from fedmed.learning.objective import objective  # noqa: E402
from fedmed.learning.plain_training import plain_training  # noqa: E402
from fedmed.learning.values import Turn, Weights  # noqa: E402
from fedmed.models import Spec, building, images  # noqa: E402
from fedmed.settings import config  # noqa: E402

FLAGS = flags.FLAGS
flags.DEFINE_integer("seed", 0, "of the digits drawn, the starts and the noise")
flags.DEFINE_integer("iterations", 400, "of L-BFGS, at most", lower_bound=1)
flags.DEFINE_string("results", "experiments/results", "where inversion.md and inversion.png are written")

RATE = 0.1
SPEC = Spec((28, 28, 1), "multiclass", 10)


class Case(NamedTuple):
    """What is attacked, and how: `noise` with clip 1; `hospitals` whose updates are summed; whether it is pictured."""

    model: str
    work: Work
    way: reconstruction.Way
    noise: float | None = None
    starts: int = 1
    pictured: bool = False

    @property
    def seen(self) -> str:
        """What the server sees, in words."""
        if self.work.clients > 1:
            return f"secure sum of {self.work.clients} hospitals x {self.work.rows}"
        return "bare" if self.noise is None else f"clip 1, noise {self.noise:g}"


SIGMOID = "sigmoid net"
CASES = (
    Case(SIGMOID, Work(1, RATE), "inversion", starts=2, pictured=True),
    Case(SIGMOID, Work(8, RATE), "inversion", pictured=True),
    Case(SIGMOID, Work(8, RATE, clients=4), "inversion", pictured=True),
    Case(SIGMOID, Work(1, RATE), "inversion", noise=1.0, starts=2, pictured=True),
    Case(SIGMOID, Work(1, RATE, epochs=5), "inversion", starts=2),
    Case(SIGMOID, Work(4, RATE, batch=1), "inversion"),
    Case(SIGMOID, Work(1, RATE), "inversion", noise=0.05, starts=2),
    Case("mnist_cnn", Work(1, RATE), "inversion", starts=2),
    Case("mnist_cnn", Work(1, RATE), "dense layer", starts=2, pictured=True),
    Case("mnist_cnn", Work(1, RATE, epochs=5), "dense layer", starts=2),
    Case("mnist_cnn", Work(8, RATE), "dense layer", starts=2),
    Case("mnist_cnn", Work(1, RATE), "dense layer", noise=1.0, starts=2),
    Case("mcmahan_2nn", Work(1, RATE), "dense layer"),
    Case("mcmahan_2nn", Work(8, RATE), "dense layer", pictured=True),
    Case("mcmahan_2nn", Work(32, RATE, batch=8, epochs=2), "dense layer"),
    Case("mcmahan_2nn", Work(8, RATE, clients=4), "dense layer"),
    Case("mcmahan_2nn", Work(1, RATE), "dense layer", noise=1.0),
)


def sigmoid_net() -> Target:
    """Returns three sigmoid convolutions and a dense layer, with weights drawn from U(-.5, .5) (Zhu et al. 2019)."""
    layers = tf.keras.layers
    model = tf.keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Conv2D(12, 5, strides=2, padding="same", activation="sigmoid"),
            layers.Conv2D(12, 5, strides=2, padding="same", activation="sigmoid"),
            layers.Conv2D(12, 5, padding="same", activation="sigmoid"),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )
    rng = np.random.default_rng(5)
    received = tuple(rng.uniform(-0.5, 0.5, v.shape).astype(np.float32) for v in model.trainable_variables)
    return Target(model, "multiclass", objective("multiclass", "link"), received)


def own(factory: Callable[[Spec], tf.keras.Model]) -> Callable[[], Target]:
    """Returns a function that builds one of fedmed's models."""

    def build() -> Target:
        with building.seeded(1):
            model = factory(SPEC)
        received = tuple(v.numpy() for v in model.trainable_variables)
        return Target(model, "multiclass", objective("multiclass", "mean"), received)

    return build


MODELS = {SIGMOID: sigmoid_net, "mnist_cnn": own(images.mnist_cnn), "mcmahan_2nn": own(images.mcmahan_2nn)}


def updates(target: Target, work: Work, x: np.ndarray, y: np.ndarray, turns: Sequence[np.ndarray]) -> list[list]:
    """Trains each client on its rows, by fedmed's own local training; returns what each would send."""
    target.restore()
    settings = config.Client(learning_rate=work.learning_rate, batch_size=work.batch or "full", epochs=work.epochs)
    train = plain_training(settings, Learner(target.model, target.objective))

    @tf.function(autograph=False)
    def update(x: tf.Tensor, y: tf.Tensor, seed: tf.Tensor) -> list[tf.Tensor]:
        start = Weights([tf.constant(w) for w in target.received], [])
        trained = train(start, Rows(x, y), Turn(seed, tf.constant(work.learning_rate)))
        return [after - before for after, before in zip(trained.weights.trainable, start.trainable, strict=True)]

    parts = zip(np.split(x, work.clients), np.split(y, work.clients), turns, strict=True)
    return [[u.numpy() for u in update(tf.constant(a), tf.constant(b), tf.constant(s))] for a, b, s in parts]


def observed(case: Case, sent: Sequence[list], work: Work, rng: np.random.Generator) -> Seen:
    """Returns what the server sees of the updates."""
    if work.clients > 1:
        return observation.summed(sent, work)
    if case.noise is None:
        return observation.bare(sent[0], work)
    return observation.noised(sent[0], work, 1.0, case.noise, rng)


def attacked(case: Case, x: np.ndarray, y: np.ndarray) -> Pictures:
    """Draws digits, trains on them, and rebuilds them from what the server sees; labels and order are known to it."""
    rng = seeds.generator(FLAGS.seed, "inversion", CASES.index(case))
    picked = rng.choice(len(x), case.work.in_all, replace=False)
    target = MODELS[case.model]()
    turns = [seeds.pair(FLAGS.seed, "client", 0, client) for client in range(case.work.clients)]
    work = inversion.knowing_order(case.work, turns)
    sent = updates(target, work, x[picked], y[picked], turns)
    search = Search(starts=case.starts, iterations=FLAGS.iterations)
    seen = observed(case, sent, work, rng)
    found = reconstruction.rebuilt_pictures(target, seen, x[picked], case.way, rng, y[picked], search)
    if isinstance(found, inversion.NotAttempted):
        raise AssertionError(f"{case}: {found.reason}")
    return found


def row(case: Case, found: Pictures) -> str:
    """Returns a case's line of the table."""
    work, missed = case.work, f", {found.missed} not" if found.missed else ""
    psnr = f"{np.median(found.psnr):.1f} ({found.psnr.min():.1f} to {found.psnr.max():.1f})"
    above = int((found.psnr > 30).sum())
    return (
        f"| {case.model} | {case.way} | {case.seen} | {work.rows} | {work.steps} | {psnr} | "
        f"{np.median(found.ssim):.2f} | {above} of {work.in_all}{missed} |"
    )


def picture(shown: Sequence[tuple[Case, Pictures]], path: pathlib.Path) -> None:
    """Draws up to eight true digits of each case above the recovered ones."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    with matplotlib.rc_context(pictures.RC):
        figure, axes = pyplot.subplots(2 * len(shown), 8, figsize=(6.4, 1.9 * len(shown)))
        for axis in axes.ravel():
            axis.axis("off")
        for number, (case, found) in enumerate(shown):
            words = f"{case.model}, {case.way}, {case.seen}, batch {case.work.rows}"
            above, below = axes[2 * number], axes[2 * number + 1]
            above[0].set_title(f"{words}: true, recovered (dB)", loc="left", fontsize=8)
            for column in range(min(8, len(found.true))):
                above[column].imshow(found.true[column, ..., 0], cmap="gray", vmin=0, vmax=1)
                below[column].imshow(found.recovered[column, ..., 0], cmap="gray", vmin=0, vmax=1)
                below[column].set_title(f"{found.psnr[column]:.0f}", fontsize=7, pad=1)
        figure.subplots_adjust(0, 0, 1, 1, 0.05, 0.35)
        figure.savefig(path, dpi=80, bbox_inches="tight", metadata={"Software": None})
        pyplot.close(figure)


def page(rows: Sequence[str], chance: float) -> str:
    """Returns the text of inversion.md."""
    processor = machine.processor()
    lines = [
        "# Digits rebuilt from a hospital's update",
        "",
        f"`uv run python -m experiments.inversion --seed={FLAGS.seed} --iterations={FLAGS.iterations}`",
        "",
        "Updates of fedmed's local training (SGD, rate 0.1) on MNIST test digits, by models that are not trained yet.",
        "The server is taken to know the rate, the number of rows, their labels and their order. Inversions start once",
        "or twice; more starts and iterations get further. Each true digit is compared with the recovered one that is",
        "matched with it, which a server could not choose so well: of the 200 readings of a noised layer, the best.",
        "PSNR: median (least to most) in dB over the digits of one draw; above 30 dB a digit can hardly be told from",
        f"the true one, and two random digits are {chance:.1f} dB apart on average. Each case is one draw: read it as",
        "an example, not as a rate.",
        "",
        "| model | attack | the server sees | rows | steps | PSNR | SSIM | above 30 dB |",
        "|---|---|---|---|---|---|---|---|",
        *rows,
        "",
        "![true and recovered digits](inversion.png)",
        "",
        f"Machine: {processor.cores} cores, {processor.model}.",
        "",
    ]
    return "\n".join(lines)


def main(argv: Sequence[str]) -> None:
    """Attacks all cases and writes page and picture."""
    del argv
    folder = pathlib.Path(FLAGS.results)
    programs.check_writable("--results", folder)
    tests = mnist.mnist().test
    assert tests is not None  # MNIST has its own
    x, y = np.asarray(tests.x, np.float32) / 255, tests.y
    rows, shown = [], []
    for case in CASES:
        found = attacked(case, x, y)
        rows.append(row(case, found))
        print(rows[-1], flush=True)
        if case.pictured:
            shown.append((case, found))
    pairs = np.random.default_rng(0).permutation(len(x))[:400].reshape(2, 200)
    chance = float(np.mean(-10 * np.log10(np.square(x[pairs[0]] - x[pairs[1]]).mean(axis=(1, 2, 3)))))
    picture(shown, folder / "inversion.png")
    files.write_atomically(folder / "inversion.md", page(rows, chance))


if __name__ == "__main__":
    programs.run(main)
