"""Odd tables, arrays and configs, drawn by a seed: each is taken in full, or refused in one line."""

import csv
import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.trials import bench
from experiments.trials.bench import Ended, Place, Row, Verdict
from fedmed.settings import config

Rng = np.random.Generator
Rows = list[list[str]]

_CELLS = (
    "", " ", "NaN", "NA", "inf", "-inf", "1e400", "-1e300", "1e39", "0x1f", "१२", "\x00", "\ufeff", "'", '"', '""',
    '"open', "=1+1", "1,5", "1.5.2", "2024-01-01", "💊💊", "a" * 5000, "-9", "999", "TRUE", "\t", "1_000", "a\nb",
    "a\r\nb", "..", "../../x", "<b>", "{x}", "%s", "None", "null", str(2**70), "5e-324", "+5", "５", "\u202e", "--",
    "?", "1e", "nan(1)",
)  # fmt: skip
_FEW_ROUNDS = ("--set", "rounds=1", "--set", "checkpoint.every=1", "--quiet")


def _pick(rng: Rng, among: Any) -> Any:
    return among[int(rng.integers(len(among)))]


# Tables


def _cell(rows: Rows, rng: Rng) -> None:
    _pick(rng, rows)[int(rng.integers(7))] = _pick(rng, _CELLS)


def _column(rows: Rows, rng: Rng) -> None:
    place, cell = int(rng.integers(7)), _pick(rng, _CELLS)
    for row in rows[1:]:
        row[place] = cell


def _half_a_column(rows: Rows, rng: Rng) -> None:
    place, cell = int(rng.integers(7)), _pick(rng, _CELLS)
    for row in rows[1::2]:
        row[place] = cell


def _name(rows: Rows, rng: Rng) -> None:
    rows[0][int(rng.integers(7))] = _pick(rng, (*_CELLS, "age", "died", "3", "hospital"))


def _shorter(rows: Rows, rng: Rng) -> None:
    _pick(rng, rows).pop()


def _longer(rows: Rows, rng: Rng) -> None:
    _pick(rng, rows).append(_pick(rng, _CELLS))


def _no_names(rows: Rows, rng: Rng) -> None:
    del rng
    rows.pop(0)


def _few(rows: Rows, rng: Rng) -> None:
    del rows[int(rng.integers(1, 12)) :]


def _one_hospital(rows: Rows, rng: Rng) -> None:
    del rng
    for row in rows[1:]:
        row[0] = "north"


def _own_hospitals(rows: Rows, rng: Rng) -> None:
    del rng
    for number, row in enumerate(rows[1:]):
        row[0] = f"h{number}"


def _one_label(rows: Rows, rng: Rng) -> None:
    for row in rows[1:]:
        row[6] = str(int(rng.integers(2)) * 0)


def _amounts(rows: Rows, rng: Rng) -> None:
    for row in rows[1:]:
        row[6] = f"{rng.normal():.3f}"


def _names_again(rows: Rows, rng: Rng) -> None:
    rows.insert(int(rng.integers(2, len(rows))), list(rows[0]))


def _many(rows: Rows, rng: Rng) -> None:
    for number, row in enumerate(rows):
        row.extend(f"c{k}" if not number else f"{rng.normal():.2f}" for k in range(150))


_OF_ROWS: tuple[Callable[[Rows, Rng], None], ...] = (
    _cell, _cell, _cell, _cell, _column, _half_a_column, _name, _shorter, _longer, _no_names, _few, _one_hospital,
    _own_hospitals, _one_label, _amounts, _names_again, _many,
)  # fmt: skip


def _flipped(content: bytes, rng: Rng) -> bytes:
    changed = bytearray(content)
    for place in rng.integers(len(content), size=int(rng.integers(1, 8))):
        changed[place] = int(rng.integers(256))
    return bytes(changed)


def _cut(content: bytes, rng: Rng) -> bytes:
    return content[: int(rng.integers(len(content)))]


def _spoiled_text(content: bytes, rng: Rng) -> bytes:
    """Returns text in another encoding, with other ends of lines or separators, cut, or with random bytes."""
    ways: tuple[Callable[[bytes], bytes], ...] = (
        lambda c: c.decode(errors="replace").encode("utf-16"),
        lambda c: b"\xef\xbb\xbf" + c,
        lambda c: c.replace(b"\n", b"\r\n"),
        lambda c: c.replace(b"\n", b"\r"),
        lambda c: c.replace(b",", b";"),
        lambda c: c.replace(b",", b"\t"),
        lambda c: c.replace(b"e", b"\xe9"),
        lambda c: b"# a comment\n" + c,
        lambda c: b"\n\n" + c.replace(b"\n", b"\n\n"),
        lambda c: b"",
        lambda c: b" \n\n ",
        lambda c: rng.bytes(300),
        lambda c: b"PK\x03\x04" + c,
        lambda c: b"PAR1" + c,
        lambda c: _cut(c, rng),
        lambda c: _cut(c, rng),
        lambda c: _flipped(c, rng),
        lambda c: _flipped(c, rng),
    )
    return _pick(rng, ways)(content)


def _table(place: Place) -> Verdict:
    rng, rows = place.rng, bench.table(place.rng, 90)
    path = bench.written(place.folder, rows)
    data = place.folder / "patients.csv"
    if rng.random() < 0.7:
        for _ in range(int(rng.integers(1, 4))):
            _pick(rng, _OF_ROWS)(rows, rng)
        content = "\n".join(",".join(row) for row in rows).encode(errors="surrogateescape") + b"\n"
    else:
        content = _spoiled_text(bench.text_of(rows).encode(), rng)
    data.write_bytes(content)
    return _judged(place, bench.command("run", path, "--out", place.folder / "out", *_FEW_ROUNDS), _records(content))


def _records(content: bytes) -> int | None:
    """Returns how many rows a table has by Python's own reader, None where it finds none."""
    try:
        text = io.StringIO(content.decode("utf-8-sig"), newline="")
        return sum(1 for row in csv.reader(text, skipinitialspace=True) if row) - 1
    except (csv.Error, UnicodeDecodeError):
        return None


# Arrays


def _arrays(rng: Rng) -> dict[str, Any]:
    x = rng.normal(size=(90, 4)).astype(np.float32)
    return {"x": x, "y": (x[:, 0] + rng.normal(size=90) > 0).astype(int), "site": np.repeat(["a", "b", "c"], 30)}


def _odd_array(arrays: dict[str, Any], rng: Rng) -> None:
    """Changes a type, a shape or a value of an array, or the arrays that there are."""
    key = _pick(rng, ("x", "x", "y", "y", "site"))
    kinds = ("float16", "float64", "int8", "uint64", "complex64", "bool", "S3", "U3", "object", "datetime64[s]")
    ways: tuple[Callable[[Any], Any], ...] = (
        lambda a: a.astype(_pick(rng, kinds)),
        lambda a: a.astype(_pick(rng, ("float16", "float64", "U9"))) if a.dtype.kind in "if" else a.astype("U30"),
        lambda a: a[::-1],
        lambda a: np.roll(a, 7, axis=0) if a.dtype.kind != "i" else 1 - a,
        lambda a: a[:0],
        lambda a: a[: int(rng.integers(90))],
        lambda a: a[..., None],
        lambda a: a.reshape(-1),
        lambda a: np.asfortranarray(a),
        lambda a: np.array(7),
        lambda a: np.array([]),
        lambda a: np.array([{"a": 1}] * 90, dtype=object),
        lambda a: np.zeros(90, dtype=[("a", "f4"), ("b", "i4")]),
        lambda a: np.full_like(a, a.flat[0]),
        lambda a: rng.normal(size=90) * 1e300,
        lambda a: rng.integers(-(2**62), 2**62, size=90),
        lambda a: np.where(rng.random(a.shape) < 0.05, np.nan, a) if a.dtype.kind == "f" else a.astype(float) / 0.3,
        lambda a: np.repeat(a, 2, axis=0),
        lambda a: np.array([""] * 90),
        lambda a: np.array(["\x00<b>"] * 90),
    )
    arrays[key] = _pick(rng, ways)(arrays[key])
    if rng.random() < 0.15:
        arrays[_pick(rng, ("X", "x_test", "y_test", "x_", "group", "../x", "x_a"))] = arrays.pop(
            _pick(rng, list(arrays))
        )


def _odd_archive(content: bytes, rng: Rng) -> bytes:
    """Returns an archive with bytes of its members' headers, members, or itself changed."""
    members: dict[str, bytes] = {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for name in archive.namelist():
            members[name] = archive.read(name)
    name = _pick(rng, list(members))
    ways: tuple[Callable[[bytes], bytes], ...] = (
        lambda c: c.replace(b"(90,", b"(%d," % 10 ** int(rng.integers(3, 14))),
        lambda c: c.replace(b"'descr': '", b"'descr': '|V%d" % 10 ** int(rng.integers(2, 30)), 1),
        lambda c: c.replace(b"'fortran_order': False", b"'fortran_order': 17   "),
        lambda c: b"no array",
        lambda c: b"",
        lambda c: c[:60],
        lambda c: _cut(c, rng),
        lambda c: c[:6] + bytes([9, 9]) + c[8:],
        lambda c: c[:10] + b"{" * 2000 + c[10:],
    )
    members[name] = _pick(rng, ways)(members[name])
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, own in members.items():
            archive.writestr(name, own)
    return buffer.getvalue()


def _npz(place: Place) -> Verdict:
    rng, arrays, path = place.rng, _arrays(place.rng), place.folder / "own.npz"
    kind = rng.random()
    if kind < 0.6:
        try:
            for _ in range(int(rng.integers(1, 3))):
                _odd_array(arrays, rng)
        except (ValueError, TypeError, KeyError):  # NumPy has no such array, either
            arrays = {"x": np.zeros((90, 2)), "y": np.zeros(90)}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    content = buffer.getvalue()
    if kind >= 0.6:
        content = _odd_archive(content, rng) if kind < 0.85 else _pick(rng, (_cut, _flipped))(content, rng)
    path.write_bytes(content)
    tree = bench.tree(path, data={"name": "arrays", "args": {"path": str(path)}})
    (place.folder / "trial.toml").write_text(config.dumps(config.parse(tree)))
    ended = bench.command("run", place.folder / "trial.toml", "--out", place.folder / "out", *_FEW_ROUNDS)
    return _judged(place, ended, None)


# Configs

_VALUES = (
    "-1", "0", "-0.0", "1e-320", "1e300", "nan", "-inf", "''", "'x'", "[]", "{}", "true", "1.5", "9223372036854775808",
    "9" * 5000, "[" * 3000 + "]" * 3000, "2024-01-01", "[1, 'a', {}]", "{ a = { b = 1 } }", "'../x'", "'\\u0000'",
    "'" + "y" * 5000 + "'", "0x1F", "[[]]", "'none'", "'full'", "3.0",
)  # fmt: skip


def _odd_line(lines: list[str], rng: Rng) -> None:
    places = [number for number, line in enumerate(lines) if " = " in line and not line.startswith("path")]
    place = _pick(rng, places)
    key = lines[place].partition(" = ")[0]
    way = rng.random()
    if way < 0.15:
        del lines[place]  # most settings have a default
    elif way < 0.25:
        lines[place] = f"  {lines[place]}  # {_pick(rng, ('a comment', '☃', '[x]'))}"
    elif way < 0.6:
        lines[place] = f"{key} = {_pick(rng, _VALUES)}"
    elif way < 0.7:
        lines[place] = f"{key}x = 1"
    elif way < 0.8:
        lines.insert(place, lines[place])
    elif way < 0.9:
        lines[place] = f"[{key}]"
    else:
        lines[place] = lines[place][: int(rng.integers(len(lines[place])))]


def _toml(place: Place) -> Verdict:
    rng, path = place.rng, bench.written(place.folder)
    lines = path.read_text().splitlines()
    if rng.random() < 0.8:
        for _ in range(int(rng.integers(1, 3))):
            _odd_line(lines, rng)
        content = "\n".join(lines).encode()
    else:
        content = _pick(rng, (_cut, _flipped, lambda c, r: b"", lambda c, r: c + b"\xff\xfe"))(path.read_bytes(), rng)
    path.write_bytes(content)
    return _judged(place, bench.command("run", path, "--out", place.folder / "out", *_FEW_ROUNDS), None)


def _judged(place: Place, ended: Ended, rows: int | None) -> Verdict:
    """Returns whether it was refused and nothing was written, or taken with all its rows."""
    out = place.folder / "out"
    if ended.status == 2:
        if not ended.is_refusal:
            return Verdict(False, f"not one line: {ended.last}")
        return Verdict(not out.exists(), "refused" if not out.exists() else f"refused, but left files: {ended.last}")
    if ended.status not in (0, 1) or not (out / "summary.json").is_file():
        return Verdict(False, ended.last)
    if ended.status == 1:
        return Verdict(ended.is_one_line, "taken; nothing was learned, which it said")
    clients = json.loads((out / "summary.json").read_text())["final"]["clients"] or {}
    taken = sum(client["train_rows"] + client["test_rows"] for client in clients.values())
    if rows is not None and taken != rows:
        return Verdict(False, f"took {taken} of {rows} rows")
    return Verdict(True, "taken in full")


_KINDS = (_table, _npz, _toml)


def malformed(place: Place) -> Verdict:
    """An odd CSV, .npz or TOML, in turn."""
    kind = _KINDS[place.number % 3]
    verdict = kind(place)
    return verdict._replace(said=f"{kind.__name__[1:]}: {verdict.said}")


ROWS = (
    Row(
        "malformed",
        "odd CSV, .npz and TOML files, drawn by the seed",
        "taken in full, or refused in one line; no traceback",
        201,
        malformed,
    ),
)
