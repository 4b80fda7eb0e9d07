"""Clients' files on a host that does not see the driver's: each is fetched once, into a private folder."""

import contextlib
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fedmed.engine.runtimes import cluster
from fedmed.system.folders import PrivateFolder

PREFIX = "fedmed-lane-"


class Shipped:
    """The driver's side: files of rows as Ray's objects, each put into its store once and held as long as it is used.

    Rows of a path never change, so a member of a crew that has fetched it needs it no more.
    """

    def __init__(self) -> None:
        self._folder, self._references = "", {}

    def lacking(self, paths: Sequence[str], known: set[Any]) -> tuple[dict[str, Any], bool]:
        """Returns references to what a member is yet to fetch, and whether what it has is of no use any more.

        Args:
            paths: of the files that it needs, all of one folder.
            known: what it has, of which note is taken.
        """
        folder = str(pathlib.Path(paths[0]).parent) if len(paths) else self._folder
        if folder != self._folder:
            self._folder, self._references = folder, {}
        fresh = ("folder", folder) not in known
        if fresh:
            known.difference_update([what for what in known if not isinstance(what, int)])
            known.add(("folder", folder))
        found = {path: self._reference(path) for path in dict.fromkeys(paths) if path not in known}
        known.update(found)
        return found, fresh

    def _reference(self, path: str) -> Any:
        if path not in self._references:
            self._references[path] = _put(path)
        return self._references[path]


def kept(paths: Sequence[str]) -> dict[str, Any]:
    """Returns references to what clients have kept, for one round."""
    return {path: _put(path) for path in dict.fromkeys(paths) if path}


def _put(path: str) -> Any:
    return cluster.put(pathlib.Path(path).read_bytes())


class Hold:
    """A host's side: the files that one process has fetched, in a folder that is gone with it."""

    def __init__(self) -> None:
        self._folder = PrivateFolder(PREFIX)
        self._here: dict[str, str] = {}
        self._written = 0

    def forget(self) -> None:
        """Removes all files."""
        for path in self._here.values():
            pathlib.Path(path).unlink(missing_ok=True)
        self._here.clear()

    def take_in(self, files: Mapping[str, Any]) -> None:
        """Fetches files by the driver's paths."""
        for path, content in zip(files, cluster.get(list(files.values())), strict=True):
            self._here[path] = self._new()
            pathlib.Path(self._here[path]).write_bytes(content)

    def _new(self) -> str:
        self._written += 1
        return str(self._folder.path / f"{self._written:08d}.bin")

    def places(self, paths: Sequence[str]) -> np.ndarray:
        """Returns where files of these driver's paths are here; "" where there is none."""
        return np.array([self._here[path] if path else "" for path in paths], dtype=object)

    def new_places(self, paths: Sequence[str]) -> np.ndarray:
        """Returns where files of these driver's paths are to be written; "" where none is."""
        return np.array([self._new() if path else "" for path in paths], dtype=object)

    def hand_over(self, paths: Sequence[str], places: Sequence[str]) -> dict[str, bytes]:
        """Returns the content of what was written, by the driver's paths, and removes it; not all need be there."""
        found = {}
        for path, place in zip(paths, places, strict=True):
            with contextlib.suppress(FileNotFoundError):
                if path:
                    found[path] = pathlib.Path(place).read_bytes()
                    pathlib.Path(place).unlink()
        return found

    def drop(self, paths: Sequence[str]) -> None:
        """Removes the files of these driver's paths."""
        for path in paths:
            if place := self._here.pop(path, ""):
                pathlib.Path(place).unlink(missing_ok=True)

    def close(self) -> None:
        """Removes the folder."""
        self._folder.close()
