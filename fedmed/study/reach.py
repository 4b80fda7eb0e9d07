"""Whether another process can find what the settings name: one that starts anew knows fedmed's own and the plugins'."""

from fedmed.engine import registered
from fedmed.settings import config, plugins
from fedmed.study import presets


def is_only_here(settings: config.RunConfig) -> bool:
    """Tells whether something the settings name was registered by the program that runs, in a notebook's cell, say.

    Raises:
        ConfigError: a plugin cannot be imported.
    """
    plugins.load(settings.plugins)
    known = {"fedmed", *(name.partition(".")[0] for name in settings.plugins)}
    compared = [presets.settings_of(settings, name) for name in presets.named(settings)]
    every = (settings, *(config.variant(settings, arm) for arm in settings.arms), *compared)
    modules = [factory.__module__ for own in every for factory in registered.factories(own).values()]
    return any(module.partition(".")[0] not in known for module in modules)
