"""What a user's model or algorithm refuses, told in one line that quotes no patient's value."""

import contextlib
import re
from collections.abc import Iterator
from typing import Literal

import tensorflow as tf

from fedmed.system import errors, files


@contextlib.contextmanager
def in_one_line(doing: str, *, calls: bool = False, of: Literal["model", "algorithm"] = "model") -> Iterator[None]:
    """Turns what the model refuses into a ModelError that quotes no patient's value, an algorithm's an AlgorithmError.

    Args:
        doing: what the model was doing, such as "training".
        of: whose code it is.
        calls: the model's own Python is called, so that any error but the machine's is taken for the model's; otherwise
            operations of its graph run, and only theirs are.
    """
    try:
        yield
    except (errors.UserError, MemoryError, OSError):
        raise
    except Exception as error:
        if not calls and not isinstance(error, tf.errors.OpError):
            raise
        if failure := files.disk_failure(error):
            raise failure from None
        # Not `from error`: a traceback would quote what TensorFlow refused.
        kind = errors.ModelError if of == "model" else errors.AlgorithmError
        raise kind(f"{of}: it failed in {doing}: {cause(error)}") from None


def cause(error: Exception) -> str:
    """Returns the line in which TensorFlow says what was refused, and by which layer's operation, without the value."""
    lines = _lines(error)
    nodes = [number for number, line in enumerate(lines) if line.startswith("[[{{") and "{{node " in line]
    if nodes and nodes[0] > 0:
        node = lines[nodes[0]].partition("{{node ")[2].partition("}}")[0]
        return f"{_hidden(lines[nodes[0] - 1])} (in {node})"
    raised = [line for line in lines if _RAISED.match(line)]
    if "in user code:" in lines and raised:  # Keras lists the lines of code that led to it first
        return _hidden(raised[-1])
    told = first_line(error)
    kind = type(error).__name__
    if _RAISED.match(told):  # an error that Keras cannot raise again it tells of in a RuntimeError
        return told
    return told if isinstance(error, ValueError | tf.errors.OpError) or told == kind else f"{kind}: {told}"


def _lines(error: Exception) -> list[str]:
    text = error.args[0] if isinstance(error, KeyError) and error.args else error  # as text, a KeyError is quoted
    return [line.strip() for line in str(text).splitlines() if line.strip()]


_RAISED = re.compile(r"[A-Za-z_.]*(Error|Exception|Iteration): ")


def first_line(error: Exception) -> str:
    lines = _lines(error)
    lines = [line for line in lines if not line.startswith("Exception encountered when calling")] or lines
    return _hidden(lines[0]) if lines else type(error).__name__


def _hidden(line: str) -> str:
    """Hides the value that TensorFlow quotes ("indices[3] = 150 is not in ..."): it may be a patient's."""
    plain = re.sub(r"^{{function_node [^}]*}} *", "", line)
    return re.sub(r"(= *)-?[\d.]+(e[-+]?\d+)?\b", r"\1(hidden)", plain)[:300]
