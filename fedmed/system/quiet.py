"""TensorFlow imported well: without log noise that is no news to a user, and in version 2 wherever it is imported."""

import logging
import os
import warnings

# Level 3: at 2 TensorFlow reports each XLA stream on a CPU as an error ("SetPriority unimplemented"). What is an error
# to us comes as an exception.
_ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "3", "GRPC_VERBOSITY": "ERROR", "ABSL_MIN_LOG_LEVEL": "3"}
_LOGGERS = ("tensorflow", "absl", "jax", "h5py", "matplotlib")


# Under absl's app.run, TensorFlow 2.14 makes its context while it is imported, before it has turned to version 2, and
# Keras then builds placeholders of version 1. Told from the start, it gets that right.
_BEHAVIOUR = {"TF2_BEHAVIOR": "1"}


def silence() -> None:
    """Keeps libraries from printing what is no failure; call it before TensorFlow is imported.

    Variables that the user has set stay as they are, and so does Python's own -W or PYTHONWARNINGS.
    """
    for name, value in {**_ENVIRONMENT, **_BEHAVIOUR}.items():
        os.environ.setdefault(name, value)
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    if not os.environ.get("PYTHONWARNINGS"):
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)
