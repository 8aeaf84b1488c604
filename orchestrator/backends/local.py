"""Workers as processes of this machine, and a twin of them as threads for the debugger."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping

from orchestrator.backends.base import Handle, ThreadedHandle
from pipeline.structlog_import import structlog
from workers.launch import launch
from workers.messages import WorkerSetup

#: Other programs on a GPU come and go; a dead worker's model and context are larger than this.
TOLERANCE_BYTES = 256 << 20


class LocalBackend:
    """One process a worker.

    Args:
        setups: what each worker is given, by its number.
        memory_used: bytes in use on a worker's device; None where there is no telling.
    """

    def __init__(
        self,
        setups: Mapping[int, WorkerSetup],
        memory_used: Callable[[int], int | None] = lambda worker: None,
    ) -> None:
        self._setups = dict(setups)
        self._memory_used = memory_used
        self._used_before: dict[int, int | None] = {}
        self._pids: dict[int, int] = {}

    def pids(self) -> Mapping[int, int]:
        """The process of each worker that was started, its newest; it may have ended."""
        return dict(self._pids)

    def launch(self, worker: int, life: int) -> Handle:
        if worker not in self._used_before:
            self._used_before[worker] = self._memory_used(worker)
        handle = launch(worker, life, self._setups[worker])
        self._pids[worker] = handle.pid
        return handle

    def is_free(self, worker: int) -> bool:
        """Whether the device holds no more than before this worker's first life, or little more."""
        before = self._used_before.get(worker)
        now = None if before is None else self._memory_used(worker)
        return before is None or now is None or now <= before + TOLERANCE_BYTES


class ThreadBackend:
    """The same workers as threads of this process, where a debugger reaches them.

    A thread cannot be killed: after `kill` it goes on by itself until its task looks at
    `should_stop`. Use it with workers on the CPU; it is not for real runs.
    """

    def __init__(self, setups: Mapping[int, WorkerSetup]) -> None:
        self._setups = dict(setups)

    def launch(self, worker: int, life: int) -> Handle:
        return _ThreadHandle(worker, life, self._setups[worker])

    def is_free(self, worker: int) -> bool:
        return True


class _ThreadHandle(ThreadedHandle):
    def __init__(self, worker: int, life: int, setup: WorkerSetup) -> None:
        super().__init__(worker, life)
        self._setup = setup
        self._status = -1
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()

    def kill(self) -> None:
        self._line.hang_up()

    def join(self) -> str:
        self._thread.join()
        self._line.close()
        os.close(self._over)
        return f"exit status {self._status}"

    def _live(self) -> None:
        # Imported here: this makes the parent import torch, which only the debugger wants.
        from workers.gpu_worker import serve

        log = structlog.get_logger("vrmatte").bind(worker=self.worker, life=self.life)
        try:
            self._status = serve(self._theirs, self.worker, self.life, self._setup, log)
        finally:
            self._theirs.close()
            os.close(self._end)
