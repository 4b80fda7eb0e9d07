"""A Keras model made ready for local training inside a graph: variables in order, a loss, seeded randomness."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from fedmed.learning import gradients, randomness, tracing
from fedmed.learning.objective import Objective
from fedmed.learning.values import Weights

Inputs = tf.Tensor | Mapping[str, tf.Tensor]
_Adapted = tf.keras.layers.experimental.preprocessing.PreprocessingLayer


class Variable(NamedTuple):
    """What is known of one of a model's variables.

    Attributes:
        name: its own.
        layers: the names of the layers that have it, the outermost first.
        layer: the class of the innermost.
        shape: its own.
    """

    name: str
    layers: tuple[str, ...]
    layer: type
    shape: tuple[int | None, ...]


class Anatomy(NamedTuple):
    """A model's variables, in the order of its Weights, so that an algorithm can tell layers apart."""

    trainable: tuple[Variable, ...]
    moving: tuple[Variable, ...]


class Habits(NamedTuple):
    """What a call of a model in training does beside its output.

    Attributes:
        adds_losses: it adds losses (activity regularisers, `add_loss` in `call`), which may depend on the rows. They
            are no sum over rows, so no bound on a row's own gradient holds for them.
        changes: the variables that it changes.
    """

    adds_losses: bool
    changes: tuple[tf.Variable, ...]


class Learner:
    """Owns a model's variables; whoever holds it trains one client at a time.

    Attributes:
        trainable: variables that the optimizer changes, in model order.
        moving: variables that training changes by other means (BatchNorm's moving statistics), in model order.
        adapted: variables that hold what a layer found in rows before training; nobody changes them.
        passing: other variables that a call changes in training, such as a counter of steps, with their first values:
            they are nobody's weights, and every client begins with these values.
    """

    def __init__(self, model: tf.keras.Model, objective: Objective) -> None:
        self._model = model
        self._objective = objective
        self._generators = randomness.seed_random_layers(model)
        self.trainable: list[tf.Variable] = list(model.trainable_variables)
        self.moving: list[tf.Variable] = moving_variables(model)
        self.adapted: list[tf.Variable] = adapted_variables(model)
        self.passing: list[tuple[tf.Variable, Any]] = []

    def assign(self, weights: Weights) -> None:
        """Sets the variables to the given weights."""
        for variable, value in zip(self.trainable, weights.trainable, strict=True):
            variable.assign(value, read_value=False)
        for variable, value in zip(self.moving, weights.moving, strict=True):
            variable.assign(value, read_value=False)
        for variable, value in self.passing:
            variable.assign(value, read_value=False)

    def weights(self) -> Weights:
        """Returns the variables' values."""
        return Weights([v.read_value() for v in self.trainable], [v.read_value() for v in self.moving])

    def gradients(self, x: Inputs, y: tf.Tensor, seed: tf.Tensor) -> tuple[list[tf.Tensor], tf.Tensor]:
        """Takes the gradient of the batch's mean loss plus the model's regularisation losses.

        Args:
            x: [b, ...] inputs in storage dtype.
            y: [b] labels.
            seed: [2] int32, of this step's random draws.

        Returns:
            Gradients in the order of `trainable`, and sums [loss, hits] over the batch, float32 [2].
        """
        total, sums = self.loss(x, y, seed)
        return self.gradients_of(total), sums

    def loss(self, x: Inputs, y: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns what `gradients` takes the gradient of, [] float32, and its sums; see there."""
        row_losses, hits = self.row_losses(x, y, seed)
        loss = tf.reduce_mean(row_losses)
        penalties = [tf.cast(penalty, tf.float32) for penalty in self._model.losses]
        total = tf.add_n([loss, *penalties]) if penalties else loss
        return total, tf.stack([tf.reduce_sum(row_losses), tf.reduce_sum(hits)])

    def row_losses(self, x: Inputs, y: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns each row's loss in training, regularisation left out, and whether it is hit, both float32 [b].

        Args:
            x: [b, ...] inputs in storage dtype.
            y: [b] labels.
            seed: [2] int32, of this step's random draws.
        """
        with gradients.fast_gradients():
            output = self._output(x, seed)
            return self._objective.loss(y, output), self._objective.hits(y, output)

    def gradients_of(self, total: tf.Tensor) -> list[tf.Tensor]:
        """Takes the dense gradient of `total` [], in the order of `trainable`; zeros for what it does not depend on."""
        taken: Sequence[Any] = tf.gradients(total, self.trainable)
        return [
            tf.zeros(v.shape) if g is None else tf.convert_to_tensor(g)
            for g, v in zip(taken, self.trainable, strict=True)
        ]

    def penalty_gradients(self) -> list[tf.Tensor]:
        """Takes the gradient of the losses that depend on weights alone (`kernel_regularizer` and its like).

        What a call of the model adds is not among them: see `Habits`.

        Returns:
            Gradients in the order of `trainable`; zeros where nothing is penalised.
        """
        if not self.is_penalised:
            return [tf.zeros(v.shape) for v in self.trainable]
        return self.gradients_of(tf.add_n([tf.cast(loss, tf.float32) for loss in _made_anew(self._model)]))

    @property
    def is_penalised(self) -> bool:
        """Whether there are losses that depend on weights alone."""
        return bool(_made_anew(self._model))

    def habits(self, x: Any, y: Any) -> Habits:
        """Returns what a call of the model on rows does in training, as it is traced."""
        found: list[bool] = []

        def look(x: Inputs, y: tf.Tensor) -> tf.Tensor:
            losses, _ = self.row_losses(x, y, tf.constant([0, 0]))
            found.append(len(self._model.losses) > len(_made_anew(self._model)))
            return losses

        graph = tf.function(tracing.layers_converted(look), autograph=False).get_concrete_function(x, y).graph
        return Habits(found[-1], tuple(tracing.written(self._model.variables, graph)))

    def let_pass(self, x: Any, y: Any) -> None:
        """Finds the `passing` variables, by what a call on rows changes; their values are now the first ones."""
        if fixed := {id(v) for v in fixed_variables(self._model)}:
            self.passing = [(v, v.numpy()) for v in self.habits(x, y).changes if id(v) in fixed]

    @contextlib.contextmanager
    def at_rest(self) -> Iterator[None]:
        """Lets dropout pass all, and noise be its mean, in what is traced inside the block."""
        with randomness.resting(self._generators):
            yield

    @contextlib.contextmanager
    def restoring(self) -> Iterator[None]:
        """Puts all of the model's variables back, after the block, to the values that they had before it; eagerly."""
        before = [(v, v.read_value()) for v in self._model.variables]
        try:
            yield
        finally:
            for variable, value in before:
                variable.assign(value)

    def _output(self, x: Inputs, seed: tf.Tensor) -> tf.Tensor:
        for number, generator in enumerate(self._generators):
            generator.begin(tf.random.experimental.stateless_fold_in(seed, number))
        return tf.cast(self._model(scaled(x), training=True), tf.float32)

    def predict(self, x: Inputs) -> tf.Tensor:
        """Returns predictions for [b, ...] inputs: [b] means, or [b, classes] probabilities."""
        return self._objective.predict(self._model(scaled(x), training=False))


def _made_anew(model: tf.keras.Model) -> list[tf.Tensor]:
    """Returns the losses that Keras computes at each look, those of weights; those of a call stay until the next."""
    losses, again = model.losses, model.losses
    return [loss for loss in losses if not any(loss is other for other in again)]


def moving_variables(model: tf.keras.Model) -> list[tf.Variable]:
    """Returns the variables that training changes by other means than the optimizer (moving statistics).

    Frozen weights are not among them (they were made to be trained, or their layer is frozen), nor what a layer was
    adapted to, nor whole numbers such as counters: nobody sends them.
    """
    still = [layer for layer in _layers(model) if not layer.trainable or isinstance(layer, _Adapted)]
    frozen = {id(v) for layer in still for v in layer.weights}
    return [v for v in model.non_trainable_variables if v.dtype.is_floating and not v.trainable and id(v) not in frozen]


def adapted_variables(model: tf.keras.Model) -> list[tf.Variable]:
    """Returns what layers such as Normalization found in rows before training, by `adapt`; training leaves it alone."""
    return [v for layer in _layers(model) if isinstance(layer, _Adapted) for v in layer.variables]


def fixed_variables(model: tf.keras.Model) -> list[tf.Variable]:
    """Returns the variables that nobody sends: frozen weights, counters."""
    moving = {id(v) for v in moving_variables(model)}
    return [v for v in model.non_trainable_variables if id(v) not in moving]


def anatomy(model: tf.keras.Model) -> Anatomy:
    """Returns what is known of the variables that training changes."""
    owners: dict[int, list[tf.keras.layers.Layer]] = {}
    for layer in _layers(model):  # a layer comes before those inside it
        for v in layer.weights:
            owners.setdefault(id(v), []).append(layer)

    def described(v: tf.Variable) -> Variable:
        layers = sorted(owners.get(id(v), [model]), key=lambda layer: -len(layer.weights))
        return Variable(v.name, tuple(layer.name for layer in layers), type(layers[-1]), tuple(v.shape))

    return Anatomy(tuple(map(described, model.trainable_variables)), tuple(map(described, moving_variables(model))))


def _layers(model: tf.keras.Model) -> list[tf.keras.layers.Layer]:
    return [module for module in model.submodules if isinstance(module, tf.keras.layers.Layer)]


def scaled(x: Inputs) -> Any:
    """Turns storage dtype into what models take: uint8 pixels become float32 in [0, 1], the rest stays."""
    if isinstance(x, Mapping):
        return {name: scaled(part) for name, part in x.items()}
    return tf.cast(x, tf.float32) * (1.0 / 255.0) if x.dtype == tf.uint8 else x
