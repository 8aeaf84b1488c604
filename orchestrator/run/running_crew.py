"""The workers of a run: this machine's, or those of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from orchestrator.backends.base import Arrivals, Backend
from orchestrator.backends.cluster import Wanted, joined
from orchestrator.backends.local import LocalBackend
from orchestrator.fleet.events_actions import WorkerSpec
from orchestrator.fleet.jobs import VideoJob
from orchestrator.machine.crew import Crew
from orchestrator.machine.scratch_folder import swept_scratch
from orchestrator.out.folder import OutFolder
from orchestrator.run.request import Request, Surroundings
from orchestrator.watch.device_load import Elsewhere


@dataclass(frozen=True, slots=True)
class Team:
    """The workers of a run, wherever they are.

    Attributes:
        gpus: number and UUID of the GPU of each worker on this machine; None on the CPU.
        devices: of those workers: that number as the run counts GPUs, or "cpu".
        pids: the processes of those workers.
        arrivals: tells of further workers, where any may come.
        elsewhere: what workers use that are not processes of this machine.
    """

    backend: Backend
    workers: Sequence[WorkerSpec]
    gpus: Mapping[int, tuple[int, str] | None]
    devices: Mapping[int, int | str]
    pids: Callable[[], Mapping[int, int]]
    arrivals: Arrivals | None = None
    elsewhere: Callable[[], Mapping[int, Elsewhere]] = dict


@contextmanager
def gathered(
    request: Request, around: Surroundings, out: OutFolder, crew: Crew, jobs: Sequence[VideoJob]
) -> Iterator[Team]:
    """This machine's workers, or those of the cluster if there is anything to do for them."""
    if request.cluster is None or not jobs:
        backend = LocalBackend(crew.setups, crew.memory_used)
        gpus = {w: (g.number, g.uuid) if (g := crew.gpus.get(w)) else None for w in crew.setups}
        with swept_scratch(request.settings.output):
            devices = {worker: setup.device for worker, setup in crew.setups.items()}
            yield Team(backend, crew.specs(), gpus, devices, backend.pids)
        return

    wanted = Wanted(request.settings, crew, jobs, out, around.fetch_model, around.say)
    with joined(request.cluster, wanted) as (cluster, workers):
        yield Team(cluster.backend, workers, {}, {}, dict, cluster, cluster.backend.usage)
