"""A Ray cluster of several nodes on this machine, in a process of its own that obeys a test.

Run as a program it is that process: it reads lines ("add", "kill N", "end") and answers each with
one line. Nothing is reached but loopback, and nothing is told to anybody about it.

All files of the cluster lie in a folder of its own. In particular the note of its address, which
Ray would put into /tmp/ray: that folder is missing on a machine where Ray has not been used yet,
and where it exists, the note may belong to somebody else's cluster.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import wait
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from tests.runs import environment, family, left_behind

#: Ray prints much by itself, so that answers bear a mark.
MARK = "cluster: "

#: For the cluster and for its drivers.
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_PRESTART_WORKER_FIRST_DRIVER": "0",
    "RAY_enable_worker_prestart": "0",
    # As the guide tells to.
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": "of-the-tests",
}

#: Ray's own limits, for a machine that is busy with other tests.
PATIENT = {
    "RAY_gcs_server_port_wait_time_s": "120",
    "RAY_raylet_start_wait_time_s": "120",
    "RAY_agent_register_timeout_ms": "120000",
    # It would end workers because of the memory that other tests use.
    "RAY_memory_monitor_refresh_ms": "0",
}

SERVE = (sys.executable, "-m", "tests.ray_cluster")

#: Some limits of Ray's start are fixed (30 s for a node), so that a start may fail by mere load.
ATTEMPTS = 3

ANSWER_S = 100.0

_TAIL_LINES = 40


class ClusterError(RuntimeError):
    """The cluster has ended, or does not answer; the message shows the end of its log."""


@contextmanager
def ray_cluster(
    mark: Path, logs: Path, nodes: int, command: Sequence[str] = SERVE, answer_s: float = ANSWER_S
) -> Iterator[RayCluster]:
    """A cluster with so many nodes; it ends with the block, by force if the block fails.

    Args:
        mark: of all its processes (`tests.runs.family`).
        logs: a folder; what each attempt to start printed is kept there.
        command: serves the cluster.
        answer_s: how long an answer may take.

    Raises:
        ClusterError: the last of ATTEMPTS to start it failed, too.
    """
    cluster = _start(mark, logs, nodes, command, answer_s)
    try:
        yield cluster
        cluster.end()
        assert left_behind(mark) == [], "the cluster, or a run on it, has left processes behind"
    finally:
        cluster.kill_all()


def _start(
    mark: Path, logs: Path, nodes: int, command: Sequence[str], answer_s: float
) -> RayCluster:
    for attempt in range(1, ATTEMPTS):
        try:
            return RayCluster(mark, logs / f"cluster-{attempt}.log", nodes, command, answer_s)
        except ClusterError as error:
            with warnings.catch_warnings():
                warnings.simplefilter("always")  # shown, but no failure
                warnings.warn(f"start {attempt} of {ATTEMPTS}: {error}", stacklevel=1)
    return RayCluster(mark, logs / f"cluster-{ATTEMPTS}.log", nodes, command, answer_s)


class RayCluster:
    """A head that does no work, and the nodes that were added.

    Attributes:
        address: HOST:PORT for drivers.
        folder: all of its files; its path is short, since sockets with longer ones cannot be.
    """

    def __init__(
        self, mark: Path, log: Path, nodes: int, command: Sequence[str], answer_s: float
    ) -> None:
        self._mark = mark
        self._log = log
        self._answer_s = answer_s
        self._temporary = TemporaryDirectory(prefix="r", dir="/tmp", ignore_cleanup_errors=True)
        self.folder = Path(self._temporary.name)
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                bufsize=0,  # what was not read yet is in the pipe, where `wait` sees it
                env={
                    **environment(mark),
                    **QUIET,
                    **PATIENT,
                    "RAY_TMPDIR": self._temporary.name,
                },
                start_new_session=True,
            )
        # Whatever it has started may keep its pipes open.
        self._ended = os.pidfd_open(self._process.pid)
        try:
            self.address = self._answer()
            for _ in range(nodes):
                self.add()
        except BaseException:
            self.kill_all()
            raise

    def add(self) -> None:
        """One more node, with room for one worker."""
        self._ask("add")

    def kill(self, number: int) -> None:
        """End a node with all of its processes at once; they are counted from 0."""
        self._ask(f"kill {number}")

    def end(self) -> None:
        """Ask it to end, and wait until it has."""
        self._ask("end")
        self._process.wait(self._answer_s)

    def kill_all(self) -> None:
        """End by force what is still there of it, close its pipes and remove its files."""
        self._process.kill()
        with self._process:  # closes its pipes and waits
            os.close(self._ended)
        own = psutil.Process().children()
        while left := [process for process in family(self._mark) if process not in own]:
            for process in left:
                process.kill()
            psutil.wait_procs(left, timeout=1)
        ray_logs = self.folder / "ray/session_latest/logs"
        if ray_logs.is_dir():
            shutil.copytree(ray_logs, self._log.with_suffix(""), dirs_exist_ok=True)
        self._temporary.cleanup()

    def _ask(self, words: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{words}\n".encode())
        except BrokenPipeError:
            raise self._error("has ended") from None
        self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        answers = self._process.stdout.fileno()
        deadline = time.monotonic() + self._answer_s
        while ready := wait([answers, self._ended], max(0, deadline - time.monotonic())):
            line = (
                self._process.stdout.readline().decode(errors="replace") if answers in ready else ""
            )
            if line.startswith(MARK):
                return line.removeprefix(MARK).strip()
            if not line:
                raise self._error("has ended")
        raise self._error(f"has not answered for {self._answer_s:.0f} s")

    def _error(self, what: str) -> ClusterError:
        last = self._log.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
        return ClusterError("\n".join([f"the cluster {what}; the end of {self._log}:", *last]))


def _serve(folder: Path) -> None:
    from ray.cluster_utils import Cluster

    small = {"object_store_memory": 80 << 20, "num_gpus": 0}
    folder.mkdir()
    cluster = Cluster(
        initialize_head=True,
        head_node_args={
            **small,
            "num_cpus": 0,
            "include_dashboard": False,
            "include_log_monitor": False,
            "no_monitor": True,
            "temp_dir": str(folder),
            "dashboard_agent_listen_port": 0,  # any; by default one that all heads share
        },
    )
    nodes = []
    print(f"{MARK}{cluster.address}", flush=True)  # noqa: T201
    for line in sys.stdin:
        match line.split():
            case ["add"]:
                nodes.append(cluster.add_node(**small, num_cpus=1))
            case ["kill", number]:
                cluster.remove_node(nodes[int(number)], allow_graceful=False)
            case _:
                break
        print(f"{MARK}done", flush=True)  # noqa: T201
    cluster.shutdown()
    print(f"{MARK}done", flush=True)  # noqa: T201


if __name__ == "__main__":
    _serve(Path(os.environ["RAY_TMPDIR"], "ray"))
