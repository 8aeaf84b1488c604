"""Workers on the machines of a Ray cluster: one actor a life, so that restarts are the fleet's.

Commands and reports cross the network, paths and numbers; frames never do. Each handle has two
threads that pass them between Ray and a line of its own, which the supervisor waits for as it does
for a process of this machine. Importing this module imports Ray.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
import ray.exceptions
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator.backends.base import Handle, ThreadedHandle
from orchestrator.fleet.events_actions import DISK_KINDS
from orchestrator.watch.device_load import Elsewhere
from workers.guest import Guest
from workers.messages import (
    Report,
    SegmentDone,
    TaskFailed,
    WorkerFailed,
    WorkerReady,
    WorkerSetup,
)
from workers.telemetry import WorkerSample

#: A network file system may show another machine's new file only after so long, in seconds.
SEEN_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True)
class Seat:
    """Where a worker's lives are started, and what of it they take.

    Attributes:
        node: Ray's name of the node, in hexadecimal.
        name: what people call it.
        num_cpus, num_gpus: what Ray counts for it.
        cores: of the node that may be used.
    """

    node: str
    name: str
    setup: WorkerSetup
    num_cpus: float
    num_gpus: int
    cores: float


class RayBackend:
    """Starts workers on the nodes of the cluster that this process is connected to."""

    def __init__(self, seats: Mapping[int, Seat]) -> None:
        self._seats = dict(seats)
        self._handles: dict[int, RayHandle] = {}
        self._here = ray.get_runtime_context().get_node_id()

    def usage(self) -> dict[int, Elsewhere]:
        """What the workers use that are alive, as far as their nodes have said."""
        handles = list(self._handles.items())
        said = {worker: handle.usage(self._here) for worker, handle in handles}
        return {worker: each for worker, each in said.items() if each is not None}

    def add(self, worker: int, seat: Seat) -> None:
        """There is one more worker that may be launched."""
        self._seats[worker] = seat

    def launch(self, worker: int, life: int) -> Handle:
        seat = self._seats[worker]
        if seat.node not in alive_nodes():
            raise OSError(f"its node {seat.name} is gone")
        try:
            actor = (
                ray.remote(Guest)
                .options(
                    num_cpus=seat.num_cpus,
                    num_gpus=seat.num_gpus,
                    max_restarts=0,
                    max_task_retries=0,
                    max_concurrency=3,
                    scheduling_strategy=NodeAffinitySchedulingStrategy(seat.node, soft=False),
                )
                .remote(worker, life, seat.setup)
            )
        except ray.exceptions.RayError as error:
            raise OSError(_first_line(error)) from error
        self._handles[worker] = handle = RayHandle(worker, life, seat, actor)
        return handle

    def is_free(self, worker: int) -> bool:
        """Ray gives a GPU to another actor only when the process of the one before has ended."""
        return True


class RayHandle(ThreadedHandle):
    """One life of a worker in an actor."""

    def __init__(self, worker: int, life: int, seat: Seat, actor: Any) -> None:
        super().__init__(worker, life)
        self._seat = seat
        self._actor = actor
        self._how = ""
        self._sample: WorkerSample | None = None
        self._threads = [
            threading.Thread(target=self._pass_commands, name="commands", daemon=True),
            threading.Thread(target=self._pass_reports, name="reports", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def usage(self, here: str) -> Elsewhere | None:
        """What the worker uses, as its node said last; None before it has, and afterwards.

        Args:
            here: the node of this machine.
        """
        if self._sample is None or self._how:
            return None
        seat = self._seat
        machine = "" if seat.node == here else seat.node
        return Elsewhere(self._sample, machine, seat.name, seat.cores)

    def kill(self) -> None:
        # Ray may be slow to take it; the loop must not wait.
        threading.Thread(target=self._kill, name="kill", daemon=True).start()

    def join(self) -> str:
        self._line.close()
        for thread in self._threads:
            thread.join()
        self._kill()  # an actor whose worker has ended holds its GPU still
        self._theirs.let_go()
        os.close(self._over)
        return f"{self._how} (node {self._seat.name})"

    def _kill(self) -> None:
        with contextlib.suppress(ray.exceptions.RayError):
            ray.kill(self._actor, no_restart=True)

    def _pass_commands(self) -> None:
        number = 0
        while (command := self._theirs.receive()) is not None:
            with contextlib.suppress(ray.exceptions.RayError):  # the other thread meets the same
                self._actor.tell.remote(number, command)
            number += 1

    def _pass_reports(self) -> None:
        try:
            while not self._how:
                heard = ray.get(self._actor.answer.remote())
                self._sample = heard.sample
                for report in heard.reports:
                    self._pass_report(report)
                self._how = heard.how or ""
        except ray.exceptions.RayError as error:
            self._how = f"lost: {_why_lost(error)}"
        except OSError:  # the supervisor has closed the line
            self._how = self._how or "given up"
        finally:
            os.close(self._end)

    def _pass_report(self, report: Report) -> None:
        if isinstance(report, WorkerReady):
            report = replace(report, device=f"{report.device} on {self._seat.name}")
        elif isinstance(report, TaskFailed | WorkerFailed) and report.error.kind in DISK_KINDS:
            message = f"on {self._seat.name}: {report.error.message}"  # it may be its own disk
            report = replace(report, error=replace(report.error, message=message))
        elif isinstance(report, SegmentDone):
            _until_seen(report.result.files, time.monotonic() + SEEN_WITHIN_S)
        self._theirs.send(report)


def _until_seen(
    files: tuple[str, ...],
    deadline: float,
    sleep: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Wait for the names of another machine's files to arrive here; but not for ever."""
    for file in map(Path, files):
        while not file.is_file() and clock() < deadline:
            with contextlib.suppress(OSError):
                os.listdir(file.parent)  # noqa: PTH208  # makes NFS ask its server again
            sleep(0.05)


def alive_nodes() -> dict[str, dict[str, Any]]:
    """What Ray knows of each node that is there, by its name in hexadecimal."""
    return {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}


def _first_line(error: Exception) -> str:
    """What Ray says, without its pages of advice."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if "because" in line), lines[0] if lines else repr(error))


def _why_lost(error: ray.exceptions.RayError) -> str:
    """Why an actor does not answer."""
    if isinstance(error, ray.exceptions.ActorUnavailableError):
        return "the connection to it broke off"
    if "its node has died" in str(error):
        return "its node has died"
    return _first_line(error)


def look_everywhere(
    nodes: Iterable[str],
    look: Callable[[], Any],
    limit_s: float,
    ended: threading.Event,
) -> dict[str, Any]:
    """What `look` says on each of these nodes; in words, why it said nothing there.

    Args:
        limit_s: how long all of them may take, in seconds.
        ended: nobody wants to know any more.
    """
    task = ray.remote(look)
    asked = {
        task.options(
            num_cpus=0,
            max_retries=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
        ).remote(): node
        for node in nodes
    }
    deadline = time.monotonic() + limit_s
    answers: dict[str, Any] = {}
    left = list(asked)
    while left and time.monotonic() < deadline and not ended.is_set():
        ready, left = ray.wait(left, num_returns=1, timeout=1.0)
        for answer in ready:
            try:
                answers[asked[answer]] = ray.get(answer)
            except Exception as error:  # whatever went wrong there; it is told
                answers[asked[answer]] = f"it could not be asked: {_first_line(error)}"
    for answer in left:
        ray.cancel(answer, force=True)
        answers[asked[answer]] = f"it said nothing for {limit_s:g} s"
    return answers
