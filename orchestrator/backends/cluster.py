"""Workers on the nodes of a Ray cluster: check nodes at the start and those that join later.

Ray itself is behind `orchestrator/backends/ray.py`; it is imported when a cluster is asked for.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from socket import socket, socketpair
from typing import TYPE_CHECKING, Any

from orchestrator.backends.node_check import Node, Source, difference, look, this_node
from orchestrator.backends.ray_session import connected
from orchestrator.fleet.events_actions import WorkerSpec
from orchestrator.fleet.jobs import VideoJob
from orchestrator.machine.crew import Crew, crew_of
from orchestrator.machine.devices import Devices, choose_devices
from orchestrator.machine.local_folder import local_folder
from orchestrator.out.folder import OutFolder
from orchestrator.settings.settings import Settings
from orchestrator.words import counted
from pipeline.contract import MattingSettings
from pipeline.errors import MachineError, SettingsError
from pipeline.structlog_import import structlog
from workers.messages import ModelChoice

if TYPE_CHECKING:
    from orchestrator.backends.ray import RayBackend

#: How often the cluster is asked for new nodes, and how long a node may take to prove itself.
NEW_NODES_S = 2.0
LOOK_S = 600.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """The work for which nodes are wanted.

    Attributes:
        crew: the crew of this machine; nodes have its lanes and its kind of device.
        jobs: those that are not done.
        fetch: fetches a model on the machine where it is called.
        say: prints a line for a person.
    """

    settings: Settings
    crew: Crew
    jobs: Sequence[VideoJob]
    out: OutFolder
    fetch: Callable[[MattingSettings], object]
    say: Callable[[str], object]


class Cluster:
    """The nodes that work, including those that join later; see `joined`."""

    def __init__(self, wanted: Wanted, backend: RayBackend) -> None:
        self.backend = backend
        self._wanted = wanted
        self._here = this_node()
        self._known: set[str] = set()
        self._count = 0
        self._token = f".node-{secrets.token_hex(8)}.part"
        self._sources = [
            Source(job.info.path, job.info.size_bytes, job.info.fingerprint) for job in wanted.jobs
        ]
        self._models = list(
            dict.fromkeys(ModelChoice.of(job.settings).matting for job in wanted.jobs)
        )
        self._log = structlog.get_logger("vrmatte").bind(part="cluster")
        self._news, self._bell = socketpair()
        self._news.setblocking(False)
        self._bell.setblocking(False)
        self._new: list[WorkerSpec] = []
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="nodes", daemon=True)

    @property
    def connection(self) -> socket:
        """Ready when there is something to `take`."""
        return self._news

    def take(self) -> list[WorkerSpec]:
        """The workers that have joined since the last call."""
        with suppress(BlockingIOError):
            while len(self._news.recv(1024)) == 1024:
                pass
        with self._lock:
            new, self._new = self._new, []
        return new

    def begin(self) -> list[WorkerSpec]:
        """Check the nodes of the cluster, and look for new ones from now on.

        Raises:
            MachineError: no node can work.
        """
        with _token(self._wanted.out, self._token):
            specs = self._look_for_new()
        if not specs:
            raise MachineError(
                "no node of the cluster can work on this run",
                "see the reasons above; `ray start` adds nodes (DEPLOYMENT_GUIDE.md)",
            )
        self._thread.start()
        return specs

    def end(self) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        self._news.close()
        self._bell.close()

    def _watch(self) -> None:
        while not self._ended.wait(NEW_NODES_S):
            try:
                with _token(self._wanted.out, self._token):
                    specs = self._look_for_new()
            except Exception as error:  # any trouble of Ray: the known nodes go on
                self._log.warning("nodes_not_looked_at", error=str(error))
                continue
            if specs:
                with self._lock:
                    self._new += specs
                with suppress(OSError):
                    self._bell.send(b"\0")

    def _look_for_new(self) -> list[WorkerSpec]:
        from orchestrator.backends.ray import alive_nodes, look_everywhere

        nodes = {name: node for name, node in alive_nodes().items() if name not in self._known}
        self._known |= nodes.keys()
        able = {name: node for name, node in nodes.items() if self._count_on(node)}
        answers = look_everywhere(able, self._ask, LOOK_S, self._ended)
        specs: list[WorkerSpec] = []
        for name, answer in answers.items():
            shown = f"{nodes[name]['NodeManagerHostname']} ({nodes[name]['NodeManagerAddress']})"
            if isinstance(answer, Node):
                answer = self._refusal(answer) or answer
            if isinstance(answer, str):
                self._wanted.say(f"node {shown} is left out: {answer}")
                self._log.warning("node_left_out", node=shown, why=answer)
                continue
            specs += (new := self._seat(name, nodes[name], answer))
            self._log.info("node_joined", node=shown, workers=[spec.id for spec in new])
            self._wanted.say(f"node {shown}: {counted(len(new), 'worker')}")
        return specs

    @property
    def _ask(self) -> Callable[[], Node | str]:
        wanted = self._wanted
        folder = local_folder(wanted.settings.output)
        whole = (self._sources, str(wanted.out.work), self._token, self._models, wanted.fetch)
        arguments = (*whole, folder)
        return lambda: look(*arguments)

    def _count_on(self, node: Mapping[str, Any]) -> int:
        """How many workers Ray has room for there."""
        resources = node["Resources"]
        if self._wanted.crew.on_gpu:
            return int(resources.get("GPU", 0))
        return self._wanted.settings.workers.cpu_workers if resources.get("CPU", 0) > 0 else 0

    def _refusal(self, node: Node) -> str | None:
        if self._wanted.crew.on_gpu and not node.gpus:
            return "its GPUs cannot be used"
        found = difference(self._here, node)
        return None if found is None else f"it differs in {found}"

    def _seat(self, name: str, node: Mapping[str, Any], said: Node) -> list[WorkerSpec]:
        """Workers for a node that may work."""
        from orchestrator.backends.ray import Seat

        wanted = self._wanted
        count = self._count_on(node)
        gpus = said.gpus[:count]
        if wanted.crew.on_gpu:
            devices = Devices(tuple(gpu.number for gpu in gpus), "", tuple(gpus))
        else:
            devices = choose_devices("none", count, ())
        crew = crew_of(
            wanted.settings,
            devices,
            wanted.out,
            wanted.jobs,
            lanes=wanted.crew.lanes,
            machine_bytes=said.memory_bytes,
        )
        cpus = float(node["Resources"].get("CPU", 0))
        specs = []
        for local, spec in enumerate(crew.specs()):
            setup = crew.setups[local]
            log = Path(setup.log_path)
            setup = replace(
                setup,
                # Ray shows each actor its own GPU alone, as the first.
                device=0 if wanted.crew.on_gpu else "cpu",
                log_path=str(log.with_name(f"{_safe(said.host)}-{name[:6]}-{log.name}")),
            )
            worker, self._count = self._count, self._count + 1
            self.backend.add(
                worker,
                Seat(
                    name,
                    said.host,
                    setup,
                    num_cpus=0 if wanted.crew.on_gpu else min(1.0, cpus / count),
                    num_gpus=int(wanted.crew.on_gpu),
                    cores=said.cores,
                ),
            )
            specs.append(replace(spec, id=worker))
        return specs


@contextmanager
def joined(address: str, wanted: Wanted) -> Iterator[tuple[Cluster, list[WorkerSpec]]]:
    """Connect to the Ray cluster at `address` ("auto": the one of this machine) as a driver.

    Yields:
        The cluster, and its first workers.

    Raises:
        MachineError: Ray is not installed, there is no cluster, or none of its nodes can work.
    """
    if not isinstance(wanted.settings.workers.gpus, str):
        raise SettingsError(
            "GPUs cannot be chosen by number on a cluster",
            "`ray start --num-gpus` says how many each node gives; use --gpus all or none",
        )
    with connected(address):
        from orchestrator.backends.ray import RayBackend

        cluster = Cluster(wanted, RayBackend({}))
        try:
            yield cluster, cluster.begin()
        finally:
            cluster.end()


@contextmanager
def _token(out: OutFolder, name: str) -> Iterator[None]:
    """A file by which a node can tell that it sees the same output folder."""
    path = out.work / name
    path.touch()
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _safe(host: str) -> str:
    return "".join(c if c.isalnum() or c in "-." else "_" for c in host) or "node"
