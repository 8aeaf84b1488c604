"""One life of a worker on another machine: what stands between it and the parent there.

It starts the worker's process as the parent would (`workers/launch.py`), hands it the parent's
commands in the order of their numbers, and keeps what it says until the parent asks. A parent that
does not ask any more is gone, or cannot reach this machine: then the process ends, before the
parent could have given its work to another.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from dataclasses import dataclass
from multiprocessing.connection import wait
from socket import socket

from workers.launch import WorkerHandle, launch, visible_devices
from workers.messages import Command, Report, WorkerSetup
from workers.result_queue import LineGone
from workers.telemetry import WorkerSample, family_usage, only_gpu, sample_gpus

#: How long the process goes on when nobody asks. Ray takes a node for dead after 15 s at the least.
LEASE_S = 12.0

#: How often it is looked at what the worker uses.
SAMPLE_S = 2.0

#: How long an answer waits for something to say.
ANSWER_S = 1.0


@dataclass(frozen=True, slots=True)
class Heard:
    """What the worker said since the last answer; `how` its life ended, once it has.

    Attributes:
        sample: what the worker uses, the newest; None before the first.
    """

    reports: tuple[Report, ...]
    how: str | None = None
    sample: WorkerSample | None = None


class Guest:
    """A worker's life here; its methods may be called by several threads at a time."""

    def __init__(
        self, worker: int, life: int, setup: WorkerSetup, lease_s: float = LEASE_S
    ) -> None:
        _forget_main()
        self._lease_s = lease_s
        self._asked_at = time.monotonic()
        self._said: queue.SimpleQueue[Report | str] = queue.SimpleQueue()
        self._commands: dict[int, Command] = {}
        self._next = 0
        self._lock = threading.Lock()
        self._sample: WorkerSample | None = None
        self._over = threading.Event()
        self._handle: WorkerHandle | None = None
        # The process ends with the thread that starts it, so that has to stay.
        self._thread = threading.Thread(target=self._live, args=(worker, life, setup), daemon=True)
        self._thread.start()

    def tell(self, number: int, command: Command) -> None:
        """Hand over the command with that number, counted from 0; they may come in any order."""
        with self._lock:
            self._commands[number] = command
            self._pass_on()

    def answer(self, wait_s: float = ANSWER_S) -> Heard:
        """What there is to say; waits for it, but not for long."""
        self._asked_at = time.monotonic()
        said: list[Report] = []
        try:
            one = self._said.get(timeout=wait_s)
            while isinstance(one, Report):
                said.append(one)
                one = self._said.get_nowait()
        except queue.Empty:
            return Heard(tuple(said), None, self._sample)
        finally:
            self._asked_at = time.monotonic()
        return Heard(tuple(said), one, self._sample)

    def kill(self) -> None:
        """End the process, and all that it started, at once."""
        if self._handle is not None:
            self._handle.kill()

    def _live(self, worker: int, life: int, setup: WorkerSetup) -> None:
        try:
            handle = launch(worker, life, setup)
        except OSError as error:
            self._said.put(f"it could not be started: {error.strerror or error}")
            return
        with self._lock:
            self._handle = handle
            self._pass_on()
        # Apart: a sick driver may not answer, and then only this thread waits.
        sampled = (handle.pid, visible_devices(setup.device, os.environ))
        threading.Thread(target=self._take_samples, args=sampled, daemon=True).start()
        listens = True
        why = ""
        while True:
            things: list[socket | int] = [handle.sentinel]
            if listens:
                things.append(handle.connection)
            ready = wait(things, self._lease_s / 4)
            for message in handle.receive() if listens else ():
                if isinstance(message, LineGone):
                    listens = False
                    handle.kill()
                else:
                    self._said.put(message)
            if handle.sentinel in ready:
                with self._lock:
                    self._handle = None
                self._over.set()
                self._said.put(handle.join() + why)
                return
            if time.monotonic() - self._asked_at > self._lease_s:
                why = f" (nobody asked for {self._lease_s:g} s)"
                handle.kill()

    def _take_samples(self, pid: int, visible: str) -> None:
        while not self._over.is_set():
            used, _ = family_usage(pid)
            gpu = only_gpu(sample_gpus(), visible) if visible else None
            self._sample = WorkerSample(time.monotonic(), used, gpu)
            self._over.wait(SAMPLE_S)

    def _pass_on(self) -> None:
        while self._handle is not None and self._next in self._commands:
            self._handle.send(self._commands.pop(self._next))
            self._next += 1


def _forget_main() -> None:
    """Keep a new process from loading the program that this one was started with.

    It would be Ray's, with all of its modules, which a worker has no use for.
    """
    main = sys.modules["__main__"]
    if "ray" in sys.modules and hasattr(main, "__file__"):
        del main.__file__
