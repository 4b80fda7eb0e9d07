"""TensorFlow imported well: without log noise that is no news to a user, in version 2, and with its fast kernels."""

import logging
import os
import platform
import warnings

# Level 3: at 2 TensorFlow reports each XLA stream on a CPU as an error ("SetPriority unimplemented"). What is an error
# to us comes as an exception.
_ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "3", "GRPC_VERBOSITY": "ERROR", "ABSL_MIN_LOG_LEVEL": "3"}
_LOGGERS = ("tensorflow", "absl", "jax", "h5py", "matplotlib")


# Under absl's app.run, TensorFlow 2.14 makes its context while it is imported, before it has turned to version 2, and
# Keras then builds placeholders of version 1. Told from the start, it gets that right.
_BEHAVIOUR = {"TF2_BEHAVIOR": "1"}

# By itself TensorFlow turns its oneDNN kernels on only where the processor has AVX-512 VNNI, although they are faster
# without it too. A round of the MNIST CNNs without them takes 1.9 (small) to 2.8 (large) times as long on an AMD EPYC
# of the fourth generation, and twice as long on one of the third, where they were off. On ARM they are not measured.
# They abort the process on an empty batch, so no part of fedmed may feed one: see `batches.Plan` and `Predictor`.
_KERNELS = {"TF_ENABLE_ONEDNN_OPTS": "1"} if platform.machine().lower() in ("x86_64", "amd64") else {}


def environment() -> dict[str, str]:
    """Returns the variables that `silence` sets, as they are here: for processes that do not inherit them."""
    return {name: os.environ[name] for name in {**_ENVIRONMENT, **_BEHAVIOUR, **_KERNELS} if name in os.environ}


def one_core_each(lanes: int) -> dict[str, str]:
    """Returns the variables for a training process beside others: one thread for each of its lanes."""
    return {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": str(lanes), "OMP_NUM_THREADS": "1"}


def silence() -> None:
    """Keeps libraries from printing what is no failure and chooses kernels; call it before TensorFlow is imported.

    Variables that the user has set stay as they are, and so does Python's own -W or PYTHONWARNINGS. Processes that are
    started from here on (TFF's worker, a study's) inherit all of it.
    """
    for name, value in {**_ENVIRONMENT, **_BEHAVIOUR, **_KERNELS}.items():
        os.environ.setdefault(name, value)
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    if not os.environ.get("PYTHONWARNINGS"):
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)
