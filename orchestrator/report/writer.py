"""The run's side of the page: tells its keeper now and then how the run stands.

All of it happens in a thread of its own, in front of a child process (`keeper`): the supervisor's
loop leaves the newest snapshot and goes on, whatever the disk or the keeper does.
"""

from __future__ import annotations

import io
import os
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO

from orchestrator.fleet.snapshot import Snapshot
from orchestrator.report.keeper import send_state
from orchestrator.report.state import PageState
from orchestrator.watch.background import Background
from pipeline.contract import VideoInfo
from pipeline.files.child import own_module
from pipeline.files.child_failure import ChildFailure
from pipeline.structlog_import import structlog

#: How often the keeper is told, in seconds, and the share of a core that this may take: it shares
#: an interpreter with the loop of the run, and a report of 10,000 videos takes it a second.
TELL_S = 5.0
MOST_BUSY = 0.05

#: A page is begun when a run has lasted so long: many end before.
FIRST_S = 1.0

#: How long the end of a run waits for the last page, and for its last pictures.
LAST_WAIT_S = 75.0
STOP_WAIT_S = 10.0

#: The module that keeps the page, in a process of its own.
_KEEPER = "orchestrator.report.keeper"


class PageWriter(Background):
    """Has `path` written while it is entered, and a last time by `write_last`.

    If it is left without `write_last`, the page says that the run ended without a word.

    Args:
        tell: how the run stands, by its newest snapshot; called in the thread.
        infos: what the probe said of each video, by id.
    """

    def __init__(
        self,
        path: Path,
        tell: Callable[[Snapshot], PageState],
        infos: Mapping[str, VideoInfo],
    ) -> None:
        super().__init__("page", every_s=TELL_S, leave_s=0.0, first_s=FIRST_S, most_busy=MOST_BUSY)
        self._path = path
        self._tell = tell
        self._infos = dict(infos)
        self._told: set[str] = set()
        self._newest: Snapshot | None = None
        self._sent: Snapshot | None = None
        self._keeper: subprocess.Popen[bytes] | None = None
        self._messages: IO[bytes] = io.BytesIO()  # the keeper's stderr
        self._sending = threading.Lock()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)
        self._hang_up()

    def update(self, snapshot: Snapshot) -> None:
        """Leave the newest snapshot. Takes no time."""
        self._newest = snapshot

    def write_last(self, state: PageState, wait_s: float = LAST_WAIT_S) -> bool:
        """Have the last page written, as well as that can be; whether it was."""
        if not self.stop(STOP_WAIT_S):  # it hangs; so would we
            return False
        deadline = time.monotonic() + wait_s
        # The pipe may be full: written by a thread, the wait has an end.
        sender = threading.Thread(target=self._send, args=(state,), daemon=True)
        sender.start()
        sender.join(wait_s)
        if sender.is_alive() or self._keeper is None:
            return False
        try:
            return self._keeper.wait(max(0.0, deadline - time.monotonic())) == 0
        except subprocess.TimeoutExpired:
            return False
        except KeyboardInterrupt:  # enough: only the last pictures are missing
            self._keeper.kill()
            return self._path.exists()

    def step(self) -> None:
        snapshot = self._newest
        if snapshot is not None and snapshot is not self._sent:
            self._sent = snapshot
            self._send(self._tell(snapshot))

    def _send(self, state: PageState) -> None:
        with self._sending:
            try:
                self._send_now(state)
            except OSError as error:  # it is gone: the next one is told all again
                structlog.get_logger("vrmatte").warning("page_not_told", why=str(error))

    def _send_now(self, state: PageState) -> None:
        keeper = self._keeper
        if keeper is not None and (status := keeper.poll()) is not None:
            command, _ = own_module(_KEEPER, str(self._path))
            failure = ChildFailure.of(command, status, self._messages)
            why = failure.sentence("the process that writes the page failed")
            structlog.get_logger("vrmatte").warning("page_not_told", why=why)
            _close(keeper)
            self._messages.close()
            keeper = None
        if keeper is None:
            self._messages = open(os.memfd_create("page"), "w+b")  # noqa: PTH123, SIM115
            keeper = self._keeper = _keeper(self._path, self._messages)
            self._told.clear()
        shown = {video.id for video in state.report.videos if video.outputs} - self._told
        assert keeper.stdin is not None
        send_state(keeper.stdin, state, {id: self._infos[id] for id in shown if id in self._infos})
        self._told |= shown

    def _hang_up(self) -> None:
        """End the line; the keeper writes its last word, and goes."""
        keeper = self._keeper
        if keeper is None:
            return
        if not self._sending.acquire(timeout=STOP_WAIT_S):
            keeper.kill()  # somebody waits to write to it, and closing the line would wait too
            self._sending.acquire()
        _close(keeper)
        self._messages.close()
        self._sending.release()
        try:
            keeper.wait(STOP_WAIT_S)
        except subprocess.TimeoutExpired:
            keeper.kill()
            keeper.wait()


def _close(keeper: subprocess.Popen[bytes]) -> None:
    assert keeper.stdin is not None
    with suppress(OSError):  # what was still to be sent cannot be
        keeper.stdin.close()


def _keeper(path: Path, messages: IO[bytes]) -> subprocess.Popen[bytes]:
    """Not tied to us: it has a last page to write, and ends when its line does."""
    command, environment = own_module(_KEEPER, str(path))
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=messages,
        env=environment,
        start_new_session=True,
    )
