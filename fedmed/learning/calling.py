"""How graphs are called where several of them may run in one process at once."""

from collections.abc import Callable
from typing import Any

from tensorflow.core.protobuf.config_pb2 import ConfigProto
from tensorflow.core.protobuf.rewriter_config_pb2 import RewriterConfig
from tensorflow.python.eager import context  # the one way to choose the rewritings of a function that is called


def sums_as_written(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a `tf.function`, to be called from any thread, whose sums TensorFlow leaves as they are written.

    In graphs that may need more than 205 MB, TensorFlow's memory optimizer makes a sum of three terms or more a
    temporary variable, named after its node. Two lanes that run at once then stumble over each other's variable
    ("Already exists", tensorflow/tensorflow#23780), and the terms are added in the order in which they are ready, so
    that the same run could have other bits. Left alone, a sum holds all its terms in memory at once.
    """
    here: Any = context.context()
    usual = here.function_call_options
    chosen = ConfigProto.FromString(usual.config_proto_serialized)
    chosen.graph_options.rewrite_options.memory_optimization = RewriterConfig.NO_MEM_OPT
    ours = context.FunctionCallOptions(usual.executor_type, chosen)

    def call(*args: Any) -> Any:
        before = here.function_call_options  # of this thread
        here.function_call_options = ours
        try:
            return function(*args)
        finally:
            here.function_call_options = before

    return call
