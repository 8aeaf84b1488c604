"""Frames a second, of snapshots."""

from __future__ import annotations

import pytest

from orchestrator.watch.frame_rates import Pace
from tests.orchestrator.snapshots import running, snapshot, video, worker


def test_the_pace_counts_frames_of_tasks_in_hand_and_done() -> None:
    pace = Pace()
    pace.add(snapshot(0, (video(frames_done=120),), worker(tasks=(running(2, 0),))))
    assert pace.run_fps() == 0
    pace.add(snapshot(2, (video(frames_done=150),), worker(tasks=(running(2, 30),))))
    assert pace.run_fps() == 15
    assert pace.worker_fps(0) == 15
    pace.add(snapshot(6, (video(frames_done=190),), worker(tasks=(running(3, 10),))))
    assert pace.run_fps() == pytest.approx(70 / 6)
    assert pace.worker_fps(0) == pytest.approx(70 / 6)


def test_the_pace_forgets_what_is_long_ago() -> None:
    pace = Pace()
    for second in range(100):
        frames = second * 10 if second < 50 else 500 + (second - 50) * 2
        pace.add(snapshot(second, (video(frames_done=frames),)))
    assert pace.run_fps() == pytest.approx(2)
