"""`Backend`: the interface that the supervisor needs of workers, wherever they run."""

from __future__ import annotations

import os
from socket import socket
from typing import Protocol

from orchestrator.fleet.events_actions import WorkerSpec
from workers.messages import Command, Report
from workers.result_queue import LineGone, open_line


class Handle(Protocol):
    """One life of one worker. No method waits for the worker, and none fails because of it.

    Attributes:
        connection: `multiprocessing.connection.wait` finds it ready when there is something to
            `receive`.
        sentinel: becomes ready when the life is over.
    """

    worker: int
    life: int

    @property
    def connection(self) -> socket: ...

    @property
    def sentinel(self) -> int: ...

    def send(self, command: Command) -> None: ...

    def receive(self) -> list[Report | LineGone]: ...

    def kill(self) -> None:
        """End the life, and all that it started, at once."""
        ...

    def join(self) -> str:
        """Release what is left of a life whose sentinel is ready; how it ended, in words."""
        ...


class ThreadedHandle:
    """What handles have in common of which threads of this process are the other end.

    Those have `_theirs`, and close `_end` when the life is over.
    """

    def __init__(self, worker: int, life: int) -> None:
        self.worker = worker
        self.life = life
        self._line, self._theirs = open_line()
        self._over, self._end = os.pipe()

    @property
    def connection(self) -> socket:
        return self._line.connection

    @property
    def sentinel(self) -> int:
        return self._over

    def send(self, command: Command) -> None:
        self._line.send(command)

    def receive(self) -> list[Report | LineGone]:
        return self._line.receive()


class Arrivals(Protocol):
    """Tells of workers that come while a run goes on.

    Attributes:
        connection: `multiprocessing.connection.wait` finds it ready when there is something to
            `take`.
    """

    @property
    def connection(self) -> socket: ...

    def take(self) -> list[WorkerSpec]: ...


class Backend(Protocol):
    """Starts workers."""

    def launch(self, worker: int, life: int) -> Handle:
        """Raises OSError where the worker cannot be started now."""
        ...

    def is_free(self, worker: int) -> bool:
        """Whether what this worker's last life held of its device has been given back."""
        ...
