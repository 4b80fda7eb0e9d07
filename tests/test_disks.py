"""A full disk, or a limit on files, ends a run in one line that names the file; what was saved is gone on with."""

import errno
import pathlib
import resource
import tempfile
from collections.abc import Iterator

import pytest
import tensorflow as tf
import tiny

from fedmed import cli
from fedmed.data import store
from fedmed.models import refusals
from fedmed.settings import config
from fedmed.system import errors, files


@pytest.fixture
def limit() -> Iterator[None]:
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@pytest.mark.usefixtures("limit")
def test_a_file_that_cannot_be_written_whole_is_named_and_the_run_goes_on_later(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    own = tiny.settings(data={"args": {"path": tiny.save_sites(tmp_path / "own.npz")}}, checkpoint={"every": 1})
    (tmp_path / "own.toml").write_text(config.dumps(own))
    command = ["run", str(tmp_path / "own.toml"), "--out", str(out), "--quiet"]
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
    assert cli.main(command) == 1
    told = capsys.readouterr().err
    assert told.startswith(f"fedmed: {out}/")
    assert told.endswith(": File too large\n")
    assert told.count("\n") == 1
    assert not [path for path in out.iterdir() if path.name.startswith(".") and path.name != ".lock"]
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert cli.main([*command, "--resume"]) == 0
    assert (out / "summary.json").is_file()


@pytest.mark.usefixtures("limit")
def test_no_rows_stay_where_there_is_no_room_for_all(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, resource.RLIM_INFINITY))
    with pytest.raises(OSError, match="File too large"):
        store.ClientStore(tiny.clients((11, 400)).train)
    assert list(tmp_path.iterdir()) == []


def test_tensorflow_tells_of_full_disks_too() -> None:
    error = tf.errors.ResourceExhaustedError(None, None, "out/kept/000001.bin; No space left on device")
    with pytest.raises(OSError, match="No space left") as caught, refusals.in_one_line("training"):
        raise error
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, "out/kept/000001.bin")
    assert files.disk_failure(tf.errors.ResourceExhaustedError(None, None, "OOM when allocating")) is None
    with pytest.raises(errors.ModelError), refusals.in_one_line("training"):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating")
