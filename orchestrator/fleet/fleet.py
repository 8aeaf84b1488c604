"""`Fleet`: decides what each worker does next. Knows no torch, clock, process or file.

Knows no torch, no clock, no process, no file, and nothing of what a segment's frames are made into.
`worker_life.py` has the life of a worker as a table.

When a process dies without a word, or hangs, each of its tasks may have been the cause. Each is
charged an attempt, and its video stays *suspect* until one of its tasks is done. Suspects run alone
in a worker, after all others, so that a file that kills workers costs only itself in the end. A
worker that dies twice within minutes is drained, unless a task that also ended another worker
explains it; its work goes to the others. Where workers may join, the end of the last one is not yet
the end of the run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import assert_never

from orchestrator.fleet.backlog import Backlog
from orchestrator.fleet.dispatch import BegunVideos, Dispatch
from orchestrator.fleet.events_actions import (
    DISK_KINDS,
    FATAL_KINDS,
    HOPELESS_KINDS,
    KILLS,
    WAITING_KINDS,
    Action,
    AskToStop,
    Event,
    Kill,
    Record,
    Rules,
    StopRequested,
    Tick,
    VideosPlanned,
    WorkerExited,
    WorkerJoined,
    WorkerSpec,
)
from orchestrator.fleet.jobs import VideoJob
from orchestrator.fleet.journal_entries import Entry, TaskLost, VideoDone, VideoSetAside, WorkerLost
from orchestrator.fleet.snapshot import Snapshot
from orchestrator.fleet.video import Task, Video, videos_of
from orchestrator.fleet.worker import Worker
from pipeline.contract import OutputFile, SegmentResult
from pipeline.errors import ErrorRecord
from workers.messages import (
    SegmentDone,
    TaskFailed,
    TaskId,
    TaskProgress,
    VideoFinished,
    WorkerFailed,
    WorkerReady,
)


class Fleet:
    """The state of a run.

    Args:
        jobs: the videos, in the order in which they are wanted; ids differ.
        workers: at least one; more may join later.
        committed: segments that an earlier run left; of published videos, to tell of them.
        published: deliverables of the videos that an earlier run finished.
        to_come: files of which it is not known yet whether they are videos: `VideosPlanned` tells.
    """

    def __init__(
        self,
        jobs: Sequence[VideoJob],
        workers: Sequence[WorkerSpec],
        rules: Rules,
        committed: Mapping[TaskId, SegmentResult] | None = None,
        published: Mapping[str, tuple[OutputFile, ...]] | None = None,
        to_come: int = 0,
    ) -> None:
        if not workers:
            raise ValueError("a fleet needs at least one worker")
        self._rules = rules
        self._workers = {spec.id: Worker(spec) for spec in workers}
        backlog = Backlog()
        self._homes = [spec.id for spec in workers]
        self._videos: dict[str, Video] = {}
        self._unsettled = 0
        self._to_come = to_come
        self._given_up: ErrorRecord | None = None
        self._dispatch = Dispatch(self._workers, backlog, BegunVideos(rules.scratch_bytes))
        self._stopping = False
        self._stop_reason: ErrorRecord | None = None
        # No worker is left: until when one may join, and how the last one was lost.
        self._alone: tuple[float, ErrorRecord] | None = None
        self._now = 0.0
        self._actions: list[Action] = []
        self._add(VideosPlanned(jobs, to_come, committed or {}, published or {}))

    def handle(self, event: Event, now: float) -> list[Action]:
        """Take notice of `event` at time `now` (seconds, never going back); what is to be done."""
        self._now = now
        self._actions = []
        match event:
            case WorkerReady():
                self._on_ready(event)
            case TaskProgress():
                self._on_progress(event)
            case SegmentDone():
                self._on_segment_done(event)
            case VideoFinished():
                self._on_video_finished(event)
            case TaskFailed():
                self._on_task_failed(event)
            case WorkerFailed():
                self._on_worker_failed(event)
            case WorkerExited():
                self._on_exit(event)
            case WorkerJoined(spec):
                self._on_joined(spec)
            case VideosPlanned():
                self._on_planned(event)
            case Tick():
                self._on_tick()
            case StopRequested():
                self._on_stop(event.reason)
            case _:
                assert_never(event)
        if isinstance(event, TaskProgress):
            return self._actions
        # What else may have changed is worth a look by everybody; these two happen all the time.
        if not isinstance(event, SegmentDone | VideoFinished):
            self._dispatch.news()
        self._go_on()
        assert 0 <= self._unsettled <= len(self._videos)
        return self._actions

    @property
    def finished(self) -> bool:
        """Nothing is running, and nothing more will be started."""
        return (self._stopping or not self._has_work) and not any(
            worker.alive for worker in self._workers.values()
        )

    @property
    def _has_work(self) -> bool:
        """Now, or maybe later."""
        return bool(self._unsettled or self._to_come)

    @property
    def stopping(self) -> bool:
        return self._stopping

    def next_deadline(self) -> float | None:
        """When the next Tick is due, on the clock of `handle`; None if nothing is waited for."""
        whens = [when for w in self._workers.values() for when, _ in w.deadlines(self._rules)]
        whens += [w.rests_until for w in self._workers.values() if w.rests_until is not None]
        if self._alone is not None:
            whens.append(self._alone[0])
        return min(whens, default=None)

    def snapshot(self) -> Snapshot:
        return Snapshot(
            self._now,
            tuple(video.state() for video in self._videos.values()),
            tuple(worker.state() for worker in self._workers.values()),
            self._stopping,
            self._stop_reason,
            None if self._alone is None else self._rules.join_s,
            self._to_come,
        )

    # -- what is to be made ----------------------------------------------------------------

    def _on_planned(self, event: VideosPlanned) -> None:
        self._add(event)
        lost = all(worker.status == "retired" for worker in self._workers.values())
        if lost and self._given_up is not None:
            self._set_all_aside(self._given_up)

    def _add(self, event: VideosPlanned) -> None:
        videos = videos_of(
            event.jobs,
            self._homes,
            self._dispatch.backlog.note,
            event.committed,
            event.published,
            first_turn=len(self._videos),
        )
        if not self._videos.keys().isdisjoint(videos):
            raise ValueError("two videos have the same id")
        self._videos |= videos
        self._to_come = event.to_come
        for video in videos.values():
            if not video.settled:
                self._unsettled += 1
                if video.begun:
                    self._dispatch.begun.begin(video.job)

    # -- what workers say ------------------------------------------------------------------

    def _living(self, worker: int, life: int) -> Worker | None:
        found = self._workers[worker]
        return found if found.alive and found.life == life else None

    def _in_hand(
        self, report: TaskProgress | SegmentDone | VideoFinished | TaskFailed
    ) -> tuple[Worker, Task] | None:
        """The worker and the task, unless they are a dead life's words or an old attempt's."""
        worker = self._living(report.worker, report.life)
        task = worker.running.get(report.task) if worker else None
        if worker is None or task is None or task.attempt != report.attempt:
            return None
        return worker, task

    def _on_ready(self, event: WorkerReady) -> None:
        worker = self._living(event.worker, event.life)
        if worker and worker.status == "starting":
            worker.enter("ready", self._now)
            worker.device = event.device

    def _on_progress(self, event: TaskProgress) -> None:
        if (found := self._in_hand(event)) and event.frames_done > found[1].frames_done:
            found[1].video.progress(found[1], event.frames_done, self._now)

    def _on_segment_done(self, event: SegmentDone) -> None:
        if found := self._in_hand(event):
            worker, task = found
            worker.complete(task)
            video = task.video
            self._dispatch.look_again(worker)
            if video.suspect:  # its tasks may run beside others again
                self._dispatch.news()
            self._record(video.commit(task, event.result, event.seconds))

    def _on_video_finished(self, event: VideoFinished) -> None:
        if found := self._in_hand(event):
            worker, task = found
            worker.complete(task)
            video = task.video
            self._dispatch.look_again(worker)
            video.publish(event.outputs, seconds=event.seconds)
            self._settle(video)
            self._record(VideoDone(video.job.id, video.settings, event.outputs))

    def _on_task_failed(self, event: TaskFailed) -> None:
        if not (found := self._in_hand(event)):
            return
        worker, task = found
        if event.error.kind in DISK_KINDS:
            self._release(worker, task, event.error)
            self._on_disk(worker, event.error)
        elif damaged := set(event.damaged) & set(range(len(task.video.job.segments))):
            self._remake(worker, task, damaged, event.error)
        elif event.error.kind in WAITING_KINDS and task.waits < self._rules.waits:
            task.waits += 1
            self._release(worker, task, event.error)
            worker.hold_back(self._now + self._rules.wait_s)
        else:
            self._charge(worker, task, event.error)
            if event.error.kind in FATAL_KINDS:
                worker.doom(event.error, self._now, blamed=[task])

    def _on_worker_failed(self, event: WorkerFailed) -> None:
        if worker := self._living(event.worker, event.life):
            hopeless = worker.status == "starting" and event.error.kind in HOPELESS_KINDS
            worker.doom(event.error, self._now, hopeless=hopeless)
            if event.error.kind in DISK_KINDS:
                self._on_disk(worker, event.error)

    def _on_disk(self, worker: Worker, error: ErrorRecord) -> None:
        """The run stops; where it is a local folder and others go on, this worker alone does."""
        others = (w for w in self._workers.values() if w is not worker)
        if error.kind == "disk" or all(w.is_given_up or w.status == "retired" for w in others):
            self._on_stop(error)
            return
        if worker.status == "ready":
            worker.enter("stopping", self._now)
            self._actions.append(AskToStop(worker.spec.id))
        worker.doom(error, self._now, hopeless=True)

    # -- what happens to processes ---------------------------------------------------------

    def _on_joined(self, spec: WorkerSpec) -> None:
        if spec.id in self._workers:
            raise ValueError(f"there is a worker {spec.id} already")
        self._workers[spec.id] = Worker(spec)
        self._alone = None

    def _on_exit(self, event: WorkerExited) -> None:
        worker = self._living(event.worker, event.life)
        if worker is None:
            return
        asked = worker.status == "stopping" or (self._stopping and worker.status == "ending")
        lost = list(worker.running.values())
        if asked or worker.cause_known:
            for task in lost:
                if task.id in worker.stalled and not asked:
                    task.video.suspect = True
                    self._charge(worker, task, worker.stalled[task.id])
                else:
                    self._release(worker, task)
        else:
            error = ErrorRecord(
                "lost", f"the worker's process ended: {event.how}", "its log may say more"
            )
            worker.doom(error, self._now, blamed=lost)
            for task in lost:
                task.video.suspect = True
                self._charge(worker, task, error)
        if asked and (self._stopping or not worker.is_given_up):
            worker.enter("down", self._now)
        else:
            self._bury(worker)

    def _bury(self, worker: Worker) -> None:
        others = any(w.status != "retired" for w in self._workers.values() if w is not worker)
        worker.note_fault(self._now)
        retired = worker.is_to_retire(self._now, self._rules, last=not others)
        worker.enter("retired" if retired else "down", self._now)
        assert worker.error is not None
        self._record(WorkerLost(worker.spec.id, worker.life, worker.error, retired))
        if retired and not others:
            self._be_left_alone(worker.error)

    def _be_left_alone(self, last: ErrorRecord) -> None:
        """The last worker is retired: wait for one to join, where any may, or give up."""
        if last.kind == "local-folder":
            self._on_stop(last)
            return
        # What is wrong with a setting, a new worker would meet too.
        waits = self._rules.join_s and self._has_work and not self._stopping
        if waits and last.kind != "settings":
            self._alone = (self._now + self._rules.join_s, last)
        else:
            self._give_up(f"no worker is left: {last.message}", last)

    def _give_up(self, message: str, last: ErrorRecord) -> None:
        self._given_up = ErrorRecord(last.kind, message, last.advice, last.detail)
        self._set_all_aside(self._given_up)

    def _set_all_aside(self, error: ErrorRecord) -> None:
        for video in self._videos.values():
            if not video.settled:
                self._set_aside(video, error)

    def _on_tick(self) -> None:
        if self._alone is not None and self._alone[0] <= self._now:
            last, self._alone = self._alone[1], None
            waited = f"none joined for {self._rules.join_s:g} s"
            self._give_up(f"no worker is left, and {waited}: {last.message}", last)
        for worker in self._workers.values():
            if worker.rests_until is not None and worker.rests_until <= self._now:
                worker.rests_until = None
            if overdue := worker.overdue(self._now, self._rules):
                if worker.kills >= KILLS:
                    self._abandon(worker)
                else:
                    worker.blame(overdue, self._now, self._rules)
                    why = str(worker.error) if worker.cause_known else "it did not stop"
                    self._kill(worker, why)

    def _on_stop(self, reason: ErrorRecord | None) -> None:
        if reason is not None:
            self._stop_reason = self._stop_reason or reason
        elif self._stopping:
            for worker in self._workers.values():
                if worker.alive:
                    self._kill(worker, "the run was told twice to stop")
        self._stopping = True

    def _kill(self, worker: Worker, why: str) -> None:
        if worker.status != "stopping":  # a killed worker that was asked to stop is no fault
            worker.enter("ending", self._now)
        else:
            worker.since = self._now
        worker.kills += 1
        self._actions.append(Kill(worker.spec.id, why))

    def _abandon(self, worker: Worker) -> None:
        """Its process cannot be ended (a driver or a network disk holds it): go on without it."""
        worker.hopeless = True
        self._on_exit(WorkerExited(worker.spec.id, worker.life, "its process cannot be ended"))

    # -- what becomes of tasks -------------------------------------------------------------

    def _charge(self, worker: Worker, task: Task, error: ErrorRecord) -> None:
        """Count a failed attempt; try again or set the video aside."""
        worker.drop(task)
        video = task.video
        video.charge(task, error.kind, worker.spec.id)
        self._record_loss(worker, task, error)
        if video.settled:
            return
        if task.is_spent(self._rules):
            self._set_aside(video, error)
        else:
            video.requeue(task)

    def _release(self, worker: Worker, task: Task, error: ErrorRecord | None = None) -> None:
        """An attempt came to nothing through no fault of the task: it waits again."""
        worker.drop(task)
        task.video.give_up(task)
        task.video.requeue(task, stopping=self._stopping)
        if error is not None:
            self._record_loss(worker, task, error)

    def _remake(self, worker: Worker, task: Task, damaged: set[int], error: ErrorRecord) -> None:
        """Segments that were to be joined are damaged: make them again, but not for ever."""
        worker.drop(task)
        video = task.video
        video.give_up(task)
        self._record_loss(worker, task, error)
        if video.settled:
            return
        if video.remakes + 1 >= self._rules.attempts:
            self._set_aside(video, error)
        else:
            video.remake(damaged)

    def _set_aside(self, video: Video, error: ErrorRecord) -> None:
        video.set_aside(error)
        self._settle(video)
        self._record(VideoSetAside(video.job.id, video.settings, error))

    def _settle(self, video: Video) -> None:
        self._dispatch.settled(video)
        video.end(self._now)
        self._unsettled -= 1

    def _record_loss(self, worker: Worker, task: Task, error: ErrorRecord) -> None:
        self._record(TaskLost(task.id.video, task.id.segment, task.attempt, worker.spec.id, error))

    def _record(self, entry: Entry) -> None:
        self._actions.append(Record(entry))

    # -- what comes next -------------------------------------------------------------------

    def _go_on(self) -> None:
        if self._stopping or not self._has_work:
            for worker in self._workers.values():
                if worker.status == "starting":
                    worker.enter("stopping", self._now)
                    self._kill(worker, "it is not needed any more")
                elif worker.status == "ready":
                    worker.enter("stopping", self._now)
                    self._actions.append(AskToStop(worker.spec.id))
            return
        if self._dispatch.has_news:
            self._reinstate()
        self._actions += self._dispatch.decide(self._now)

    def _reinstate(self) -> None:
        """Take back drained workers whose faults a task turned out to explain."""
        for worker in self._workers.values():
            if worker.is_cleared(self._rules):
                worker.drained_for = ()
                worker.enter("down", self._now)
                self._alone = None
