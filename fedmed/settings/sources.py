"""Stub."""

from fedmed.settings.config import RunConfig


def of(settings: RunConfig) -> dict[str, str]:
    """Stub."""
    del settings
    return {}
