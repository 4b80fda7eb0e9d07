"""Rounds and jobs on a cluster: the bits of this machine, whatever is sent, and whoever is lost on the way.

One Ray is started for all of it. Without the package ray all of it is skipped, but for what settings alone decide.
"""

import contextlib
import dataclasses
import importlib.util
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
import tiny

from fedmed.engine.federation import Federation
from fedmed.engine.identity import settings_of
from fedmed.engine.programs import Programs
from fedmed.engine.runtimes import aftermath, cargo, cluster, starting
from fedmed.engine.runtimes.cluster import Cluster
from fedmed.engine.runtimes.crew import Crew, Member
from fedmed.settings import config
from fedmed.study import remote_session, results
from fedmed.study.cluster_pool import ClusterPool
from fedmed.study.plan import Job
from fedmed.study.remote_session import RemoteSession
from fedmed.study.session import Assignment
from fedmed.system import errors, folders

TESTS = pathlib.Path(__file__).parent
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the package ray is not installed")
RAY: dict[str, Any] = {"name": "ray", "lanes": 2}
ELSEWHERE: dict[str, Any] = {**RAY, "address": "10.0.0.1:6379"}  # only looked at: the tests' crew is used


@pytest.fixture(scope="module")
def made() -> Iterator[Cluster]:
    with contextlib.closing(Cluster(config.Runtime("ray", 2))) as own:
        own.start(4)
        yield own


@pytest.fixture(scope="module")
def crew(made: Cluster) -> Iterator[Crew]:
    from fedmed.engine.runtimes.remote_lane import RemoteLane

    with contextlib.closing(Crew(made, RemoteLane, 2)) as lanes:
        yield lanes


def processes(name: str) -> list[psutil.Process]:
    """Returns the processes below this one that work for a crew of the class."""
    below = psutil.Process().children(recursive=True)
    return [process for process in below if f"ray::{name}" in " ".join(process.cmdline())]


# Rounds


def trained(settings: config.RunConfig, worker: Any) -> tuple[Any, list[Any]]:
    """Returns the state after all rounds, and what the clients told in each."""
    held = tiny.clients()
    own = Federation(settings, held.dataset, held.train, worker=worker, programs=Programs())
    with contextlib.closing(own):
        done = list(own.rounds(own.start()))
        return own.weights(done[-1].position), [one._replace(position=None, seconds=0.0) for one in done]


def assert_alike(a: tuple[Any, list[Any]], b: tuple[Any, list[Any]]) -> None:
    tiny.assert_same([*a[0].trainable, *a[0].moving], [*b[0].trainable, *b[0].moving])
    for one, other in zip(a[1], b[1], strict=True):
        assert one._replace(sums={}) == other._replace(sums={})
        assert one.sums.keys() == other.sums.keys()
        tiny.assert_same(one.sums.values(), other.sums.values())


@needs_ray
@pytest.mark.parametrize("runtime", [RAY, ELSEWHERE], ids=["files are seen", "files are sent"])
@pytest.mark.parametrize("algorithm", ["fedavg", "scaffold"])
def test_a_cluster_gives_the_bits_of_this_process(algorithm: str, runtime: dict[str, Any], crew: Crew) -> None:
    settings = tiny.settings(algorithm={"name": algorithm}, rounds=3)
    assert_alike(
        trained(dataclasses.replace(settings, runtime=config.Runtime(**runtime)), crew), trained(settings, None)
    )
    folders = list(pathlib.Path(tempfile.gettempdir()).glob(f"{cargo.PREFIX}*"))
    assert bool(folders) or "address" not in runtime


@needs_ray
def test_a_lost_process_is_replaced_and_the_round_has_the_same_bits(crew: Crew) -> None:
    settings = tiny.settings("tiny_models:hidden", client={"epochs": 300}, rounds=2, runtime=ELSEWHERE)
    lost = processes("RemoteLane")
    assert len(lost) == 2
    threading.Timer(0.3, lost[0].kill).start()
    after = trained(settings, crew)
    psutil.wait_procs(lost[:1], timeout=10)
    assert_alike(after, trained(dataclasses.replace(settings, runtime=config.Runtime("local", 2)), None))
    assert not lost[0].is_running()


class Doomed(Member):
    """A member that ends whenever it works."""

    def work(self) -> None:
        os._exit(1)


@needs_ray
@pytest.mark.slow
def test_who_loses_processes_again_and_again_is_told_so(made: Cluster) -> None:
    lost = pytest.raises(errors.UserError, match=r"lost 4 times .*; giving up")
    with contextlib.closing(Crew(made, Doomed, 1)) as doomed, lost as told:
        doomed.run(["task"], lambda member, task: doomed.members[member].work.remote(), lambda *found: None)
    assert "\n" not in str(told.value)


@needs_ray
def test_more_lanes_than_processors_are_refused(made: Cluster) -> None:
    with pytest.raises(errors.UserError, match="has 4 processors, expected at least 9"):
        Crew(made, Member, 9)


# Jobs


def job(name: str, seed: int, folder: pathlib.Path) -> Assignment:
    """Returns a job on tiny synthetic hospitals, whose clients keep something, with its result in a folder."""
    tree = {
        "name": "tiny",
        "rounds": 20,
        "data": {"name": "diabetes_ehr", "args": {"patients": 0.1}},
        "model": {"name": "logistic_regression"},
        "algorithm": {"name": "scaffold"},
        "client": {"learning_rate": 0.2, "batch_size": 16},
        "evaluation": {"every": 10},
        "seed": seed,
        "runtime": {"lanes": 1},
    }
    settings = config.parse(tree)
    asked = Job(name, "federated", "federated", settings, metric="loss")
    return Assignment(settings, asked, results.path_of(folder, name), asked.identity({}, {}))


@needs_ray
def test_jobs_on_a_cluster_give_the_results_of_this_process(made: Cluster, tmp_path: pathlib.Path) -> None:
    from fedmed.study.pool import Here

    found: dict[str, list[Any]] = {}
    with contextlib.closing(Crew(made, RemoteSession, 2)) as sessions, Here() as here:
        runners = {
            "here": here,
            "seen": ClusterPool(sessions, sees_files=True),
            "sent": ClusterPool(sessions, sees_files=False),
        }
        for name, runner in runners.items():
            (tmp_path / name).mkdir()
            tasks, told = [job(f"job{seed}", seed, tmp_path / name) for seed in (0, 1)], []
            if name == "sent":
                threading.Timer(0.2, processes("RemoteSession")[0].kill).start()
            runner.run(tasks, lambda task, told=told: told.append(task.job.name))
            assert sorted(told) == ["job0", "job1"]
            assert sorted(path.name for path in (tmp_path / name).iterdir()) == ["job0.npz", "job1.npz"]
            assert all(task.path.stat().st_mode & 0o777 == 0o600 for task in tasks)
            found[name] = [results.read(task.path, task.identity.key) for task in tasks]
    for other in ("seen", "sent"):
        for a, b in zip(found["here"], found[other], strict=True):
            tiny.assert_same([*a.predictions, a.curve, a.sent], [*b.predictions, b.curve, b.sent])
    folders.remove_abandoned(remote_session.PREFIX)  # of the one that was killed
    assert remote_session.PREFIX not in " ".join(os.listdir(tempfile.gettempdir()))


# Settings


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Has nothing in the environment, and a package ray, whether it is there or not."""
    for name in [name for name in os.environ if name.startswith("RAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", "/nonexistent")
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: name == "ray" or find_spec(name, *more))
    return monkeypatch


def test_rows_travel_guarded_or_by_leave(installed: pytest.MonkeyPatch) -> None:
    away = config.Runtime(**ELSEWHERE)
    with pytest.raises(errors.ConfigError, match=r"10\.0\.0\.1:6379.*RAY_AUTH_TOKEN and set RAY_USE_TLS=1"):
        cluster.check(away)
    installed.setenv("RAY_AUTH_MODE", "token")
    installed.setenv("RAY_AUTH_TOKEN", "secret")
    with pytest.raises(errors.ConfigError, match="unguarded: set RAY_USE_TLS=1"):
        cluster.check(away)
    for name in ("RAY_USE_TLS", "RAY_TLS_SERVER_CERT", "RAY_TLS_SERVER_KEY", "RAY_TLS_CA_CERT"):
        installed.setenv(name, "1")
    cluster.check(away)
    for name in ("RAY_USE_TLS", "RAY_AUTH_TOKEN"):
        installed.delenv(name)
    cluster.check(dataclasses.replace(away, insecure=True))
    for here in ("127.0.0.1:6379", "localhost:6379", "[::1]:6379", ""):
        cluster.check(dataclasses.replace(away, address=here))
    with pytest.raises(errors.ConfigError, match="'auto' may have other machines"):
        cluster.check(dataclasses.replace(away, address="auto"))


def test_without_ray_the_command_that_installs_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    cluster.check(config.Runtime("local"))
    with pytest.raises(errors.ConfigError, match="not installed; install it with: uv sync --extra ray"):
        cluster.check(config.Runtime("ray"))


@pytest.mark.parametrize(
    ("runtime", "words"),
    [
        ({"name": "rai"}, r"runtime\.name: .*did you mean 'ray'"),
        ({"address": "10.0.0.1:6379"}, r"runtime\.address: is for runtime\.name = 'ray', got 'local'"),
        ({"name": "ray", "adress": "10.0.0.1:6379"}, r"runtime\.adress: .*did you mean 'address'"),
        ({"name": "ray", "address": "ray://10.0.0.1:6379"}, r"runtime\.address: expected HOST:PORT"),
        ({"name": "ray", "address": "10.0.0.1"}, r"runtime\.address: expected HOST:PORT"),
    ],
)
def test_wrong_settings_are_told_in_one_line(runtime: dict[str, Any], words: str) -> None:
    with pytest.raises(errors.ConfigError, match=words):
        tiny.settings(runtime=runtime)


def test_nobody_at_an_address_is_told_at_once() -> None:
    with pytest.raises(errors.UserError, match=r"nobody answers at '127\.0\.0\.1:1'"):
        cluster._probe("127.0.0.1:1")


def certify(folder: pathlib.Path) -> None:
    """Makes a certificate of the loopback that is its own authority."""
    words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=x -addext subjectAltName=IP:127.0.0.1"
    words += " -keyout key -out crt"
    folder.mkdir()
    subprocess.run(["openssl", *words.split()], cwd=folder, check=True, stderr=subprocess.DEVNULL)


@contextlib.contextmanager
def speaking_tls(folder: pathlib.Path) -> Iterator[str]:
    """Listens on the loopback, once, with the folder's certificate, and gives the address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "crt", folder / "key")

    def answer() -> None:
        with contextlib.suppress(OSError):
            context.wrap_socket(listening.accept()[0], server_side=True).close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(5.0)
        thread = threading.Thread(target=answer)
        thread.start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        thread.join()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")
@pytest.mark.parametrize(
    ("authority", "words"),
    [
        (None, "uses TLS; set RAY_USE_TLS=1"),
        ("own", None),
        ("other", r"no TLS with the Ray at .*certificate verify failed"),
        ("nowhere", r"no TLS with the Ray at .*No such file"),
    ],
)
def test_a_ray_whose_tls_is_not_ours_is_told_at_once(
    authority: str | None, words: str | None, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certify(tmp_path / "own")
    certify(tmp_path / "other")
    if authority is not None:
        monkeypatch.setenv("RAY_USE_TLS", "1")
        for name, path in zip(cluster._TLS, ("own/crt", "own/key", f"{authority}/crt"), strict=True):
            monkeypatch.setenv(name, str(tmp_path / path))
    told = contextlib.nullcontext() if words is None else pytest.raises(errors.UserError, match=words)
    with speaking_tls(tmp_path / "own") as address, told:
        cluster._probe(address)


@needs_ray
def test_a_ray_that_the_program_is_connected_to_is_neither_used_nor_ended(made: Cluster) -> None:
    with contextlib.closing(Cluster(config.Runtime("ray", 1))) as other, pytest.raises(errors.UserError) as told:
        other.start(1)
    assert "this program is connected to a Ray already" in str(told.value)
    cluster._THREAD.submit(int).result()  # after the closing
    assert made.processors == 4


@needs_ray
def test_who_has_imported_ray_before_its_token_was_drawn_is_told_so() -> None:
    code = (
        "import ray\nfrom fedmed.engine.runtimes.cluster import Cluster\nfrom fedmed.settings import config\n"
        "Cluster(config.Runtime('ray', 1)).start(1)"
    )
    bare = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=bare, cwd=TESTS.parent)
    assert "UserError: runtime.name: this program has imported ray, which reads its token then" in done.stderr


def test_a_result_does_not_depend_on_where_its_bits_were_made() -> None:
    here = tiny.settings()
    there = dataclasses.replace(here, runtime=config.Runtime("ray", 2, "10.0.0.1:6379", shared=True))
    assert settings_of(there) == settings_of(here)
    assert starting.sees_files(there.runtime)
    assert not starting.sees_files(config.Runtime(**ELSEWHERE))


# Ends


def test_what_names_a_folder_is_ended_with_it(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "fedmed-ray-x"
    folder.mkdir()
    command = ["tail", "-f", "/dev/null", str(folder / "log")]
    sleeping = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert sleeping.stdout is not None
    sleeping.stdout.read(1)  # It has its command line by now: Popen returns a little before that.
    aftermath.end_all(str(folder))
    assert sleeping.wait(timeout=10) == -signal.SIGKILL
    sleeping.stdout.close()
    assert not folder.exists()


@needs_ray
@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_a_run_ended_by_a_signal_leaves_no_process_and_no_row(
    number: signal.Signals, status: int, tmp_path: pathlib.Path
) -> None:
    data = tiny.save_sites(tmp_path / "own.npz")
    endless = tiny.settings(data={"args": {"path": data}}, rounds=100000, runtime=RAY)
    (tmp_path / "endless.toml").write_text(config.dumps(endless))
    temporary = tmp_path / "t"
    temporary.mkdir()
    environment = dict(os.environ, PYTHONPATH=str(TESTS), TMPDIR=str(temporary))
    words = [sys.executable, "-m", "fedmed", "run", str(tmp_path / "endless.toml"), "--out", str(tmp_path / "out")]
    process = subprocess.Popen([*words, "--quiet"], cwd=TESTS.parent, env=environment, stderr=subprocess.DEVNULL)
    give_up = time.monotonic() + 300
    path = tmp_path / "out" / "rounds.jsonl"
    while not (path.exists() and path.read_text().count("\n") > 3):
        assert process.poll() is None
        assert time.monotonic() < give_up
        time.sleep(0.05)
    below = psutil.Process(process.pid).children(recursive=True)
    assert any("RemoteLane" in " ".join(one.cmdline()) for one in below)
    process.send_signal(number)
    assert process.wait(timeout=30) == status
    alive = psutil.wait_procs(below, timeout=15)[1]
    assert not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]
    assert number == signal.SIGKILL or not list(temporary.glob("fedmed-*"))  # the next run removes a killed one's
