"""Two hosts on one machine, without a folder in common: network namespaces, each with a Ray daemon of its own.

It takes root, `ip`, `unshare` and `openssl`. The second host sees an empty folder where the first has its temporary
files, so that whatever it needs must be sent to it. What the hosts say to each other is encrypted (TLS, both sides with
a certificate), and who has not their token is not let in.
"""

import contextlib
import os
import pathlib
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence

PORT = 6399
ADDRESS = f"10.77.0.1:{PORT}"
_NAMES = ("fedmed-one", "fedmed-two")
_ALTERNATIVES = "subjectAltName=IP:10.77.0.1,IP:10.77.0.2,IP:127.0.0.1"


class Hosts:
    """Two hosts, of so many processors each; made by `two_hosts`.

    Attributes:
        environment: for programs on the first host that use the cluster.
    """

    def __init__(self, folder: pathlib.Path, certificates: pathlib.Path, processors: tuple[int, int]) -> None:
        self._folder, self._processors = folder, processors
        guarded = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USE_TLS": "1",
            "RAY_TLS_SERVER_CERT": str(certificates / "host.crt"),
            "RAY_TLS_SERVER_KEY": str(certificates / "host.key"),
            "RAY_TLS_CA_CERT": str(certificates / "ca.crt"),
        }
        self.environment = {**os.environ, **guarded, "RAY_USAGE_STATS_ENABLED": "0", "TMPDIR": str(folder)}

    def command(self, words: Sequence[str]) -> list[str]:
        """Returns the command that runs a program on the first host."""
        return ["ip", "netns", "exec", _NAMES[0], *words]

    def start(self) -> None:
        """Starts a Ray on both."""
        for words in _links():
            subprocess.run(["ip", *words.split()], check=True)
        ray = [str(pathlib.Path(sys.executable).parent / "ray"), "start", "--disable-usage-stats"]
        common = ["--object-store-memory=300000000", "--include-dashboard=false"]
        head = ["--head", f"--port={PORT}", "--node-ip-address=10.77.0.1", f"--num-cpus={self._processors[0]}"]
        self._run([*self.command([*ray, *head, f"--temp-dir={self._folder / 'r'}", *common])])
        self.start_second()

    def start_second(self) -> None:
        """Starts the second host's Ray, in a mount namespace in which the temporary folder is another, empty one."""
        ray = str(pathlib.Path(sys.executable).parent / "ray")
        joins = f"{ray} start --disable-usage-stats --address={ADDRESS} --node-ip-address=10.77.0.2"
        words = f"mount -t tmpfs none {self._folder} && exec {joins} --num-cpus={self._processors[1]}"
        self._run(["ip", "netns", "exec", _NAMES[1], "unshare", "-m", "sh", "-c", words])

    def _run(self, words: Sequence[str]) -> None:
        ended = subprocess.run(words, env=self.environment, capture_output=True, text=True)
        if ended.returncode:
            raise RuntimeError(f"{' '.join(words)}: {ended.stdout[-500:]}{ended.stderr[-500:]}")

    def kill_second(self) -> int:
        """Kills all processes of the second host at once, and returns how many there were."""
        return _kill(_NAMES[1])

    def close(self) -> None:
        """Ends both hosts."""
        for name in _NAMES:
            _kill(name)
            subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL, check=False)


@contextlib.contextmanager
def two_hosts(folder: pathlib.Path, processors: tuple[int, int] = (1, 1)) -> Iterator[Hosts]:
    """Starts two hosts and ends them; `folder` is private to each, though it has the same path, and must be short."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as certificates:  # the second host must find its own, too
        _certify(pathlib.Path(certificates))
        hosts = Hosts(folder, pathlib.Path(certificates), processors)
        try:
            hosts.start()
            yield hosts
        finally:
            hosts.close()


def _certify(folder: pathlib.Path) -> None:
    """Makes an authority, and one certificate, of both hosts, that it has signed."""
    for words in (
        "req -x509 -newkey rsa:3072 -nodes -days 2 -subj /CN=trial -keyout ca.key -out ca.crt",
        f"req -newkey rsa:3072 -nodes -subj /CN=host -addext {_ALTERNATIVES} -keyout host.key -out host.csr",
        "x509 -req -days 2 -in host.csr -CA ca.crt -CAkey ca.key -CAcreateserial -copy_extensions copy -out host.crt",
    ):
        subprocess.run(["openssl", *words.split()], cwd=folder, check=True, stderr=subprocess.DEVNULL)


def _links() -> list[str]:
    one, two = _NAMES
    return [
        f"netns add {one}",
        f"netns add {two}",
        f"link add fdv1 netns {one} type veth peer name fdv2 netns {two}",
        f"-n {one} addr add 10.77.0.1/24 dev fdv1",
        f"-n {two} addr add 10.77.0.2/24 dev fdv2",
        *(f"-n {name} link set lo up" for name in _NAMES),
        f"-n {one} link set fdv1 up",
        f"-n {two} link set fdv2 up",
    ]


def _kill(name: str) -> int:
    found = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=False).stdout.split()
    for pid in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    time.sleep(0.5 if found else 0.0)
    return len(found)
