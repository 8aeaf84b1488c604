"""Start the crew of a run: worker processes of this machine, or actors of a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from orchestrator.backends.base import Arrivals, Backend
from orchestrator.backends.cluster import Wanted, joined
from orchestrator.backends.local import LocalBackend
from orchestrator.backends.ray_session import require_answer, require_ray
from orchestrator.fleet.events_actions import WorkerSpec
from orchestrator.machine.local_folder import swept_local_folder
from orchestrator.run.context import RunContext, Work
from orchestrator.run.request import Request
from orchestrator.watch.device_load import Elsewhere


@dataclass(frozen=True, slots=True)
class RunningCrew:
    """A crew whose workers can be started.

    Attributes:
        gpus: number and UUID of the GPU of each worker on this machine; None on the CPU.
        devices: of those workers: that number as the run counts GPUs, or "cpu".
        pids: the processes of those workers.
        arrivals: further workers that come during the run, where any may.
        elsewhere: the load of workers on other machines.
    """

    backend: Backend
    workers: Sequence[WorkerSpec]
    gpus: Mapping[int, tuple[int, str] | None]
    devices: Mapping[int, int | str]
    pids: Callable[[], Mapping[int, int]]
    arrivals: Arrivals | None = None
    elsewhere: Callable[[], Mapping[int, Elsewhere]] = dict


def require_cluster(request: Request) -> None:
    """Refuse a cluster that cannot be used; a run on this machine needs none.

    Raises:
        MachineError: Ray is not installed, or the cluster does not answer.
    """
    if request.cluster is None:
        return
    require_ray()
    if not request.dry_run:
        require_answer(request.cluster)


@contextmanager
def running_crew(ctx: RunContext, work: Work) -> Iterator[RunningCrew]:
    """This machine's crew, or the cluster's if it has anything to do.

    Raises:
        MachineError: no node of the cluster can work.
    """
    cluster, crew = ctx.request.cluster, work.crew
    if cluster is None or not work.unfinished:
        backend = LocalBackend(crew.setups, crew.memory_used)
        gpus = {w: (g.number, g.uuid) if (g := crew.gpus.get(w)) else None for w in crew.setups}
        devices = {worker: setup.device for worker, setup in crew.setups.items()}
        with swept_local_folder(ctx.settings.output):
            yield RunningCrew(backend, crew.specs(), gpus, devices, backend.pids)
        return

    around = ctx.around
    wanted = Wanted(ctx.settings, crew, work.unfinished, ctx.out, around.fetch_model, around.say)
    with joined(cluster, wanted) as (nodes, workers):
        yield RunningCrew(nodes.backend, workers, {}, {}, dict, nodes, nodes.backend.usage)
