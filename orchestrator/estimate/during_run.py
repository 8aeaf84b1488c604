"""Estimate the remaining time of a run from its snapshots alone. Pure: the clock is theirs.

What is learned: the seconds of a lane that a frame of each kind of video costs, and the beginning
of a segment (its warm-up, its decoder) before the first frame; how long joining and the start of a
worker take; which workers are faster; how much faster a lane goes when others are idle. With that
the rest of the run is played through (`orchestrator/estimate/makespan.py`), because at its end
lanes stand idle, which no rate of the past tells.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from orchestrator.estimate.cost_class import Kind, frame_work, joining_seconds, kind_of
from orchestrator.estimate.makespan import VideoAhead, WorkerAhead, seconds_left
from orchestrator.fleet.jobs import VideoJob
from orchestrator.fleet.snapshot import RunningTask, Snapshot, VideoState, WorkerState
from workers.messages import TaskId

#: What was seen longer ago than this counts for little, or a quarter of the run, if that is more.
MEMORY_S = 60.0

#: How much faster a lane goes alone, until it has been seen; measured in
#: docs/benchmarks/007-time-to-go.md.
GAIN = 1.25

#: Frames of a segment's beginning, as its cost, until one has been seen: as most models warm up, or
#: for a video's first segment two chunks.
WARMUP_FRAMES, FIRST_FRAMES = 24, 8

#: From a segment's last frame until it is closed and checked, until one has been seen.
TAIL_S = 1.0

#: So many seconds of lanes must have been seen before anything is said.
LEAST_S = 3.0

#: Seconds of lanes that weigh as much as the guess that they replace.
_GUESS_S = 10.0


class _Ratio:
    """A sum over another one; both fade as more is added."""

    def __init__(self, over: float = 0.0, under: float = 0.0) -> None:
        self.over, self.under = over, under

    def add(self, over: float, under: float, keep: float) -> None:
        self.over, self.under = self.over * keep + over, self.under * keep + under

    @property
    def value(self) -> float | None:
        return self.over / self.under if self.under > 0 else None


@dataclass(slots=True)
class _InHand:
    """A task as it was last seen.

    Attributes:
        since: when it was seen first.
        first: when its first frame was there.
        fresh: its process had made no frame before.
        own: seconds of a lane : frames, after the first ones.
        lump: how many came last.
        unpaid: seconds since they came; they are counted with the next ones.
    """

    kind: Kind
    since: float
    num_frames: int
    fresh: bool
    own: _Ratio
    frames: int = 0
    first: float | None = None
    lump: int = 0
    unpaid: float = 0.0


_Key = tuple[int, int, TaskId, int]  # worker, life, task, attempt


class TimeToGo:
    """See the module. Not thread-safe.

    Args:
        jobs: the plan, in the order of the snapshots' videos; it may grow.
    """

    def __init__(self, jobs: Sequence[VideoJob]) -> None:
        self._jobs = jobs
        self._place: dict[str, int] = {}
        self._kinds: list[Kind] = []
        self._work: dict[Kind, float] = {}
        self._began: float | None = None
        self._last: Snapshot | None = None
        self._hand: dict[_Key, _InHand] = {}
        self._cost: dict[Kind, _Ratio] = {}  # seconds of a lane : frames
        self._head: dict[tuple[Kind, bool], _Ratio] = {}  # seconds of a lane : segments
        self._tail: dict[Kind, _Ratio] = {}  # likewise, after the last frame
        self._speed: dict[int, _Ratio] = {}  # work done : seconds of the worker's lanes
        self._gain = _Ratio(GAIN * _GUESS_S, _GUESS_S)  # work done : seconds of lanes
        self._joining = _Ratio()  # seconds : seconds as guessed
        self._start_up = _Ratio()  # seconds : workers
        self._starting: dict[tuple[int, int], float] = {}
        self._warm: set[tuple[int, int]] = set()  # lives that have made a frame
        self._room: dict[int, int] = {}
        self._said: tuple[float, float] | None = None  # when, how much was to go

    def add(self, snapshot: Snapshot) -> None:
        """Learn from the next snapshot; quick."""
        for place in range(len(self._kinds), len(snapshot.videos)):
            job = self._jobs[place]
            self._place[job.id] = place
            self._kinds.append(kind_of(job))
            self._work[self._kinds[-1]] = frame_work(job)
        now = snapshot.now
        if self._began is None:
            self._began = now
        if self._last is not None and now >= self._last.now:
            self._learn(self._last, snapshot)
        self._note_workers(snapshot)
        old = self._hand
        self._hand = {}
        for key, running in _tasks(snapshot):
            kind = self._kinds[self._place[running.task.video]]
            fresh = key[:2] not in self._warm
            task = old.get(key) or _InHand(kind, now, running.num_frames, fresh, _Ratio())
            if task.first is None and running.frames_done:
                task.first = now
                self._warm.add(key[:2])
            task.lump = (running.frames_done - task.frames) or task.lump
            task.frames = running.frames_done
            self._hand[key] = task
        self._last = snapshot

    def seconds(self) -> float | None:
        """About how long until everything is done; None while nothing can be said.

        It goes down as time goes by, and is drawn to what was learned since.
        """
        if self._last is None or self._began is None or self._last.stopping:
            return None
        if self._last.to_come:  # nobody knows how much that will be
            return None
        found = self._play()
        if found is None:
            return None
        now = self._last.now
        if self._said is not None:
            then, told = self._said
            expected = max(0.0, told - (now - then))
            patience_s = min(15.0, max(1.0, found / 8))
            found = expected + (found - expected) * (1 - math.exp((then - now) / patience_s))
        self._said = (now, found)
        return found

    # -- what is learned -------------------------------------------------------------------

    def _learn(self, before: Snapshot, after: Snapshot) -> None:
        passed = after.now - before.now
        assert self._began is not None
        memory_s = max(MEMORY_S, (after.now - self._began) / 4)
        still = dict(_tasks(after))
        lanes = sum(self._lanes(worker) for worker in before.workers if _works(worker))
        busy = sum(key[2].segment is not None for key in self._hand)
        idle_gain = lanes / busy if busy else 1.0
        for key, task in self._hand.items():
            if key[2].segment is None:
                if key not in still:
                    self._note_joined(key, task, before, after)
                continue
            if key in still:
                frames = still[key].frames_done - task.frames
            elif _grew(self._place[key[2].video], before, after):
                frames = task.num_frames - task.frames
            else:  # it was lost
                frames = 0
            if task.first is not None:
                task.unpaid += passed
                if key not in still:
                    self._note_end(task, frames, idle_gain)
                if frames and task.unpaid > 0:
                    keep = math.exp(-task.unpaid / memory_s)
                    task.own.add(task.unpaid * self._boost(idle_gain), frames, keep)
                    self._note_frames(key[0], task.kind, task.unpaid, frames, idle_gain, keep)
                    task.unpaid = 0.0
            elif frames and key in still:
                # A new process has more to do before its first frame than others will have.
                if not task.fresh:
                    head = self._head.setdefault((task.kind, self._later(key[2])), _Ratio())
                    head.add((after.now - task.since) * self._boost(idle_gain), 1, 0.8)
            elif frames:  # done before anything was heard of it
                spent = after.now - task.since
                self._note_frames(key[0], task.kind, spent, frames, idle_gain, 1.0)

    def _note_end(self, task: _InHand, frames: int, idle_gain: float) -> None:
        """Set apart what a segment took beyond its last frames: to be closed and checked."""
        usual = task.own.value or self._frame_s(task.kind)
        rest = task.unpaid - frames * usual / self._boost(idle_gain)
        if frames and rest > 0 and usual:
            tail = self._tail.setdefault(task.kind, _Ratio())
            tail.add(rest * self._boost(idle_gain), 1, 0.8)
            task.unpaid -= rest

    def _note_frames(
        self, worker: int, kind: Kind, spent: float, frames: int, idle_gain: float, keep: float
    ) -> None:
        cost = self._cost.setdefault(kind, _Ratio())
        known = cost.value if cost.over >= LEAST_S else None
        if known is not None and idle_gain >= 1.5:
            self._gain.add(frames * known / self._speed_of(worker), spent, keep)
            return
        spent *= self._boost(idle_gain)
        cost.add(spent, frames, keep)
        if known is not None:
            speed = self._speed.setdefault(worker, _Ratio(_GUESS_S, _GUESS_S))
            speed.add(frames * known, spent, keep)

    def _note_joined(self, key: _Key, task: _InHand, before: Snapshot, after: Snapshot) -> None:
        place = self._place[key[2].video]
        if after.videos[place].status == "done" and before.videos[place].status != "done":
            self._joining.add(after.now - task.since, joining_seconds(self._jobs[place]), 0.8)

    def _note_workers(self, snapshot: Snapshot) -> None:
        for worker in snapshot.workers:
            life = (worker.id, worker.life)
            if worker.status == "starting":
                self._starting.setdefault(life, snapshot.now)
            elif worker.status == "ready":
                if life in self._starting:
                    self._start_up.add(snapshot.now - self._starting.pop(life), 1, 0.8)
                held = sum(task.task.segment is not None for task in worker.tasks)
                if held and held != self._lanes(worker) and _some_wait(snapshot):
                    # It would have taken more, had it room: memory may not suffice for all lanes.
                    self._room[worker.id] = held

    # -- what is foretold ------------------------------------------------------------------

    def _play(self) -> float | None:
        snapshot = self._last
        assert snapshot is not None
        known = [cost for cost in self._cost.values() if cost.value is not None]
        workers = [w for w in snapshot.workers if _works(w) or w.status == "starting"]
        if all(video.status in ("done", "failed") for video in snapshot.videos):
            return 0.0
        if not workers or sum(cost.over for cost in known) < LEAST_S:
            return None
        held = _held(snapshot)
        videos = [
            self._ahead(place, video, held.get(video.id, []), len(workers))
            for place, video in enumerate(snapshot.videos)
        ]
        lanes = sum(map(self._lanes, workers))
        crew = [self._worker_ahead(worker, snapshot.now, lanes) for worker in workers]
        for (_, _, task, _), hand in self._hand.items():
            if task.segment is None:
                video = videos[self._place[task.video]]
                video.joining_s = max(0.0, video.joining_s - (snapshot.now - hand.since))
        return seconds_left(crew, videos, self._boost(math.inf))

    def _ahead(
        self, place: int, video: VideoState, held: Sequence[RunningTask], workers: int
    ) -> VideoAhead:
        ahead = VideoAhead(place % workers, [], len(held))
        if video.status in ("done", "failed"):
            return ahead
        job, kind = self._jobs[place], self._kinds[place]
        frame_s = self._frame_s(kind)
        left = video.num_segments - video.segments_done - len(held)
        ahead.joining_s = joining_seconds(job) * (self._joining.value or 1.0)
        if left:
            in_hand = sum(task.num_frames for task in held)
            done = video.frames_done - sum(task.frames_done for task in held)
            frames = max(0, video.num_frames - done - in_hand)
            # Which of its segments wait is not told; that the first ones go first is.
            each = frames / left * frame_s + self._tail_s(kind)
            first = self._head_s(kind, later=False) if left == video.num_segments else None
            later = self._head_s(kind, later=True)
            ahead.waiting = [each + later] * left
            if first is not None:
                ahead.waiting[0] = each + first
        return ahead

    def _worker_ahead(self, worker: WorkerState, now: float, lanes: int) -> WorkerAhead:
        ahead = WorkerAhead(max(self._lanes(worker), 1), self._speed_of(worker.id))
        busy = sum(key[2].segment is not None for key in self._hand)
        boost = self._boost(lanes / busy) if busy else 1.0
        if worker.status == "starting":
            begun = self._starting.get((worker.id, worker.life), now)
            ahead.ready_s = max(1.0, (self._start_up.value or 10.0) - (now - begun))
        for running in worker.tasks:
            if running.task.segment is None:
                continue
            task = self._hand[(worker.id, worker.life, running.task, running.attempt)]
            # What it takes itself tells most: its pictures, its worker, who runs beside it.
            guess = _GUESS_S / max(self._frame_s(task.kind), 1e-9)
            own_s = (task.own.over * ahead.speed + _GUESS_S) / (task.own.under + guess)
            left = running.num_frames - running.frames_done
            work = left * own_s + self._tail_s(task.kind)
            # Frames come in lumps: some of the next one is made already.
            coming_s = min(left, task.lump) * own_s if left else work
            work -= min(task.unpaid * ahead.speed * boost, coming_s)
            if task.first is None:
                head_s = self._head_s(task.kind, self._later(running.task))
                work += max(0.0, head_s - (now - task.since))
            ahead.in_hand.append((self._place[running.task.video], max(work, 1e-3)))
        return ahead

    def _frame_s(self, kind: Kind) -> float:
        """Seconds of a lane for a frame; of a kind not seen yet, by its size."""
        cost = self._cost.get(kind)
        if cost is not None and cost.value:
            return cost.value
        seen = [(cost, self._work[k]) for k, cost in self._cost.items() if cost.value]
        total = sum(cost.under * work for cost, work in seen)
        return self._work[kind] * sum(cost.over for cost, _ in seen) / total if total else 0.0

    def _head_s(self, kind: Kind, later: bool) -> float:
        head = self._head.get((kind, later))
        if head is not None and head.value is not None:
            return head.value
        return self._frame_s(kind) * (WARMUP_FRAMES if later else FIRST_FRAMES)

    def _tail_s(self, kind: Kind) -> float:
        tail = self._tail.get(kind)
        return TAIL_S if tail is None or tail.value is None else tail.value

    def _speed_of(self, worker: int) -> float:
        """1 for a worker like the others."""
        speed = self._speed.get(worker)
        return min(4.0, max(0.25, (speed.value if speed else None) or 1.0))

    def _boost(self, idle_gain: float) -> float:
        """How much faster than with all lanes busy a lane goes now."""
        return max(1.0, min(self._gain.value or GAIN, idle_gain))

    def _lanes(self, worker: WorkerState) -> int:
        return min(worker.lanes, self._room.get(worker.id, worker.lanes))

    def _later(self, task: TaskId) -> bool:
        """Whether something of the video comes before this segment, to warm up with."""
        segments = self._jobs[self._place[task.video]].segments
        return bool(task.segment) or segments[0][0] > 0


def _works(worker: WorkerState) -> bool:
    return worker.status in ("ready", "stopping")


def _grew(place: int, before: Snapshot, after: Snapshot) -> bool:
    return after.videos[place].segments_done > before.videos[place].segments_done


def _held(snapshot: Snapshot) -> dict[str, list[RunningTask]]:
    """The segments in hand of each video that has some."""
    held: dict[str, list[RunningTask]] = {}
    for _, running in _tasks(snapshot):
        if running.task.segment is not None:
            held.setdefault(running.task.video, []).append(running)
    return held


def _some_wait(snapshot: Snapshot) -> bool:
    """Whether there are segments that nobody has in hand."""
    left = sum(
        video.num_segments - video.segments_done
        for video in snapshot.videos
        if video.status not in ("done", "failed")
    )
    return left > sum(map(len, _held(snapshot).values()))


def _tasks(snapshot: Snapshot) -> Iterator[tuple[_Key, RunningTask]]:
    for worker in snapshot.workers:
        for running in worker.tasks:
            yield (worker.id, worker.life, running.task, running.attempt), running
