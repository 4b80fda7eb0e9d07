"""Rules of the house that a machine can check: who imports what, how long a file is, and no global randomness."""

import ast
import pathlib
from collections.abc import Iterator

import pytest

import fedmed

ROOT = pathlib.Path(fedmed.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
LONGEST = 300
GLOBAL_DRAWS = {"Generator", "BitGenerator", "PCG64", "SeedSequence", "default_rng"}  # allowed: they take a seed


def name_of(path: pathlib.Path) -> str:
    return str(path.relative_to(ROOT))


def imported(path: pathlib.Path) -> Iterator[str]:
    """Yields the dotted names that a file imports anywhere, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def offenders(folder: str, banned: tuple[str, ...]) -> dict[str, list[str]]:
    """Returns what files of a folder import of the banned packages."""
    found = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        hits = [name for name in imported(path) if any(name == b or name.startswith(f"{b}.") for b in banned)]
        if hits:
            found[name_of(path)] = hits
    return found


def test_only_the_federated_package_imports_tff() -> None:
    found = offenders("", ("tensorflow_federated",))
    assert found, "the scan finds nothing at all"
    assert {name.split("/")[0] for name in found} == {"federated"}


def test_learning_is_pure() -> None:
    """No TFF, files, flags, clocks, processes or randomness of its own; `fedmed.config` gives it types only."""
    banned = ("tensorflow_federated", "pathlib", "os", "io", "shutil", "tempfile", "tomllib", "absl", "argparse")
    clocks = ("time", "datetime", "subprocess", "random", "secrets")
    ours = ("federated", "experiment", "training", "rundir", "checkpoints", "files", "reporting", "commands", "cli")
    assert offenders("learning", (*banned, *clocks, *(f"fedmed.{name}" for name in ours))) == {}


def test_learning_calls_no_reader_of_settings_or_files() -> None:
    for path in (ROOT / "learning").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "config":
                assert node.attr[0].isupper(), f"{name_of(path)}: config.{node.attr} is more than a type"
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id != "open", f"{name_of(path)} opens a file"


@pytest.mark.parametrize("folder", ["data", "statistics"])
def test_data_and_statistics_need_no_tensorflow(folder: str) -> None:
    assert (
        offenders(folder, ("tensorflow", "keras", "tensorflow_federated", "fedmed.learning", "fedmed.training")) == {}
    )


def test_no_file_is_too_long() -> None:
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in FILES}
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


def test_nothing_draws_from_global_randomness() -> None:
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Attribute):
                continue
            spelled = ast.unparse(node)
            if spelled.startswith(("np.random.", "numpy.random.")) and name_of(path) != "models/building.py":
                assert node.attr in GLOBAL_DRAWS, f"{name_of(path)}: {spelled}"
            assert spelled not in ("tf.random.set_seed", "random.seed"), f"{name_of(path)}: {spelled}"


def test_global_randomness_is_touched_in_one_place_which_puts_it_back() -> None:
    """Keras initialisers draw from global generators only; `building.seeded` saves and restores them."""
    import random

    import numpy as np

    from fedmed.models import building

    def state() -> tuple[object, str]:
        return random.getstate(), str(np.random.get_state())

    before = state()
    with building.seeded(7):
        assert state() != before
    assert state() == before


def test_no_print_in_the_library() -> None:
    """Only the command line and what shows progress may write to the terminal."""
    for path in FILES:
        if path.name == "progress.py" or name_of(path).split("/")[0] in ("cli.py", "commands", "reporting"):
            continue
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        assert not [c for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"], name_of(path)
