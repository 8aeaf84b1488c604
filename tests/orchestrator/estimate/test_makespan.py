"""How long a run takes at the least, and how near the fleet comes to it: a clock, and no process.

Every lane of a worker makes its share of the worker's frames a second. What a run cannot do without
is all its work divided by all its workers; what remains over is at most the last segment of a lane,
because nothing waits while a segment is left that could be begun.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.fleet.events_actions import (
    Action,
    AskToStop,
    Assign,
    Event,
    Rules,
    Spawn,
    Tick,
    WorkerExited,
    WorkerSpec,
)
from orchestrator.fleet.fleet import Fleet
from orchestrator.fleet.jobs import VideoJob
from pipeline.contract import FinishJob
from tests.orchestrator.worlds import make_job, outputs_of, segment_result
from workers.messages import SegmentDone, VideoFinished, WorkerReady

FRAMES = 10  # of a segment
JOINING_S = 0.5


def makespan(jobs: Sequence[VideoJob], workers: int, lanes: int) -> float:
    """Seconds from the first segment's beginning to the last video's end.

    A worker makes a frame a second, whatever its lanes.
    """
    specs = [WorkerSpec(number, lanes) for number in range(workers)]
    fleet = Fleet(jobs, specs, Rules(stall_s=1e9, first_frame_s=1e9, finish_s=1e9))
    order = itertools.count()
    coming: list[tuple[float, int, Event]] = []
    now = 0.0

    def obey(actions: Sequence[Action]) -> None:
        for action in actions:
            event: Event
            delay = 0.0
            match action:
                case Spawn():
                    event = WorkerReady(action.worker, action.life, "cpu")
                case Assign():
                    command = action.command
                    who = (action.worker, 1, command.task, command.attempt)
                    if isinstance(command.job, FinishJob):
                        delay = JOINING_S
                        event = VideoFinished(*who, outputs_of(command), delay)
                    else:
                        delay = command.job.num_frames * float(lanes)
                        event = SegmentDone(*who, segment_result(command), delay)
                case AskToStop():
                    event = WorkerExited(action.worker, 1, "exit status 0")
                case _:
                    continue
            heapq.heappush(coming, (now + delay, next(order), event))

    obey(fleet.handle(Tick(), now))
    last = now
    while coming:
        now, _, event = heapq.heappop(coming)
        if isinstance(event, VideoFinished):
            last = now
        obey(fleet.handle(event, now))
    assert fleet.finished
    assert {video.status for video in fleet.snapshot().videos} == {"done"}
    return last


def videos(*segments: int) -> list[VideoJob]:
    return [make_job(f"v{k}", count, FRAMES) for k, count in enumerate(segments)]


@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("workers", [2, 8])
@pytest.mark.parametrize(
    "segments",
    [(400,), (2, 380, 1, 40), (1, 1, 1, 300), (40,) * 13, tuple(range(1, 40))],
    ids=str,
)
def test_within_a_tenth_of_what_cannot_be_avoided(
    segments: tuple[int, ...], workers: int, lanes: int
) -> None:
    least = sum(segments) * FRAMES / workers
    assert makespan(videos(*segments), workers, lanes) <= 1.1 * least


@given(st.lists(st.integers(1, 30), min_size=1, max_size=12), st.integers(1, 8), st.integers(1, 4))
def test_no_lane_waits_while_a_segment_could_be_begun(
    segments: list[int], workers: int, lanes: int
) -> None:
    least = sum(segments) * FRAMES / workers
    joining_s = len(segments) * JOINING_S
    assert makespan(videos(*segments), workers, lanes) <= least + FRAMES * lanes + joining_s
