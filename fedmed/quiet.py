"""No log noise: what TensorFlow and its company print on import and after, which is no news to a user."""

import logging
import os
import warnings

# Level 3: at 2 TensorFlow reports each XLA stream on a CPU as an error ("SetPriority unimplemented"). What is an error
# to us comes as an exception.
_ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "3", "GRPC_VERBOSITY": "ERROR", "ABSL_MIN_LOG_LEVEL": "3"}
_LOGGERS = ("tensorflow", "absl", "jax", "h5py", "matplotlib")


def silence() -> None:
    """Keeps libraries from printing what is no failure; call it before TensorFlow is imported.

    Variables that the user has set stay as they are, and so does Python's own -W or PYTHONWARNINGS.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    if not os.environ.get("PYTHONWARNINGS"):
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)
