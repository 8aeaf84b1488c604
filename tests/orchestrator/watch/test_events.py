"""What has changed: every change of state is said once, for people and for programs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from datetime import UTC, datetime

from orchestrator.fleet.snapshot import Snapshot
from orchestrator.watch.events import changes, json_line
from pipeline.errors import ErrorRecord
from tests.orchestrator.snapshots import running, snapshot, video, worker


def said(snapshots: Iterable[Snapshot]) -> list[str]:
    lines: list[str] = []
    before = None
    for after in snapshots:
        lines += [event.text for event in changes(before, after)]
        before = after
    return lines


def test_a_whole_run_is_told_in_order() -> None:
    story = [
        snapshot(0, (video(),), worker(status="starting")),
        snapshot(1, (video(),), worker()),
        snapshot(2, (video(status="running", started_at=1.5),), worker(tasks=(running(0),))),
        snapshot(3, (video(status="running", started_at=1.5, segments_done=1),), worker()),
        snapshot(4, (video(status="finishing", started_at=1.5, segments_done=4),), worker()),
        snapshot(
            4.5,
            (video(status="finishing", started_at=1.5, segments_done=4),),
            worker(tasks=(running(None),)),
        ),
        snapshot(
            5, (video(status="done", started_at=1.5, ended_at=67.5, segments_done=4),), worker()
        ),
    ]
    assert said(story) == [
        "worker 0: ready on NVIDIA L4 (cuda:0), 2 lanes",
        "talk_LR_180.mp4: started, 240 frames in 4 segments",
        "talk_LR_180.mp4: 1 of 4 segments done",
        "talk_LR_180.mp4: 4 of 4 segments done",
        "talk_LR_180.mp4: joining the segments",
        "talk_LR_180.mp4: done in 1:06",
    ]


def test_a_stop_announces_no_joining_that_does_not_happen() -> None:
    made = video(status="finishing", started_at=0, segments_done=4)
    joins = worker(tasks=(running(None),))
    stopped = snapshot(2, (made,), worker(), stopping=True)
    left = "talk_LR_180.mp4: all segments made; joining is left"
    before = snapshot(0, (video(status="running", started_at=0, segments_done=3),), worker())
    # The last segment ends after the stop; the joining waits when it comes; it is dropped.
    for first in (
        snapshot(1, before.videos, worker(), stopping=True),
        snapshot(1, (made,), worker()),
        snapshot(1, (made,), joins, stopping=True),
    ):
        lines = said([before, first, stopped, stopped])
        assert lines.count(left) == 1
        assert any("joining the segments" in line for line in lines) == (first.workers[0] is joins)


def test_a_joining_in_hand_goes_on_after_a_stop() -> None:
    made = (video(status="finishing", started_at=0, segments_done=4),)
    joins = worker(tasks=(running(None),))
    done = (video(status="done", started_at=0, ended_at=3, segments_done=4),)
    lines = said(
        [
            snapshot(0, made, joins),
            snapshot(1, made, joins, stopping=True),
            snapshot(2, done, worker(), stopping=True),
        ]
    )
    assert not any("is left" in line for line in lines)
    assert lines[-1] == "talk_LR_180.mp4: done in 0:03"


def test_nothing_is_said_twice() -> None:
    same = snapshot(1, (video(status="running", started_at=0),), worker())
    assert said([same, same, same]) == [event.text for event in changes(None, same)]


def test_faults_are_told_with_their_reason() -> None:
    error = ErrorRecord("device", "killed by SIGSEGV", "")
    bad = ErrorRecord("input", "no frames", "leave it out")
    story = [
        snapshot(0, (video(),), worker()),
        snapshot(1, (video(retries=1),), worker(status="down", faults=1, error=error)),
        snapshot(2, (video(retries=1),), worker(status="ready", faults=1, error=error)),
        snapshot(3, (video(retries=1),), worker(status="retired", faults=2, error=error)),
        snapshot(4, (video(status="failed", retries=1, error=bad),), stopping=True),
    ]
    assert said(story)[1:] == [
        "worker 0: ended without being asked to, is started again: killed by SIGSEGV",
        "talk_LR_180.mp4: an attempt was lost, and is made again",
        "worker 0: ready on NVIDIA L4 (cuda:0), 2 lanes",
        "worker 0: ended without being asked to, given up: killed by SIGSEGV",
        "talk_LR_180.mp4: failed: no frames (leave it out)",
        "stopping: what is in hand is finished first; Ctrl-C again ends at once",
    ]


def test_a_resumed_run_says_what_was_there() -> None:
    videos = (video("a", id="a", status="done", earlier=True), video("b", id="b", segments_done=2))
    assert said([snapshot(0, videos)]) == [
        "a: was done earlier",
        "b: goes on; 2 of 4 segments done earlier",
    ]


def test_file_names_cannot_steer_the_terminal() -> None:
    [line] = said([snapshot(0, (video("a\x1b[2J\n[red]b.mp4", status="done", earlier=True),))])
    assert line.isprintable()
    assert "[red]b.mp4" in line


def test_a_line_of_json_holds_what_the_event_has_and_no_traceback() -> None:
    error = ErrorRecord("input", "no frames", "leave it out", "Traceback ...")
    before = snapshot(0, (video("a\udcff.mp4", status="running", started_at=0),))
    after = snapshot(1, (video("a\udcff.mp4", status="failed", started_at=0, error=error),))
    [event] = changes(before, after)
    line = json_line(datetime(2026, 1, 2, 3, 4, 5, 678900, UTC), event)
    assert "\n" not in line
    assert json.loads(line) == {
        "schema": 1,
        "time": "2026-01-02T03:04:05.678+00:00",
        "event": "video-failed",
        "text": "a\ufffd.mp4: failed: no frames (leave it out)",
        "video": "a\ufffd.mp4",
        "segments_done": 0,
        "segments": 4,
        "frames_done": 0,
        "frames": 240,
        "error": {"kind": "input", "message": "no frames", "advice": "leave it out"},
    }


def test_that_a_run_waits_for_a_worker_is_said_once() -> None:
    left = snapshot(0, (video(),))
    alone = dataclasses.replace(left, waits_s=300.0)
    assert (
        said([left, alone, alone, left, alone])
        == [
            "no worker is left: waiting about 5 min for a node to join;"
            " Ctrl-C stops, and the same command goes on"
        ]
        * 2
    )


def test_why_it_stops_is_said() -> None:
    full = ErrorRecord("disk", "no room", "make room")
    before = snapshot(0, (video(),))
    after = Snapshot(1, before.videos, (), True, full)
    assert said([before, after]) == [
        "stopping (no room (make room)): what is in hand is finished first;"
        " Ctrl-C again ends at once"
    ]
