"""`fedmed budget CONFIG`: what a config promises to whom, and when it is spent, without training."""

from collections.abc import Sequence

from absl import flags

from fedmed.commands.command import Command, define_set
from fedmed.data.store import patient_counts
from fedmed.engine import checks, promises
from fedmed.reporting import budget_table
from fedmed.settings import config
from fedmed.system import errors


def _execute(values: flags.FlagValues, arguments: Sequence[str]) -> int:
    settings = config.load(arguments[0], values.set)
    if not settings.privacy.is_on:
        raise errors.ConfigError(
            "privacy: nothing is promised; give [privacy] with unit = 'patient' and target_epsilon, for example "
            "--set privacy.unit=patient --set privacy.target_epsilon=3"
        )
    clients = checks.check(settings)
    told = promises.made(settings, patient_counts(clients.train))
    if told is None:
        raise ValueError("no promise")
    print("\n".join(budget_table.lines(settings, told)))
    return 0


COMMAND = Command("budget", "CONFIG", "What is promised to whom, and when it is spent.", define_set, _execute)
