"""The page of `experiments.cluster`, of what is known so far."""

from collections.abc import Mapping
from typing import Any


def page(known: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns the page; parts that were not done are not on it."""
    lines = [
        "# What a cluster costs, and what it survives",
        "",
        "Made by `uv run --extra ray python -m experiments.cluster`, which has what each part does.",
        "Same: the bits of a run's",
        "weights, and its records but for clocks; all of a study's study.json but the command.",
    ]
    for name, make in _SECTIONS.items():
        if name in known and "so far" not in known[name]:
            lines += ["", *make(known[name]), "", f"Machine: {known[name]['machine']}."]
    return "\n".join(lines) + "\n"


def _hosts(found: Mapping[str, Any]) -> list[str]:
    lines = [
        "## Two hosts without a folder in common",
        "",
        "Network namespaces of one machine, each with a Ray of its own and a temporary folder that the other does not "
        "see. They talk by TLS, both sides with a certificate, and let in who has their token.",
        "A run of W2 (mcmahan_cnn of 6.65 MB, 10 of 100 clients of 600 MNIST rows), 3 rounds, 2 lanes; and a study "
        "(three synthetic hospitals, mlp, 60 rounds, 2 seeds, 10 models).",
        "Killed: all processes of the second host at once, a second after the first round was done, or after the "
        "second model. Seconds are of the whole command, on a machine that others used too.",
        "",
        "| | here | two hosts | same | one killed | same |",
        "|---|---|---|---|---|---|",
    ]
    for kind in ("run", "study"):
        one = found[kind]
        lost = one["seconds before"] + one["seconds after"]
        lines.append(
            f"| {kind} | {one['seconds here']:.0f} s | {one['seconds on two hosts']:.0f} s | {_yes(one['same'])} "
            f"| {lost:.0f} s | {_yes(one['same with one killed'])} |"
        )
    return lines


def _rounds(found: Mapping[str, Any]) -> list[str]:
    lines = [
        "## A round",
        "",
        "On Ray, on this machine, against in this process: two lanes each, in pairs, the order changing",
        "from pair to pair. W4: mlp,",
        "three synthetic hospitals, 20 steps of 32. The load is the machine's at the end, with 2 of it",
        "by the round itself.",
        "",
        "| | pairs | in this process | on Ray | ratio, median (quartiles) | load |",
        "|---|---|---|---|---|---|",
    ]
    for workload in ("W2", "W4"):
        one = found[workload]
        low, high = one["quartiles"]
        lines.append(
            f"| {workload} | {one['pairs']} | {1000 * one['here']:,.0f} ms | {1000 * one['ray']:,.0f} ms "
            f"| {one['ratio']:.2f} ({low:.2f} to {high:.2f}) | {one['load']:.1f} |"
        )
    return lines


def _study(found: Mapping[str, Any]) -> list[str]:
    studies = found["studies"]
    same = all(one["same"] for one in studies.values())
    loads = ", ".join(f"{one['load']:.1f}" for one in studies.values())
    lines = [
        "## A study",
        "",
        f"The whole command, 2 processes, in pairs; the same study.json: {_yes(same)}.",
        f"Load at the end, with 2 of it by the study: {loads}.",
        "Ray takes some seconds to start and to end, which is what a short study sees.",
        "",
        "| study | processes of this machine (loky) | Ray | ratio |",
        "|---|---|---|---|",
    ]
    for name, one in studies.items():
        pairs = zip(one["pool"], one["ray"], strict=True)
        lines += [f"| {name} | {pool:.0f} s | {ray:.0f} s | {ray / pool:.2f} |" for pool, ray in pairs]
        lines.append(f"| {name} | | median | {one['ratio']:.2f} |")
    return lines


def _kills(found: Mapping[str, Any]) -> list[str]:
    words = {"ray": "Ray", "pool": "processes of this machine (loky)"}
    rows = [f"| {words[name]} | {found[name]['killed']} | {found[name]['same']} |" for name in words]
    return [
        "## A process of a study killed",
        "",
        "Any one training process, by SIGKILL, at a random moment after the first model was done.",
        "",
        "| on | times killed | same study.json |",
        "|---|---|---|",
        *rows,
    ]


def _clients(found: Mapping[str, Any]) -> list[str]:
    one, shared = found["a file each"], found["shared files"]
    rows = [
        ("files", "{:,.0f}", 1, "files"),
        ("rows on the disk", "{:,.1f} MB", 1e-6, "disk"),
        ("writing", "{:.2f} s", 1, "write"),
        ("removing", "{:.2f} s", 1, "remove"),
        ("a round of 100", "{:.0f} ms", 1000, "round of 100"),
        ("a round of all", "{:.1f} s", 1, "round of all"),
        ("peak memory", "{:,.0f} MB", 1e-6, "memory"),
    ]
    lines = [
        "## Many clients",
        "",
        f"20,000 clients of 20 rows of 20 columns ({shared['bytes'] / 1e6:.1f} MB), mlp, two lanes, on "
        f"`local`. Dealing the rows out took "
        f"{one['prepare']:.0f} and {shared['prepare']:.0f} s, building the federation {one['federation']:.0f} and "
        f"{shared['federation']:.0f} s.",
        "",
        "| | a file each | shared files |",
        "|---|---|---|",
    ]
    lines += [
        f"| {name} | {form.format(by * one[key])} | {form.format(by * shared[key])} |"
        for name, form, by, key in rows
        if key in one
    ]
    of = 50  # times as many, to a million
    lines += [
        "",
        "On paper, at the same cost a client, a million of them:",
        "",
        "| clients | files | rows | dealing out, writing | memory | a round of all |",
        "|---|---|---|---|---|---|",
    ]
    for times in (1, 5, of):
        seconds = times * (shared["prepare"] + shared["write"])
        lines.append(
            f"| {20_000 * times:,} | {times * shared['files']:,.0f} | {times * shared['bytes'] / 1e9:.2f} GB "
            f"| {seconds / 60:.1f} min | {_memory(shared, times):.1f} GB | "
            f"{times * shared['round of all'] / 60:.1f} min |"
        )
    return [*lines, "", "(Memory: 0.5 GB of libraries, and the rest of the peak above for each 20,000 clients.)"]


def _memory(found: Mapping[str, Any], times: int) -> float:
    return 0.5 + times * (found["memory"] / 1e9 - 0.5)


def _yes(same: bool) -> str:
    return "yes" if same else "NO"


_SECTIONS = {"hosts": _hosts, "rounds": _rounds, "study": _study, "kills": _kills, "clients": _clients}
