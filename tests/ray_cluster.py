"""A Ray cluster of several nodes on this machine, in a process of its own that obeys a test.

Run as a program it is that process: it reads lines ("add", "kill N", "end") and answers each with
one line. Nothing is reached but loopback, and nothing is told to anybody about it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.runs import environment

#: Ray prints much by itself, so that answers bear a mark.
MARK = "cluster: "

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_PRESTART_WORKER_FIRST_DRIVER": "0",
    "RAY_enable_worker_prestart": "0",
    "RAY_TMPDIR": "/tmp",
    # As the guide tells to.
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": "of-the-tests",
}


class RayCluster:
    """A head that does no work, and the nodes that were added."""

    def __init__(self, mark: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.ray_cluster", str(mark)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**environment(mark), **QUIET},
            start_new_session=True,
        )
        self.address = self._answer()

    def add(self) -> None:
        """One more node, with room for one worker."""
        self._ask("add")

    def kill(self, number: int) -> None:
        """End a node with all of its processes at once; they are counted from 0."""
        self._ask(f"kill {number}")

    def end(self) -> None:
        self._process.communicate("end\n", timeout=60)

    def _ask(self, words: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(words + "\n")
        self._process.stdin.flush()
        self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(MARK):
                return line.removeprefix(MARK).strip()
        raise RuntimeError("the cluster has ended")


def _serve(folder: str) -> None:
    from ray.cluster_utils import Cluster

    small = {"object_store_memory": 80 << 20, "num_gpus": 0}
    cluster = Cluster(
        initialize_head=True,
        head_node_args={
            **small,
            "num_cpus": 0,
            "include_dashboard": False,
            "include_log_monitor": False,
            "no_monitor": True,
            "temp_dir": folder,
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


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory(prefix="r", dir=os.environ["RAY_TMPDIR"]) as short:
        _serve(short)
