"""Frames a second, of a run and of each of its workers, from snapshots."""

from __future__ import annotations

from collections import deque

from orchestrator.fleet.snapshot import Snapshot
from workers.messages import TaskId

#: Rates are taken over this many seconds: long enough to even out segments of different cost.
RATE_WINDOW_S = 30.0


class Pace:
    """Frames a second over the last `RATE_WINDOW_S`.

    What was done before the first snapshot is not counted.
    """

    def __init__(self) -> None:
        self._in_hand: dict[tuple[int, TaskId, int], tuple[int, int]] = {}
        self._finished: dict[int, int] = {}  # worker -> frames of tasks that left its hands
        self._history: deque[tuple[float, int, dict[int, int]]] = deque()

    def add(self, snapshot: Snapshot) -> None:
        in_hand = {
            (worker.id, running.task, running.attempt): (running.frames_done, running.num_frames)
            for worker in snapshot.workers
            for running in worker.tasks
        }
        for key, (_, num_frames) in self._in_hand.items():
            if key not in in_hand:
                self._finished[key[0]] = self._finished.get(key[0], 0) + num_frames
        self._in_hand = in_hand
        frames = dict(self._finished)
        for (worker, _, _), (done, _) in in_hand.items():
            frames[worker] = frames.get(worker, 0) + done
        total = sum(video.frames_done for video in snapshot.videos)
        self._history.append((snapshot.now, total, frames))
        while len(self._history) > 2 and self._history[1][0] < snapshot.now - RATE_WINDOW_S:
            self._history.popleft()

    def run_fps(self) -> float:
        (begin, first, _), (end, last, _) = self._history[0], self._history[-1]
        return max(0.0, last - first) / (end - begin) if end > begin else 0.0

    def worker_fps(self, worker: int) -> float:
        (begin, _, first), (end, _, last) = self._history[0], self._history[-1]
        frames = last.get(worker, 0) - first.get(worker, 0)
        return max(0, frames) / (end - begin) if end > begin else 0.0
