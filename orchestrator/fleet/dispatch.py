"""Dispatch: which worker gets which waiting task, and when another worker is started.

Suspects, and tasks on their last chance, get a worker to themselves, after all others. Knows no
event: the fleet tells where it is worth a look.
"""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.fleet.backlog import Backlog
from orchestrator.fleet.events_actions import Action, Assign, Spawn
from orchestrator.fleet.jobs import VideoJob
from orchestrator.fleet.video import Task, Video
from orchestrator.fleet.worker import Worker


class BegunVideos:
    """The videos that may hold scratch: those that have begun and are not settled.

    Args:
        scratch_bytes: what they may hold together; None: as much as they like.
    """

    def __init__(self, scratch_bytes: int | None) -> None:
        self._limit = scratch_bytes
        self._held: dict[str, int] = {}
        self._held_bytes = 0

    def may_begin(self, job: VideoJob) -> bool:
        """Whether it may hold scratch beside those that do; one always may."""
        if self._limit is None or job.id in self._held or not self._held:
            return True
        return self._held_bytes + job.scratch_bytes <= self._limit

    def begin(self, job: VideoJob) -> None:
        if job.id not in self._held:
            self._held[job.id] = job.scratch_bytes
            self._held_bytes += job.scratch_bytes

    def settle(self, job: VideoJob) -> bool:
        """It holds none any more; whether another may begin for that."""
        freed = self._held.pop(job.id, None)
        self._held_bytes -= freed or 0
        return freed is not None and self._limit is not None


class Dispatch:
    """Gives tasks to ready workers, and births to those that are down.

    Args:
        workers: by their numbers; the fleet's own, to which more may be added.
        backlog: what waits.
        begun: what holds scratch.
    """

    def __init__(self, workers: Mapping[int, Worker], backlog: Backlog, begun: BegunVideos) -> None:
        self._workers = workers
        self.backlog = backlog
        self.begun = begun
        # Workers that may find something to do. One that found nothing need not look again until
        # it has given something back, or something is new for all.
        self._seekers: set[int] = set()
        self.has_news = False

    def look_again(self, worker: Worker) -> None:
        """It has given something back, by which it may find something to do."""
        self._seekers.add(worker.spec.id)

    def news(self) -> None:
        """Something has changed by which any worker may find something to do."""
        self._seekers.update(self._workers)
        self.has_news = True

    def settled(self, video: Video) -> None:
        if self.begun.settle(video.job):
            self.news()

    def decide(self, now: float) -> list[Action]:
        """All that can be begun now."""
        actions: list[Action] = []
        anew, self.has_news = self.has_news, False
        self._assign_all(actions, now)
        if self.backlog.has_new_joining() and not anew:
            self.news()  # the worker that made its last segment has its hands full
            self._assign_all(actions, now)
        if self.has_news or anew:
            self.has_news = False
            self._give_births(actions, now)
        return actions

    def next_for(self, worker: Worker) -> Task | None:
        """What this worker had best begin now, if there is anything that it may."""
        if worker.status != "ready" or any(task.runs_alone for task in worker.running.values()):
            return None
        full = worker.segments_in_hand >= worker.lanes
        for video in self.backlog.in_order(worker.spec.id, joining_only=full):
            # Whether there is room is the same for all tasks of a video that wait together.
            if video.suspect or not worker.has_room_for(video.pending[0]):
                continue
            if self.begun.may_begin(video.job):
                for task in video.pending:
                    if not task.runs_alone and not self._better_elsewhere(task, worker):
                        return task
        if worker.running or worker.rests_until is not None:
            return None
        return self._lonely_for(worker)

    def _lonely_for(self, worker: Worker) -> Task | None:
        """The best of the tasks that get a worker to themselves."""
        lonely: list[Task] = []
        # Videos that failed least first: most of them only ran beside one that is to blame.
        worst: dict[Video, int] = {}
        for video in self.backlog.in_order(worker.spec.id, joining_only=False):
            if self.begun.may_begin(video.job) and (tasks := list(video.lonely())):
                lonely += tasks
                worst[video] = max(len(task.failures) for task in tasks)
        lonely.sort(key=lambda task: (worst[task.video], -len(task.failures)))
        return next((task for task in lonely if not self._better_elsewhere(task, worker)), None)

    def _better_elsewhere(self, task: Task, worker: Worker) -> bool:
        """It failed in this worker, and there is another in which it has not."""
        return worker.spec.id in task.tried_on and any(
            other.status in ("starting", "ready") and other.spec.id not in task.tried_on
            for other in self._workers.values()
        )

    def _assign_all(self, actions: list[Action], now: float) -> None:
        """One task for each ready worker, then another, while there is any; who has least first."""
        given = True
        while given:
            given = False
            seekers = [self._workers[number] for number in sorted(self._seekers)]
            for worker in sorted(seekers, key=lambda worker: len(worker.running)):
                task = self.next_for(worker)
                if task is None:
                    self._seekers.discard(worker.spec.id)
                    continue
                given = True
                command = task.video.start(task, now)
                self.begun.begin(task.video.job)
                worker.take(task)
                actions.append(Assign(worker.spec.id, command))

    def _give_births(self, actions: list[Action], now: float) -> None:
        """As many as more tasks wait than workers are about to take one."""
        down = [worker for worker in self._workers.values() if worker.status == "down"]
        takers = sum(worker.may_take_more for worker in self._workers.values()) if down else 0
        for worker in down:
            if self.backlog.tasks > takers:
                worker.be_born(now)
                takers += 1
                actions.append(Spawn(worker.spec.id, worker.life))
