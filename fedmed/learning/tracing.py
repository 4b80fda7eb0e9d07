"""A computation on a Keras model, recorded once as a graph and replayed on fresh variables wherever it is needed.

The model is built once, eagerly, as its author expects. What a runtime gets is the recorded graph, with variables of
its own in place of the model's: TFF serialises it for its worker, and each lane of the in-process runtime has a copy.
(Building a Keras model again inside TFF's graph would switch Keras to its TensorFlow 1 layers, process-wide.)
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow.python.autograph.core import ag_ctx  # the one way to undo what autograph=False means for Keras
from tensorflow.python.eager import context  # the one way to tell a process of a graph's functions
from tensorflow.python.framework import auto_control_deps_utils as resources  # the one way to who writes a variable
from tensorflow.python.ops import handle_data_util  # the one way to a handle's dtype

from fedmed.system import errors

_RANDOM = ("Random", "TruncatedNormal", "ParameterizedTruncatedNormal", "Multinomial", "Rng", "StatefulRandom",
           "StatefulStandardNormal", "StatefulTruncatedNormal", "StatefulUniform")  # fmt: skip
"""How the names of those operations begin that draw by a state of their own."""


class Slot(NamedTuple):
    """A variable of the recorded graph: the placeholder of its handle, and the value a fresh copy starts from."""

    placeholder: str
    initial: Any


class Recording(NamedTuple):
    """A recorded computation.

    Attributes:
        graph: its serialised graph, functions included.
        arguments: the placeholders of its flattened arguments.
        slots: the variables it reads and writes.
        constants: (placeholder, value) of the other tensors it uses.
        outputs: names of its flattened outputs.
        structure: the outputs' structure, to be packed.
    """

    graph: Any
    arguments: list[str]
    slots: list[Slot]
    constants: list[tuple[str, Any]]
    outputs: list[str]
    structure: Any

    def variables(self) -> list[tf.Variable]:
        """Makes fresh variables, in the current graph or eagerly."""
        return [tf.Variable(slot.initial, trainable=False) for slot in self.slots]

    def sent(self) -> "Recording":
        """Returns the recording as another process can unpickle it: the graph as bytes, the outputs flat, no tensor.

        The variables' first values go along: those that training leaves alone are read before they are ever written.
        """
        flat = [0] * len(tf.nest.flatten(self.structure))
        return self._replace(graph=self.graph.SerializeToString(), structure=flat)

    @classmethod
    def arrived(cls, sent: "Recording") -> "Recording":
        """Returns, in another process, what was sent; its outputs are a list."""
        graph = tf.compat.v1.GraphDef.FromString(sent.graph)
        here: Any = context.context()
        for function in graph.library.function:  # a process that has not met them dies of a replay
            here.add_function_def(function)
        return sent._replace(graph=graph)

    def replay(self, variables: Sequence[tf.Variable], *arguments: Any) -> Any:
        """Adds the computation to the current graph, on the given variables, and returns its outputs."""
        flat = tf.nest.flatten(arguments)
        feeds = dict(zip(self.arguments, flat, strict=True))
        # An identity makes an eager variable's handle part of the graph that is being built.
        feeds |= {slot.placeholder: tf.identity(v.handle) for slot, v in zip(self.slots, variables, strict=True)}
        feeds |= {name: tf.constant(value) for name, value in self.constants}
        outputs = tf.graph_util.import_graph_def(self.graph, input_map=feeds, return_elements=self.outputs, name="")
        return tf.nest.pack_sequence_as(self.structure, outputs)


def record(function: Callable[..., Any], *specs: Any) -> Recording:
    """Records `function` for arguments of the given structure of TensorSpecs.

    Raises:
        ModelError: the model uses a resource that is no variable (a lookup table), which cannot be copied; or it draws
            random numbers that no seed repeats.
    """
    graph = tf.function(layers_converted(function), autograph=False).get_concrete_function(*specs).graph
    _check_repeats(graph.as_graph_def())
    slots, constants = [], []
    for outside, inside in graph.captures:
        if inside.dtype != tf.resource:
            constants.append((inside.name, outside.numpy()))
        else:
            slots.append(Slot(inside.name, _value(outside)))
    captured = {inside.name for _, inside in graph.captures}
    return Recording(
        graph=graph.as_graph_def(),
        arguments=[tensor.name for tensor in graph.inputs if tensor.name not in captured],
        slots=slots,
        constants=constants,
        outputs=[tensor.name for tensor in tf.nest.flatten(graph.structured_outputs)],
        structure=graph.structured_outputs,
    )


def _check_repeats(graph: Any) -> None:
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    if drawn := next((node.op for node in nodes if node.op.startswith(_RANDOM)), None):
        raise errors.ModelError(
            f"model or algorithm: {drawn} draws random numbers that no seed repeats, so that a resumed run would "
            "differ; draw by a Keras layer, which fedmed seeds (Dropout, GaussianNoise), or by tf.random.stateless_*"
        )


def written(variables: Sequence[tf.Variable], graph: Any) -> list[tf.Variable]:
    """Returns which of the variables a graph changes, its loops, branches and functions included."""
    changed = {
        id(handle) for op in graph.get_operations() for handle in resources.get_read_write_resource_inputs(op)[1]
    }
    inside = {id(outside): id(within) for outside, within in graph.captures}
    return [v for v in variables if inside.get(id(v.handle)) in changed]


def layers_converted(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function for `tf.function(..., autograph=False)` in which Keras converts the code of layers and models.

    A layer may branch or loop on a tensor: Keras, given a free hand, lets AutoGraph make graph operations of that, as
    it does in `fit`. Our own code needs none of it, so that its errors and its speed stay as they are.
    """

    @functools.wraps(function)
    def call(*args: Any) -> Any:
        with ag_ctx.ControlStatusCtx(ag_ctx.Status.UNSPECIFIED):
            return function(*args)

    return call


def _value(handle: Any) -> np.ndarray:
    """Reads a variable by its handle: a graph lists the variables that it reads, not those that it only assigns."""
    data = handle_data_util.get_handle_data(handle)
    if data is None or len(data.shape_and_type) != 1:
        raise errors.ModelError(
            "model: a layer holds a lookup table (StringLookup, IntegerLookup) or another resource that cannot be "
            "copied; Hashing, CategoryEncoding and Discretization hold none"
        )
    return tf.raw_ops.ReadVariableOp(resource=handle, dtype=tf.as_dtype(data.shape_and_type[0].dtype)).numpy()
