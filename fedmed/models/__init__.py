"""Keras model builders: fedmed's own, and yours by dotted path."""

from fedmed.models import images, tabular  # noqa: F401  (importing them fills the registry)
from fedmed.models.spec import Spec, models, takes_spec
from fedmed.settings.plugins import is_dotted

__all__ = ["Spec", "is_dotted", "models", "takes_spec"]
