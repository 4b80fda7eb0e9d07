"""Which settings of how updates travel do not go together. No TensorFlow: it is known before that is imported."""

from fedmed.settings.config import RunConfig
from fedmed.system import errors


def check(settings: RunConfig) -> None:
    """Raises a ConfigError, in one line, for settings of which one undoes another."""
    _check_compression(settings)
    _check_whole(settings)
    if settings.aggregation.secure:
        _check_secure(settings)


def _check_compression(settings: RunConfig) -> None:
    asked = settings.compression
    if asked.down == "quantise" and asked.up != "quantise" and asked.bits != 8:
        raise errors.ConfigError(
            f"compression.bits: is of what clients send, by up = 'quantise', got {asked.bits}; the server sends 8 bits"
        )


def _check_whole(settings: RunConfig) -> None:
    """Refuses what changes updates on their way, for algorithms in which that would undo what they are."""
    name, asked = settings.algorithm.name, settings.aggregation
    changed = {
        "aggregation.secure": asked.secure,
        "aggregation.clip_norm": asked.clip_norm is not None,
        "compression.up": settings.compression.up != "none",
    }
    if name == "feddyn" and (given := [key for key, on in changed.items() if on]):
        raise errors.ConfigError(
            f"{given[0]}: changes updates on their way, and feddyn needs clients and server to add up the same; leave "
            "it out"
        )
    if name in _UNCLIPPED and not asked.secure and asked.clip_norm is not None:
        raise errors.ConfigError(f"aggregation.clip_norm: {name} {_UNCLIPPED[name]}; leave it out")


def _check_secure(settings: RunConfig) -> None:
    name, asked = settings.algorithm.name, settings.aggregation
    if asked.clip_norm is None:
        raise errors.ConfigError("aggregation.secure: needs aggregation.clip_norm, which bounds what is summed")
    if asked.rule != "mean":
        raise errors.ConfigError(
            f"aggregation.secure: gives the server a sum only, and {asked.rule!r} needs each update"
        )
    if name in _SEND_MORE:
        raise errors.ConfigError(
            f"aggregation.secure: {name} sends more than a clipped update, and what is not bounded"
        )
    if settings.compression.up != "none":
        instead = "; fewer aggregation.secure_bits do" if settings.compression.up == "quantise" else ""
        raise errors.ConfigError(
            f"aggregation.secure: updates written by compression.up = {settings.compression.up!r} do not add up under "
            f"masks{instead}"
        )


_UNCLIPPED = {
    "qffl": "weighs updates by their clients' losses, which clipping undoes",
    "fednova": "sends updates a step long, which would be clipped instead of whole ones",
}
_SEND_MORE = ("scaffold", "fednova", "mimelite", "fedavg_moments", "qffl")
