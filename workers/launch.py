"""Start a worker's process and hold on to it. The parent's side; it never touches CUDA.

The child gets the one GPU it can see before it imports torch, and a session of its own, so that
Ctrl-C on the terminal reaches the parent alone, and all that the worker started ends with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import multiprocessing
import os
import signal
from collections.abc import Iterator, Mapping
from logging import getLevelNamesMapping
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from pathlib import Path
from socket import socket

from pipeline.files.child import own_environment
from pipeline.files.child_failure import how_it_ended
from workers.messages import Command, Report, WorkerSetup
from workers.result_queue import LineGone, ParentEnd, WorkerEnd, open_line

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

#: Read by libraries when a program starts. Frames are tensors of megabytes that come and go; by
#: default each is mapped anew and the kernel clears its pages, which took a third of RVM's time on
#: a CPU (docs/benchmarks/001-worker-memory.md).
WORKER_ENVIRONMENT = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(4 << 30),
    "MALLOC_TOP_PAD_": str(64 << 20),
    "MALLOC_ARENA_MAX": "1",
    # Decoders and encoders want the cores while a tensor operation waits for its threads.
    "OMP_WAIT_POLICY": "passive",
    # A GPU's memory grows in place instead of being cut into blocks that fit nothing later. Pinned
    # buffers above 1 MB are as large as asked for: planes of 8192x4096 (84 MB) would take 128.
    "PYTORCH_ALLOC_CONF": "expandable_segments:True,pinned_max_round_threshold_mb:1",
}

# A new Python takes modules from the current folder first: in a folder of downloads a file
# multiprocessing.py would be run. The worker gets its places from the parent. What the person has
# set of these is replaced: empty, it means the current folder.
_PLACES = ("PYTHONSAFEPATH", "PYTHONPATH")


def launch(worker: int, life: int, setup: WorkerSetup) -> WorkerHandle:
    """Start a process for `worker`. Call it from the thread that lives as long as the run.

    (The kernel ends a worker when the *thread* that started it ends.)

    Raises:
        OSError: the machine has no room for another process.
    """
    parent_end, worker_end = open_line()
    visible = visible_devices(setup.device, os.environ)
    # `torch.multiprocessing.get_context` is this very function. By that name it would load torch
    # into the process that only leads: 3 s of a core, and 0.45 GB for as long as the run lasts.
    process = multiprocessing.get_context("spawn").Process(
        target=_main,
        args=(worker_end, worker, life, setup, os.getpid(), visible),
        name=f"vrmatte-worker-{worker}",
        daemon=False,
    )
    try:
        with _environment(WORKER_ENVIRONMENT), _stop_signals_held():
            process.start()
    except BaseException:
        parent_end.close()
        raise
    finally:
        worker_end.let_go()
    return WorkerHandle(worker, life, process, parent_end)


class WorkerHandle:
    """A worker's process, as the parent sees it.

    Attributes:
        worker, life: which worker this is, and which of its processes.
        connection: readable when there is something to `receive`.
        sentinel: readable when the process has ended.
    """

    def __init__(self, worker: int, life: int, process: BaseProcess, line: ParentEnd) -> None:
        self.worker = worker
        self.life = life
        self._process = process
        self._line = line

    @property
    def connection(self) -> socket:
        return self._line.connection

    @property
    def sentinel(self) -> int:
        return self._process.sentinel

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def send(self, command: Command) -> None:
        self._line.send(command)

    def receive(self) -> list[Report | LineGone]:
        return self._line.receive()

    def kill(self) -> None:
        """End the process and all that it started, at once."""
        # The worker leads a process group of its own, unless it has not got that far yet.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.kill()

    def join(self) -> str:
        """After the end of the process: see to what it left running; how it ended, in words."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)  # before the process is reaped its number is ours
        self._process.join()
        self._line.close()
        code = self._process.exitcode
        self._process.close()
        return how_it_ended(code)


def visible_devices(device: int | str, environment: Mapping[str, str]) -> str:
    """CUDA_VISIBLE_DEVICES for a process that shall see one GPU, or none.

    Args:
        device: a GPU's number among those that `environment` leaves visible, or ``"cpu"``.
    """
    if device == "cpu":
        return ""
    allowed = environment.get("CUDA_VISIBLE_DEVICES")
    return str(device) if allowed is None else allowed.split(",")[int(device)].strip()


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Show a child these variables; one that the person has set keeps its value, but `_PLACES`."""
    before = {name: os.environ.get(name) for name in (*variables, *_PLACES)}
    safe = own_environment()
    shown = {name: os.environ.get(name, value) for name, value in variables.items()}
    try:
        _set(shown | {name: safe.get(name) for name in _PLACES})
        yield
    finally:
        _set(before)


def _set(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@contextlib.contextmanager
def _stop_signals_held() -> Iterator[None]:
    """Keep Ctrl-C from a child until it has left the terminal; the parent gets it afterwards."""
    resource_tracker.ensure_running()  # starting it later would let the signals through
    old = signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)


def _main(
    line: WorkerEnd, worker: int, life: int, setup: WorkerSetup, parent: int, visible: str
) -> None:
    """The child's first steps: everything that must happen before torch is imported."""
    for number in _STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # also forgets one that waits
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above
        os._exit(1)
    os.environ["CUDA_VISIBLE_DEVICES"] = visible
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # as nvidia-smi counts

    from workers.gpu_worker import serve
    from workers.log import log_to, silence_terminal

    path = Path(setup.log_path)
    silence_terminal(path.with_suffix(".err"))
    faulthandler.enable()  # a crash in a library leaves the threads' stacks in that file
    level = getLevelNamesMapping()[setup.log_level.upper()]
    log = log_to(path, level=level, worker=worker, life=life)
    status = serve(line, worker, life, setup, log)
    # Tasks may still be in their threads, and libraries may crash while they are taken apart.
    os._exit(status)
