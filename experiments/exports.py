"""Exported jobs under the real frameworks, on one machine: do they end at fedmed's weights?

    uv run python -m experiments.exports --work=/tmp/exports

Each case exports configs/diabetes_three_hospitals.toml, follows the export's README (`export_walk`), and compares the
weights that it leaves, and each hospital's AUROC, with those of fedmed: NVIDIA FLARE in its simulator and in its POC
mode; FLARE with a server and three hospitals as processes of their own that know each other by certificates (mutual
TLS); Flower with a SuperLink and three SuperNodes under TLS, each node with a registered key. Full batches for two
rounds, and batches of 32 for ten. Cases that are done are kept, so that the same command goes on. Needs uv, openssl and
ssh-keygen.
"""

import json
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from absl import flags

from experiments import export_walk, programs
from experiments.export_walk import Walk
from fedmed.export import exported, site_files
from fedmed.export.exported import Exported
from fedmed.export.fedmed_job import job as jobs
from fedmed.settings import config
from fedmed.system import errors, files, machine, quiet

FLAGS = flags.FLAGS
flags.DEFINE_string("work", None, "a folder for environments, exports and logs")
flags.DEFINE_list("cases", ["simulator", "poc", "flare", "flower"], "simulator and poc are FLARE's; flare, flower")
flags.DEFINE_list("batches", ["full", "32"], "which batch sizes")
flags.DEFINE_string("results", "experiments/results/exports.md", "the table; a .json beside it holds what is done")

CONFIG = pathlib.Path(__file__).parent.parent / "configs/diabetes_three_hospitals.toml"
ROUNDS = {"full": 2, "32": 10}
_KINDS = {"simulator": "flare", "poc": "flare", "flare": "flare", "flower": "flower"}
_NAMES = {
    "simulator": "FLARE 2.9.0, simulator",
    "poc": "FLARE 2.9.0, POC mode",
    "flare": "FLARE 2.9.0, mutual TLS",
    "flower": "Flower 1.23.0, TLS and keys",
}
_SECRET = ("certificates", "kits", "venv", "config.toml", "home", "walk.log", "rows")


class Case(NamedTuple):
    """One walk: a framework, a batch size, and the export that is followed."""

    name: str
    batch: str
    export: pathlib.Path
    made: Exported


def settings_of(batch: str) -> config.RunConfig:
    """Returns the settings that are exported."""
    size = '"full"' if batch == "full" else batch
    return config.load(CONFIG, [f"client.batch_size={size}", f"rounds={ROUNDS[batch]}"])


def by_fedmed(batch: str, made: Exported) -> tuple[list[np.ndarray], dict[str, float]]:
    """Returns fedmed's weights and each hospital's AUROC."""
    from fedmed.engine import attendance
    from fedmed.engine.evaluation import Evaluator
    from fedmed.engine.federation import Federation

    federation = Federation(attendance.with_lanes(settings_of(batch)), made.clients.dataset, made.clients.train)
    position = federation.start()
    for done in federation.rounds(position):
        position = done.position
    evaluator = Evaluator(federation, made.clients)
    scores: Any = evaluator.clients(evaluator.predictions(position))
    weights = federation.weights(position)
    federation.close()
    return [*weights.trainable, *weights.moving], {site: float(score["auroc"]) for site, score in scores.items()}


def walked(case: Case, work: pathlib.Path) -> tuple[pathlib.Path, dict[str, Any]]:
    """Follows the export's README; returns the folder of results, and what was seen on the way."""
    venvs = export_walk.environments(work / "venvs", _KINDS[case.name], case.export)
    folder = work / f"{case.name}_{case.batch}"
    shutil.rmtree(folder, ignore_errors=True)
    rows = work / f"rows_{case.batch}"
    own = {site: {"<SITE_FILE>": str(folder / site / "site.json")} for site in case.made.job.sites}
    walk = Walk(folder, case.made.job.sites, {"<SERVER>": "localhost", "<ADMIN>": "admin@example.org"}, own)
    folder.mkdir()
    export_walk.handed_out(case.export, walk, venvs, _SECRET)
    steps: dict[str, Callable[..., tuple[pathlib.Path, dict[str, Any]]]] = {
        "simulator": _simulated, "poc": _in_poc_mode, "flare": _under_flare, "flower": _under_flower,
    }  # fmt: skip
    try:
        return steps[case.name](case, walk, rows, venvs)
    finally:
        walk.end()


def _of(case: Case, *who: str) -> list[export_walk.Block]:
    return [b for b in export_walk.blocks((case.export / "README.md").read_text()) if b.who in who]


def _all_at_hand(walk: Walk, rows: pathlib.Path, venvs: Any) -> pathlib.Path:
    """Gives the server all rows and a hospital's packages, as a rehearsal needs; returns its folder."""
    server = walk.place("server")
    (server / "venv").unlink()
    (server / "venv").symlink_to(venvs["hospital"])
    shutil.copytree(rows, server / "rows")
    return server


def _simulated(case: Case, walk: Walk, rows: pathlib.Path, venvs: Any) -> tuple[pathlib.Path, dict[str, Any]]:
    server = _all_at_hand(walk, rows, venvs)
    (block,) = _of(case, "rehearsal")
    walk.run(block)
    return server / "simulated/server/simulate_job/results", {}


def _in_poc_mode(case: Case, walk: Walk, rows: pathlib.Path, venvs: Any) -> tuple[pathlib.Path, dict[str, Any]]:
    server = _all_at_hand(walk, rows, venvs)
    submit, fetch = _of(case, "poc")
    return _downloaded(walk, server, walk.run(submit), fetch), {}


def _downloaded(walk: Walk, server: pathlib.Path, submitted: str, fetch: export_walk.Block) -> pathlib.Path:
    """Waits for a job and fetches its results; returns their folder."""
    found = re.search(r"job_id: (\S+)", submitted)
    if found is None:
        raise RuntimeError("nvflare job submit has told no id")
    walk.values["<JOB_ID>"] = found[1]
    walk.run(fetch)
    return server / "downloaded" / found[1] / "workspace/results"


def _hospital_files(walk: Walk, rows: pathlib.Path) -> None:
    """Fills in each hospital's site file; the hospitals' rows are in their own folders only."""
    for site in walk.sites:
        for part in ("train", "test"):
            shutil.copyfile(rows / f"{site}_{part}.csv", walk.place(site) / f"{part}.csv")
        text = (walk.place(site) / "site.json").read_text()
        filled = text.replace("<TRAIN_CSV>", str(walk.place(site) / "train.csv")).replace("<TEST_CSV>", "test.csv")
        (walk.place(site) / "site.json").write_text(filled)


def _under_flare(case: Case, walk: Walk, rows: pathlib.Path, venvs: Any) -> tuple[pathlib.Path, dict[str, Any]]:
    del venvs
    provision, prepare, check, start, connect, status, submit, fetch, stop = _of(case, "server", "hospital")
    server = walk.place("server")
    project = server / "project.yml"
    text = project.read_text()
    for name, value in walk.values.items():
        text = text.replace(name, value)
    project.write_text(text)
    walk.run(provision)
    kits = server / "kits/fedmed_job/prod_00"
    for site in walk.sites:
        shutil.copytree(kits / site, walk.place(site) / site)
    walk.run(prepare)
    _hospital_files(walk, rows)
    ready = walk.run(check)
    walk.run(start)
    export_walk.wait_for_port(8002)
    seen = {"ready": ready.count("ready"), "known": _known_by_certificate(8002, kits / walk.sites[0] / "startup")}
    walk.run(connect)
    walk.run_until(status, walk.sites)
    results = _downloaded(walk, server, walk.run(submit), fetch)
    walk.run(stop)
    return results, seen


def _under_flower(case: Case, walk: Walk, rows: pathlib.Path, venvs: Any) -> tuple[pathlib.Path, dict[str, Any]]:
    del venvs
    certify, prepare, check, start, register, connect, listed, train = _of(case, "server", "hospital")
    server = walk.place("server")
    walk.run(certify)
    for site in walk.sites:
        shutil.copyfile(server / "certificates/ca.crt", walk.place(site) / "ca.crt")
    walk.run(prepare)
    _hospital_files(walk, rows)
    ready = walk.run(check)
    for site in walk.sites:
        shutil.copyfile(walk.place(site) / f"{site}.key.pub", server / f"{site}.key.pub")
    walk.run(start)
    export_walk.wait_for_port(9092)
    export_walk.wait_for_port(9093)
    walk.run(register)
    seen = {"ready": ready.count("ready"), "known": _known_by_key(walk)}
    walk.run(connect)
    walk.run_until(listed, ["online"])
    walk.run(train)
    return server / "results", seen


def _known_by_certificate(port: int, startup: pathlib.Path) -> str:
    """Says whether FLARE's server answers a client without a certificate, and one with a hospital's."""
    told = {}
    pair = startup / "client.crt", startup / "client.key"
    for who, own in {"without a certificate": None, "with a hospital's": pair}.items():
        context = ssl.create_default_context(cafile=str(startup / "rootCA.pem"))
        if own is not None:
            context.load_cert_chain(*own)
        try:
            with (
                socket.create_connection(("localhost", port), timeout=10) as plain,
                context.wrap_socket(plain, server_hostname="localhost") as secure,
            ):
                secure.settimeout(5)
                secure.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                told[who] = "an answer" if secure.recv(1) else "the connection is closed"
        except (ssl.SSLError, OSError):
            told[who] = "the connection is closed"
    return "; ".join(f"{who}: {what}" for who, what in told.items())


def _known_by_key(walk: Walk) -> str:
    """Says what becomes of a Flower node whose key is not registered."""
    asked = (
        ". venv/bin/activate\n"
        'ssh-keygen -q -t ecdsa -b 384 -N "" -f stranger.key\n'
        "timeout 90 flower-supernode --root-certificates certificates/ca.crt --superlink localhost:9092 "
        "--clientappio-api-address 127.0.0.1:19099 --auth-supernode-private-key stranger.key "
        "--max-retries 1 --node-config \"site='x' site-file='y'\"\n"
    )
    try:
        walk.run(export_walk.Block("server", "", asked))
    except RuntimeError as error:
        found = re.search(r'details = "(.*?)"', str(error))
        return f"with a key that is not registered: {found[1] if found else 'refused, without words'}"
    return "with a key that is not registered: let in"


def measured(name: str, batch: str, work: pathlib.Path) -> dict[str, Any]:
    """Runs a case and returns its figures."""
    settings = settings_of(batch)
    made = exported.exported(settings)
    rows = work / f"rows_{batch}"
    if not rows.exists():
        rows.mkdir(mode=0o700)
        site_files.write(made, rows)
    export = work / f"export_{name}_{batch}"
    shutil.rmtree(export, ignore_errors=True)
    size = '"full"' if batch == "full" else batch
    words = ["--set", f"client.batch_size={size}", "--set", f"rounds={ROUNDS[batch]}", "--out", str(export)]
    command = [sys.executable, "-m", "fedmed", "export", _KINDS[name], str(CONFIG), *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    began = time.monotonic()
    results, seen = walked(Case(name, batch, export, made), work)
    seconds = time.monotonic() - began
    weights, auroc = by_fedmed(batch, made)
    own = jobs.unpacked((results / "weights.npz").read_bytes()).sent
    told = json.loads((results / "results.json").read_text())
    return {
        "rounds": told["rounds"],
        "largest": max(float(np.abs(a - b).max()) for a, b in zip(own, weights, strict=True)),
        "moved": max(float(np.abs(a - b).max()) for a, b in zip(made.weights.sent, weights, strict=True)),
        "auroc": {site: [auroc[site], told["scores"][site]["auroc"]] for site in made.job.sites},
        "seconds": round(seconds),
        **seen,
    }


def table(done: dict[str, Any]) -> str:
    """Returns the page of results."""
    processor = machine.processor()
    lines = [
        "# Exported jobs under the real frameworks",
        "",
        "configs/diabetes_three_hospitals.toml (seed 0), exported and then run by following the README: server and",
        "three hospitals as processes of one machine, each in a folder of its own, a hospital with its own rows only.",
        "Compared with fedmed after as many rounds. Made by `uv run python -m experiments.exports --work=DIR`.",
        "",
        f"Machine: {processor.cores} cores, {processor.model}, shared with other work: seconds are no measurement.",
        "",
        "| framework | batch | rounds | largest difference of any weight | training moved weights by up to | seconds |",
        "|---|---|---|---|---|---|",
    ]
    cases = [(name, batch) for batch in ROUNDS for name in _NAMES if f"{name}_{batch}" in done]
    for name, batch in cases:
        one = done[f"{name}_{batch}"]
        figures = f"{one['rounds']} | {one['largest']:.1e} | {one['moved']:.1e} | {one['seconds']}"
        lines.append(f"| {_NAMES[name]} | {batch} | {figures} |")
    lines += ["", "AUROC on each hospital's test rows, of fedmed / of the job:", ""]
    sites = list(next(iter(done.values()))["auroc"]) if done else []
    lines += [f"| framework | batch | {' | '.join(sites)} |", "|---|---|" + "---|" * len(sites)]
    for name, batch in cases:
        pairs = [f"{a:.4f} / {b:.4f}" for a, b in done[f"{name}_{batch}"]["auroc"].values()]
        lines.append(f"| {_NAMES[name]} | {batch} | {' | '.join(pairs)} |")
    lines += ["", "Who is let in by the server:", ""]
    told = {_NAMES[name]: known for name, batch in cases if (known := done[f"{name}_{batch}"].get("known"))}
    lines += [*(f"- {name}: {what.rstrip('.')}." for name, what in told.items()), ""]
    return "\n".join(lines)


def main(argv: Sequence[str]) -> None:
    """Runs the cases that are not done and writes the table."""
    del argv
    programs.check_names("--cases", "case", FLAGS.cases, _NAMES)
    programs.check_names("--batches", "batch size", FLAGS.batches, ROUNDS)
    if FLAGS.work is None:
        raise errors.UserError("--work: give a folder for environments, exports and logs")
    page, work = pathlib.Path(FLAGS.results), pathlib.Path(FLAGS.work).resolve()
    programs.check_writable("--results", page.parent)
    programs.check_writable("--work", work)
    quiet.silence()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that a walk ends what it started
    kept = page.with_suffix(".json")
    done = json.loads(kept.read_text()) if kept.is_file() else {}
    for batch in FLAGS.batches:
        for name in FLAGS.cases:
            if f"{name}_{batch}" not in done:
                done[f"{name}_{batch}"] = found = measured(name, batch, work)
                files.write_atomically(kept, json.dumps(done, indent=1) + "\n")
                files.write_atomically(page, table(done))
                print(f"{name}, {batch}: {found['largest']:.1e} after {found['rounds']} rounds", flush=True)
    files.write_atomically(page, table(done))


if __name__ == "__main__":
    programs.run(main)
