"""What a stranger can put into names and files: markup, code, paths that lead elsewhere; nothing of it may act."""

import hashlib
import io
import pathlib
import pickle
import shutil
from collections.abc import Callable

import numpy as np

from experiments.trials import bench
from experiments.trials.bench import Place, Row, Verdict
from fedmed.settings import config

_MARKUP = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</style><svg onload=alert(1)>",
    "[x](javascript:alert(1))",
    "\x1b[2J\x1b]0;x\x07",
)
_PATHS = ("../../evil", "/tmp/evil", "..", "a/b", ".", "..\\x", "C:evil", "evil\u2215x", "~", "con\n../x")


class _Bomb:
    """Pickled, it makes a file when it is read."""

    def __init__(self, path: pathlib.Path) -> None:
        self._path = str(path)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
        return open, (self._path, "w")


def _is_inert(folder: pathlib.Path, ended: bench.Ended, payload: str) -> str:
    """Returns where a payload stands as it was given, in a page or on the terminal; "" for nowhere."""
    if "\x1b" in ended.out + ended.err:
        return "an escape on the terminal"
    for path in (path for path in folder.rglob("*") if path.suffix in (".html", ".md", ".svg")):
        text = path.read_text()
        if "\x1b" in text or (path.suffix != ".md" and "<" in payload and payload in text):
            return path.name
        if path.suffix == ".md" and ("<" in payload or "](" in payload) and payload in text:
            return path.name
    return ""


def markup(place: Place) -> Verdict:
    """Markup as the name of a hospital, of a column, of a level, and of the settings; every third one in a study."""
    payload, where = _MARKUP[place.number % len(_MARKUP)], place.number % 3
    rows = bench.table(np.random.default_rng(0))
    quoted = payload.replace('"', '""')
    for number, row in enumerate(rows):
        if where == 0 and number % 3 == 1:
            row[0] = quoted
        if where == 1 and number == 0:
            row[3] = quoted
        if where == 2 and number and row[5] == "a":
            row[5] = quoted
    path, out = bench.written(place.folder, rows, rounds=2, study=_STUDY), place.folder / "out"
    text = "\n".join(",".join(f'"{cell}"' if cell == quoted else cell for cell in row) for row in rows)
    (place.folder / "patients.csv").write_text(text + "\n")
    kind = "study" if place.number % 3 == 0 else "run"
    ended = bench.command(kind, path, "--out", out)
    if ended.status == 2:
        return Verdict(ended.is_one_line and "\x1b" not in ended.err, "refused" if ended.is_one_line else ended.last)
    if ended.status:
        return Verdict(False, ended.last)
    found = _is_inert(out, ended, payload)
    return Verdict(not found, f"markup acts in {found}" if found else f"markup, {kind}: escaped")


_STUDY = {"seeds": 1, "arms": ["federated", "local"], "draws": 100, "reference": False, "subgroups": ["stage"]}


def paths(place: Place) -> Verdict:
    """A path that leads elsewhere as the name of a hospital, or of the settings."""
    name, root = _PATHS[place.number % len(_PATHS)], place.folder / "a" / "b"
    root.mkdir(parents=True)
    rows = bench.table(np.random.default_rng(0))
    for row in rows[1::3]:
        row[0] = name
    path, out = bench.written(root, rows, rounds=2), root / "out"
    if place.number % 3 == 2:
        text = path.read_text().splitlines()
        path.write_text("\n".join([f"name = '{name}'" if line.startswith("name = 't") else line for line in text]))
        (place.folder / "cwd").mkdir()
    before = {*place.folder.rglob("*")}
    ended = bench.command("study" if place.number % 2 else "run", path, "--out", out, "--quiet")
    new = {one for one in place.folder.rglob("*") if one not in before and out not in (one, *one.parents)}
    evil = [one for one in (pathlib.Path("/tmp/evil"), place.folder.parent / "evil") if one.exists()]
    if ended.status not in (0, 2) or (ended.status == 2 and not ended.is_refusal):
        return Verdict(False, ended.last)
    held = not new and not evil
    said = "a path as a name: refused" if ended.status else "a path as a name: only a name"
    return Verdict(held, said if held else f"{len(new) + len(evil)} files outside")


def pickles(place: Place) -> Verdict:
    """An object that acts when it is unpickled, in arrays, a checkpoint, or a study's result."""
    mark, kind = place.folder / "acted", place.number % 3
    bomb = np.array([_Bomb(mark)] * 90, dtype=object)
    if kind == 0:
        path = place.folder / "own.npz"
        key = ("x", "y", "site")[place.number // 3 % 3]
        arrays = {"x": np.zeros((90, 2)), "y": np.arange(90) % 2, "site": np.repeat(["a", "b"], 45), key: bomb}
        with open(path, "wb") as file:
            np.savez(file, **arrays)
        mark.unlink(missing_ok=True)
        tree = bench.tree(path, data={"name": "arrays", "args": {"path": str(path)}})
        (place.folder / "trial.toml").write_text(config.dumps(config.parse(tree)))
        ended = bench.command("run", place.folder / "trial.toml", "--out", place.folder / "out", "--quiet")
        held = ended.is_refusal
    elif kind == 1:
        whole = bench.undisturbed(place.common)
        out = shutil.copytree(whole / "out", place.folder / "out")
        buffer = io.BytesIO()
        np.savez(buffer, head=bomb)
        content = buffer.getvalue() if place.number % 2 else pickle.dumps(_Bomb(mark))
        mark.unlink(missing_ok=True)
        for name in ("checkpoint.bin", "checkpoint.previous.bin"):
            (out / name).write_bytes(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
        ended = bench.command("run", whole / "trial.toml", "--out", out, "--quiet", "--resume")
        held = ended.is_refusal
    else:
        whole = bench.undisturbed(place.common, "study")
        out = shutil.copytree(whole / "out", place.folder / "out")
        with open(sorted((out / "jobs").glob("*.npz"))[0], "wb") as file:
            np.savez(file, key=bomb)
        mark.unlink(missing_ok=True)
        ended = bench.command("study", whole / "trial.toml", "--out", out, "--quiet")
        held = ended.status == 0
    acted = mark.exists()
    said = ("arrays: refused", "checkpoint: refused", "result: trained again")[kind]
    return Verdict(held and not acted, "it acted" if acted else f"a pickle, {said}" if held else ended.last)


_PLUGINS = (
    ("plugins=['nowhere.at_all']", "plugins[0]"),
    ("plugins=['../evil']", "plugins[0]"),
    ("plugins=['/tmp/evil.py']", "plugins[0]"),
    ("plugins=['os; import sys']", "plugins[0]"),
    ("plugins=['']", "plugins[0]"),
    ("plugins=[1]", "plugins"),
    ("model.name=nowhere.models:build", "model.name"),
    ("model.name=os:system", "model"),
    ("model.name=os:", "model.name"),
    ("model.name=:build", "model.name"),
    ("algorithm.name=nowhere:own", "algorithm.name"),
    ("aggregation.rule=__import__('os')", "aggregation.rule"),
)


def plugins(place: Place) -> Verdict:
    """A plugin, or a model by a dotted path, that does not exist or is none."""
    setting, where = _PLUGINS[place.number % len(_PLUGINS)]
    path, out = bench.written(place.folder), place.folder / "out"
    ended = bench.command("run", path, "--set", setting, "--out", out, "--quiet")
    held = ended.is_refusal and where in ended.err and not out.exists()
    return Verdict(held, "a plugin that is none: refused" if held else f"{setting}: {ended.last}")


_KINDS = (markup, paths, pickles, plugins)


def injected(place: Place) -> Verdict:
    """Markup, a path, a pickle and a plugin, in turn; each kind is numbered by itself."""
    return _KINDS[place.number % 4](place._replace(number=place.number // 4))


ROWS = (
    Row(
        "injection",
        "markup, paths and terminal codes as names, pickles in files, plugins that do not exist",
        "escaped, refused or taken for a name; nothing acts",
        48,
        injected,
    ),
)
