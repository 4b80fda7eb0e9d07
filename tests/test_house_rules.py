"""Rules of the house that a machine can check: who imports what, how long a file is, and no global randomness."""

import ast
import pathlib
from collections.abc import Iterator

import pytest

import fedmed

ROOT = pathlib.Path(fedmed.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
LONGEST = 300
FLOORS = (
    "system", "settings", "privacy", "data", "statistics", "models", "learning", "engine", "attacks",
    "reporting", "runs", "study", "export", "commands",
)  # fmt: skip
"""The packages of fedmed from the ground up."""
SAME_THING = {"calibration", "cohort", "decision", "price", "progress", "study", "subgroups"}
TOP = ("__init__", "__main__", "cli")
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


@pytest.mark.parametrize("package", ["tensorflow_federated", "ray"])
def test_only_the_runtimes_import_tff_and_ray(package: str) -> None:
    found = offenders("", (package,))
    assert found, "the scan finds nothing at all"
    assert {"/".join(name.split("/")[:2]) for name in found} == {"engine/runtimes"}


def room_of(name: str) -> str:
    """Returns the room a dotted name or a path within fedmed belongs to: a package of ours, or a file at the top."""
    return name.removesuffix(".py").replace("/", ".").split(".")[0]


def test_imports_go_down() -> None:
    """A room imports from rooms below it only, and every room is on the list."""
    rooms = {room_of(name_of(path)) for path in FILES}
    assert rooms == {*FLOORS, *TOP}
    found = []
    for path in FILES:
        room = room_of(name_of(path))
        floor = FLOORS.index(room) if room in FLOORS else len(FLOORS)
        for name in imported(path):
            other = room_of(name.removeprefix("fedmed.")) if name.startswith("fedmed.") else room
            if other in FLOORS and other != room and FLOORS.index(other) >= floor:
                found.append(f"{name_of(path)} imports {name}")
            if other in TOP and room in FLOORS:
                found.append(f"{name_of(path)} imports {name}")
    assert not found


def test_a_files_name_means_one_thing() -> None:
    """Two files share a name only where they are about the same thing on different floors, as listed here."""
    stems: dict[str, list[str]] = {}
    for path in FILES:
        if path.name != "__init__.py":
            stems.setdefault(path.stem, []).append(name_of(path))
    assert {stem for stem, names in stems.items() if len(names) > 1} <= SAME_THING


def test_learning_is_pure() -> None:
    """No TFF, files, flags, clocks, processes or randomness of its own; the settings give it types only."""
    banned = ("tensorflow_federated", "pathlib", "os", "io", "shutil", "tempfile", "tomllib", "absl", "argparse")
    clocks = ("time", "datetime", "subprocess", "random", "secrets", "fedmed.system.files", "fedmed.system.seeds")
    assert offenders("learning", (*banned, *clocks)) == {}


def test_learning_calls_no_reader_of_settings_or_files() -> None:
    for path in (ROOT / "learning").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "config":
                assert node.attr[0].isupper(), f"{name_of(path)}: config.{node.attr} is more than a type"
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id != "open", f"{name_of(path)} opens a file"


@pytest.mark.parametrize("folder", ["system", "settings", "data", "statistics", "reporting"])
def test_what_shows_and_prepares_needs_no_tensorflow(folder: str) -> None:
    found = offenders(folder, ("tensorflow", "keras", "tensorflow_federated"))
    assert {name for name in found if name != "reporting/tensorboard.py"} == set()


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
