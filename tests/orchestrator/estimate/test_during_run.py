"""How long a run will still take: runs played by a clock, and what was foretold on their way."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.estimate.cost_class import frame_work, share_done
from orchestrator.estimate.during_run import GAIN, TAIL_S, TimeToGo
from orchestrator.estimate.makespan import MOST_PIECES, VideoAhead, WorkerAhead, seconds_left
from tests.orchestrator.clockwork import Clockwork, videos
from tests.orchestrator.snapshots import running, snapshot, video, worker
from tests.orchestrator.worlds import make_job

#: What is foretold must be within this share of the truth from a quarter of a run on, or within so
#: much of the whole run, or so many seconds: of its last second a fifth is nothing.
WITHIN, OF_THE_WHOLE, SECONDS = 0.2, 0.02, 1.5


def foretold(run: Clockwork) -> tuple[list[tuple[float, float | None]], float]:
    """When, and how much was said to be to go, once a second; and when all was done."""
    teller = TimeToGo(run.jobs)
    told: list[tuple[float, float | None]] = []
    end = None
    for shot in run.snapshots():
        teller.add(shot)
        if not told or shot.now - told[-1][0] >= 1.0:
            told.append((shot.now, teller.seconds()))
        if end is None and all(state.status == "done" for state in shot.videos):
            end = shot.now
    assert end is not None
    return told, end


def worst(run: Clockwork) -> float:
    """The greatest error from a quarter of the run on, as a share of the truth."""
    told, end = foretold(run)
    errors = [0.0]
    for now, seconds in told:
        if end / 4 <= now < end:
            assert seconds is not None, f"nothing is said at {now} of {end} s"
            off = abs(seconds - (end - now))
            errors.append(0.0 if off <= max(SECONDS, OF_THE_WHOLE * end) else off / (end - now))
    return max(errors)


@pytest.mark.parametrize(
    "run",
    [
        Clockwork(videos((1, 120, 640)), pixel_s=4e-7),
        Clockwork(videos(*[(1, 120, 640)] * 3), workers=2, pixel_s=4e-7, gain=GAIN),
        Clockwork(videos((10, 600, 640)), workers=2, lanes=2, pixel_s=4e-7, gain=GAIN),
        Clockwork(videos((3, 200, 640), (1, 120, 1024), (8, 100, 320)), 2, 2, gain=GAIN),
        Clockwork(videos(*[(2, 100, 320)] * 6, (2, 150, 1280)), workers=2, lanes=2, gain=GAIN),
        Clockwork(videos((2, 150, 1280), *[(2, 100, 320)] * 6), workers=2, lanes=2, gain=GAIN),
        Clockwork(videos(*[(5, 60, 320)] * 40), workers=4, lanes=3, pixel_s=4e-7, gain=GAIN),
        Clockwork(videos((6, 200, 512), (4, 150, 512)), workers=2, speeds={0: 2.0}, gain=1.0),
        Clockwork(videos((4, 100, 640)), warmup_frames=60, begin_s=5.0, pixel_s=1e-6),
        Clockwork(videos(*[(2, 100, 320)] * 4), joining_s=0.05, pixel_s=1e-6, start_s=20.0),
    ],
    ids=[
        "one segment",
        "three demo clips",
        "one long video",
        "unequal",
        "large one last",
        "large one first",
        "many",
        "two speeds",
        "long beginnings",
        "slow to start and to join",
    ],
)
def test_within_a_fifth_of_the_truth_from_a_quarter_on(run: Clockwork) -> None:
    assert worst(run) <= WITHIN


shapes = st.tuples(st.integers(1, 6), st.integers(60, 300), st.sampled_from([128, 256, 512]))


@settings(max_examples=8)
@given(st.lists(shapes, min_size=3, max_size=8), st.integers(1, 3), st.integers(1, 3))
def test_whatever_the_videos(made: list[tuple[int, int, int]], workers: int, lanes: int) -> None:
    """Where lanes share a machine as is guessed, and cost goes by size, all else is learned."""
    jobs = videos(*made)
    work = 1e6 * sum(job.num_frames * frame_work(job) for job in jobs)
    pixel_s = 150 * workers * lanes / work
    run = Clockwork(jobs, workers, lanes, pixel_s, gain=GAIN, begin_s=0.2, start_s=1.0, step_s=0.5)
    told, end = foretold(run)
    errors = [
        abs(seconds - (end - now)) / (end - now)
        for now, seconds in told
        if end / 4 <= now < 0.9 * end and seconds is not None
    ]
    late = [seconds for now, seconds in told if now >= end / 4]
    assert None not in late[:-1]
    # Which lane happens to get the last segment is luck: a half at the most, a fifth mostly.
    assert max(errors) < 0.5
    assert sum(error <= WITHIN for error in errors) >= 0.8 * len(errors)


def test_of_a_lump_of_frames_what_is_made_already_is_not_to_go() -> None:
    lump_s = 16 * 0.25
    told, end = foretold(Clockwork(videos((1, 240, 512)), pixel_s=0.25 / (1024 * 512), lump=16))
    errors = [seconds - (end - now) for now, seconds in told if seconds and now > end / 2]
    assert max(errors) - min(errors) < lump_s / 4
    assert max(errors) < 2 * TAIL_S  # which this run has not: what is told at first is a guess


def test_a_figure_that_settles_does_not_jump() -> None:
    told, end = foretold(Clockwork(videos(*[(4, 200, 512)] * 3), workers=2, lanes=2, gain=GAIN))
    late = [(now, seconds) for now, seconds in told if now > end / 4 and seconds is not None]
    for (then, before), (now, after) in itertools.pairwise(late):
        assert abs(after - (before - (now - then))) < 0.03 * end


def test_nothing_is_said_before_anything_is_known() -> None:
    jobs = [make_job("v0", 4, 60)]
    teller = TimeToGo(jobs)
    assert teller.seconds() is None
    teller.add(snapshot(0, (video(),), worker(status="starting")))
    assert teller.seconds() is None
    teller.add(snapshot(5, (video(status="running"),), worker(tasks=(running(0),))))
    assert teller.seconds() is None
    stopping = snapshot(9, (video(status="running"),), worker(), stopping=True)
    teller.add(stopping)
    assert teller.seconds() is None


def test_what_an_earlier_run_did_is_not_to_go() -> None:
    jobs = videos((4, 60, 128), (4, 60, 128))
    states = tuple(video(id=f"v{n}", status="running") for n in range(2))
    done = replace(states[0], status="done", frames_done=240, segments_done=4, earlier=True)
    teller = TimeToGo(jobs)
    for second in range(11):
        hand = worker(tasks=(running(0, second * 4, "v1"), running(1, second * 4, "v1")))
        teller.add(snapshot(second, (done, replace(states[1], frames_done=second * 8)), hand))
    # 160 of 240 frames are left, in two lanes of 4 frames/s, with a warm-up of 24 for each.
    assert teller.seconds() == pytest.approx((160 + 48) / 8, rel=0.2)


def test_a_lost_attempt_counts_no_frames() -> None:
    jobs = videos((1, 240, 128))
    tellers = TimeToGo(jobs), TimeToGo(jobs)
    for number, teller in enumerate(tellers):
        for second in range(1, 8):
            state = video(status="running", frames_done=second * 4)
            task = replace(running(0, second * 4), num_frames=240)
            teller.add(snapshot(second, (state,), worker(tasks=(task,))))
        lost = video(status="running")
        if number:
            teller.add(snapshot(7.0, (lost,), worker(status="down", faults=1)))
    [known], [after] = (teller._cost.values() for teller in tellers)
    assert after.value == pytest.approx(known.value)


def test_share_done_goes_by_pixels() -> None:
    jobs = videos((4, 60, 100), (4, 60, 200))
    done = video(id="v0", status="done", frames_done=240)
    assert share_done(jobs, snapshot(0, (done, video(id="v1")))) == pytest.approx(1 / 5)
    failed = video(id="v1", status="failed")
    assert share_done(jobs, snapshot(0, (done, failed))) == 1.0
    assert share_done([], snapshot(0, ())) == 1.0


def ahead(*waiting: float, home: int = 0, joining_s: float = 0.0) -> VideoAhead:
    return VideoAhead(home, list(waiting), joining_s=joining_s)


def crew(workers: int = 1, lanes: int = 1) -> list[WorkerAhead]:
    return [WorkerAhead(lanes) for _ in range(workers)]


@pytest.mark.parametrize(
    ("workers", "left", "gain", "seconds"),
    [
        (crew(), [ahead(3.0, 4.0)], 1.0, 7.0),
        (crew(lanes=2), [ahead(3.0, 4.0)], 1.0, 4.0),
        (crew(lanes=2), [ahead(3.0, 4.0)], 2.0, 3.5),
        (crew(2), [ahead(3.0, 3.0, 3.0)], 1.0, 6.0),
        (crew(), [ahead(3.0, joining_s=2.0), ahead(4.0)], 1.0, 7.0),
        (crew(), [ahead(3.0), ahead(4.0, joining_s=2.0)], 1.0, 9.0),
        (crew(), [ahead(joining_s=2.0)], 1.0, 2.0),
        (crew(), [], 1.0, 0.0),
        ([WorkerAhead(1), WorkerAhead(1, ready_s=5.0)], [ahead(6.0, 6.0)], 1.0, 11.0),
        ([WorkerAhead(1, speed=2.0)], [ahead(6.0)], 1.0, 3.0),
    ],
)
def test_what_is_left_is_played_through(
    workers: Sequence[WorkerAhead], left: Sequence[VideoAhead], gain: float, seconds: float
) -> None:
    assert seconds_left(workers, left, gain) == pytest.approx(seconds)


@given(
    st.lists(st.lists(st.floats(0.1, 100), max_size=200), min_size=1, max_size=10),
    st.integers(1, 4),
    st.integers(1, 4),
    st.floats(1.0, 3.0),
)
def test_never_less_than_the_work_and_never_more_than_one_lanes(
    work: list[list[float]], workers: int, lanes: int, gain: float
) -> None:
    left = [ahead(*each, home=number % workers) for number, each in enumerate(work)]
    total, most = sum(map(sum, work)), max((max(each, default=0) for each in work), default=0.0)
    told = seconds_left(crew(workers, lanes), left, gain)
    assert told >= total / (workers * lanes) - 1e-6
    assert told <= total / (workers * lanes) + most + 1e-6


def test_a_night_of_work_is_not_walked_through_segment_by_segment() -> None:
    left = [ahead(*[10.0] * 100) for _ in range(500)]
    assert sum(len(each.waiting) for each in left) > 100 * MOST_PIECES
    assert seconds_left(crew(4, 4), left) == pytest.approx(500 * 100 * 10 / 16, rel=0.01)
