"""A job's files on their way to a host that does not see the study's folder, and back."""

import pathlib
import shutil
from collections.abc import Mapping
from typing import Any, NamedTuple

from fedmed.study.session import Assignment
from fedmed.system import files


class Parcel(NamedTuple):
    """An assignment as it is sent.

    Attributes:
        task: the assignment; its paths are the driver's.
        files: what an earlier training of the job or its course has saved, by path relative to the job's folder.
        consortium: its hospitals, as a reference of Ray's.
        hospitals: a name for them, the same for the same ones.
    """

    task: Assignment
    files: Mapping[str, bytes]
    consortium: Any
    hospitals: str


def saved(task: Assignment) -> dict[str, bytes]:
    """Returns the files that a job goes on from, by their paths relative to its folder."""
    folder = task.path.parent
    stem = task.path.stem if task.course is None else task.course.checkpoint.stem
    found = [folder / f"{stem}{ending}" for ending in (".checkpoint", ".previous.checkpoint")]
    kept = folder / f"{stem}.kept"
    found += sorted(kept.iterdir()) if kept.is_dir() else []
    return {str(path.relative_to(folder)): path.read_bytes() for path in found if path.is_file()}


def within(folder: pathlib.Path, task: Assignment) -> Assignment:
    """Returns the assignment with its files in another folder."""
    course = task.course
    if course is not None:
        course = course._replace(checkpoint=folder / course.checkpoint.name)
    return task._replace(path=folder / task.path.name, course=course)


def unpack(folder: pathlib.Path, content: Mapping[str, bytes]) -> None:
    """Writes files for their owner's eyes, each whole or not at all."""
    for name, data in content.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        files.write_atomically(path, data, files.PRIVATE)


def pack(folder: pathlib.Path) -> dict[str, bytes]:
    """Returns the content of all files in a folder, by their relative paths, and removes them."""
    found = {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    clear(folder)
    return found


def clear(folder: pathlib.Path) -> None:
    """Removes what is in a folder."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
