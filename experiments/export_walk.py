"""Follows the README of an export to the letter: runs its blocks, each as who it is for, on one machine.

A block begins with ```sh and who types it ("server", "hospital", "rehearsal", "poc"), perhaps with "background" for
what goes on, or "each" for what is done once a hospital. Only what one machine makes necessary is changed: see
`_on_one_machine`.
"""

import dataclasses
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import psutil

_FENCED = re.compile(r"^```sh (\w+)(?: (\w+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MADE_BEFORE = ("python3.11 -m venv venv", "pip install -r ")
_TOKEN = "FEDMED_WALK"


class Block(NamedTuple):
    """A block of a README: who types it, how ("", "background" or "each"), and the commands."""

    who: str
    how: str
    text: str


def blocks(readme: str) -> list[Block]:
    """Returns the blocks in order."""
    return [Block(found[1], found[2] or "", found[3]) for found in _FENCED.finditer(readme)]


def environments(folder: pathlib.Path, kind: str, export: pathlib.Path) -> dict[str, pathlib.Path]:
    """Makes, by uv, what server and hospitals install by an export's lists; returns each one's folder."""
    made = {}
    for who in ("server", "hospital"):
        made[who] = folder / f"{kind}_{who}"
        if not (made[who] / "done").exists():
            subprocess.run(["uv", "venv", "-q", "--seed", "--python", "3.11", str(made[who])], check=True)
            python, wanted = made[who] / "bin/python", export / f"requirements_{who}.txt"
            subprocess.run(["uv", "pip", "install", "-q", "--python", str(python), "-r", str(wanted)], check=True)
            (made[who] / "done").touch()
    return made


@dataclasses.dataclass
class Walk:
    """Server and hospitals, each in a folder of its own; `end` ends all that was started.

    Attributes:
        folder: where their folders are.
        sites: the hospitals.
        values: of the README's placeholders, those of all.
        own: of placeholders, each hospital's own.
    """

    folder: pathlib.Path
    sites: Sequence[str]
    values: dict[str, str]
    own: Mapping[str, Mapping[str, str]]
    token: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex)

    def place(self, who: str) -> pathlib.Path:
        """Returns the folder of the server or of a hospital."""
        return self.folder / who

    def run(self, block: Block, seconds: float = 1500.0) -> str:
        """Runs a block as who it is for and returns what it printed; what goes on in the background is left running.

        Raises:
            RuntimeError: a command failed; its last words.
        """
        if block.who == "hospital":
            return "".join(self._run(block, site, site, seconds) for site in self.sites)
        if block.how == "each":
            return "".join(self._run(block, "server", site, seconds) for site in self.sites)
        return self._run(block, "server", None, seconds)

    def run_until(self, block: Block, words: Sequence[str], seconds: float = 300.0) -> None:
        """Runs a block again and again, until it succeeds and prints all of these words; RuntimeError after a time."""
        until = time.monotonic() + seconds
        while True:
            try:
                printed = self.run(block)
                if all(word in printed for word in words):
                    return
            except RuntimeError:  # the command says that not all is ready
                if time.monotonic() > until:
                    raise
            if time.monotonic() > until:
                raise RuntimeError(f"after {seconds:g} seconds not all is there: {block.text}")
            time.sleep(3)

    def _run(self, block: Block, where: str, site: str | None, seconds: float) -> str:
        text, place = self._filled(block.text, site), self.place(where)
        log = place / "walk.log"
        start = log.stat().st_size if log.exists() else 0
        with log.open("ab") as out:
            process = subprocess.Popen(
                ["bash", "-e", "-c", text], cwd=place, env=self._environment(place), stdout=out,
                stderr=subprocess.STDOUT, start_new_session=True)  # fmt: skip
            if block.how == "background":
                return ""
            try:
                status = process.wait(seconds)
            except subprocess.TimeoutExpired:
                status = -signal.SIGALRM
        printed = log.read_bytes()[start:].decode(errors="replace")
        if status:
            raise RuntimeError(f"{where}: status {status} of:\n{text}\n{printed[-6000:]}")
        return printed

    def _filled(self, text: str, site: str | None) -> str:
        lines = [line for line in text.splitlines() if not line.startswith(_MADE_BEFORE)]
        filled = "\n".join(lines)
        own = {} if site is None else {"<SITE>": site, **self.own[site]}
        for name, value in {**self.values, **own}.items():
            filled = filled.replace(name, value)
        if left := re.findall(r"<[A-Z_]+>", filled):
            raise RuntimeError(f"the README leaves {left[0]} open")
        return self._on_one_machine(filled, site)

    def _on_one_machine(self, text: str, site: str | None) -> str:
        """Gives each hospital's node a port of its own, as the README says of nodes on one machine."""
        if site is None or "flower-supernode" not in text:
            return text
        return text.replace("127.0.0.1:9094", f"127.0.0.1:{19100 + self.sites.index(site)}")

    def _environment(self, place: pathlib.Path) -> dict[str, str]:
        home = place / "home"
        home.mkdir(exist_ok=True)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "TF_", "FEDMED"))}
        quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
        return {**kept, **quiet, "HOME": str(home), "PYTHONUNBUFFERED": "1", _TOKEN: self.token}

    def end(self) -> None:
        """Ends every process that this walk has started, also those that those have."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            for process in self._started():
                process.send_signal(number)
            until = time.monotonic() + 10
            while self._started() and time.monotonic() < until:
                time.sleep(0.5)

    def _started(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(_TOKEN) == self.token and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found


def handed_out(export: pathlib.Path, walk: Walk, venvs: Mapping[str, pathlib.Path], secret: Sequence[str]) -> None:
    """Gives the server and each hospital its folder, without what the README says to keep from hospitals."""
    for who in ("server", *walk.sites):
        left_out = () if who == "server" else secret
        shutil.copytree(export, walk.place(who), ignore=lambda _, names, out=left_out: [n for n in names if n in out])
        (walk.place(who) / "venv").symlink_to(venvs["server" if who == "server" else "hospital"])


def wait_for_port(port: int, seconds: float = 120.0) -> None:
    """Returns once something listens there; RuntimeError after some time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with socket.socket() as one:
            one.settimeout(1.0)
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.5)
    raise RuntimeError(f"nothing listens at port {port}")
