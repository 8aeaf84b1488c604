"""What a dry run foretells: from trials of stages to seconds, and to what a person reads."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.estimate.before_run import (
    EFFICIENCY,
    MOST_TRIALS,
    TRIAL_FRAMES,
    Forecast,
    Trials,
    forecast,
)
from orchestrator.estimate.cost_class import GROWTH
from orchestrator.estimate.trial import CodedBytes, Stage, StageRequest, Stages
from orchestrator.fleet.events_actions import WorkerSpec
from orchestrator.fleet.jobs import Plan, SetAside, VideoJob
from orchestrator.plan.dry_run_text import DryRun, encoders, plan_fields, plan_lines
from orchestrator.words import precise, readable_size
from pipeline.contract import EncodingSettings, VideoSettings
from pipeline.errors import ErrorRecord, MachineError
from tests.orchestrator.clockwork import Clockwork, sized, videos
from tests.orchestrator.worlds import make_job


def stages(*wall: float, cpu: float | None = None, warmup: int = 0) -> Stages:
    """One stage a figure, in seconds of a frame; of one core, unless it is said."""
    names = ("decode", "matting", "encode webm")
    each = tuple(
        Stage(name, 1, seconds, seconds if cpu is None else cpu / len(wall))
        for name, seconds in zip(names, wall, strict=False)
    )
    coded = (CodedBytes("webm", 1, 10_000, 19, 19_000),)
    return Stages("cpu", "CPU", 1, warmup, 2.0, 3.0, 0.0, each, coded)


class Measured:
    """Answers by the width of the video; counts."""

    def __init__(self, answers: dict[int, Stages]) -> None:
        self.answers = answers
        self.asked: list[StageRequest] = []

    def __call__(self, request: StageRequest) -> Stages:
        self.asked.append(request)
        if request.info.width not in self.answers:
            raise MachineError("the trial failed: no weights", "vrmatte models fetch")
        return self.answers[request.info.width]


def crew(workers: int = 1, lanes: int = 1, ram: int | None = None) -> list[WorkerSpec]:
    return [WorkerSpec(number, lanes, ram) for number in range(workers)]


def test_one_trial_for_all_videos_that_are_alike() -> None:
    jobs = videos((1, 100, 64), (2, 100, 64), (1, 120, 128))
    measured = Measured({128: stages(0.1), 256: stages(0.4)})
    told = forecast(jobs, crew(), 1, False, Trials(measured))
    assert [(each.info.width, each.stop - each.start) for each in measured.asked] == [
        (256, TRIAL_FRAMES),
        (128, TRIAL_FRAMES),
    ]
    # In the middle, where the subject is there if it ever is.
    assert [each.start for each in measured.asked] == [50, 90]
    assert told.frames_per_second == pytest.approx(
        {"v0": EFFICIENCY * 10, "v1": EFFICIENCY * 10, "v2": EFFICIENCY * 2.5}
    )
    joined = 0.4 + 120 * 256 * 128 * 1.2e-9
    assert told.seconds == pytest.approx(5 + (300 * 0.1 + 120 * 0.4) / EFFICIENCY + joined)
    assert told.start_s == 5


def test_warm_up_frames_cost_what_frames_cost() -> None:
    jobs = videos((4, 100, 64))
    cold, warm = (
        forecast(jobs, crew(), 1, False, Trials(Measured({128: stages(0.1, warmup=n)})))
        for n in (0, 24)
    )
    assert cold.seconds is not None
    assert warm.seconds == pytest.approx(cold.seconds + 3 * 24 * 0.1 / EFFICIENCY)


@pytest.mark.parametrize(
    ("workers", "lanes", "cores", "fps"),
    [
        (1, 1, 8, 1 / 0.2),  # no faster than its slowest stage
        (1, 4, 8, 4 / 0.2),
        (1, 8, 2, 2 / 0.4),  # no faster than the cores
        (2, 8, 2, 2 / 0.4),
    ],
)
def test_lanes_and_cores_bound_it(workers: int, lanes: int, cores: int, fps: float) -> None:
    jobs = videos((8, 100, 64))
    measured = Measured({128: stages(0.1, 0.2, 0.1)})
    told = forecast(jobs, crew(workers, lanes), cores, False, Trials(measured))
    assert told.frames_per_second["v0"] == pytest.approx(EFFICIENCY * fps)


def test_memory_leaves_fewer_lanes() -> None:
    jobs = [replace(job, ram_bytes=3) for job in videos((8, 100, 64))]
    measured = Measured({128: stages(0.1)})
    told = forecast(jobs, crew(lanes=4, ram=7), 8, False, Trials(measured))
    assert told.frames_per_second["v0"] == pytest.approx(EFFICIENCY * 20)


def test_what_cannot_be_tried_is_told_and_takes_no_time() -> None:
    jobs = videos((2, 100, 64), (2, 100, 128), (2, 50, 128))
    measured = Measured({128: stages(0.1)})
    told = forecast(jobs, crew(), 1, False, Trials(measured))
    assert [each.info.width for each in measured.asked] == [256, 256, 128]
    assert told.problems == dict.fromkeys(
        ("v1", "v2"), "the trial failed: no weights (vrmatte models fetch)"
    )
    alone = forecast(jobs[:1], crew(), 1, False, Trials(measured))
    assert (told.seconds, told.frames_per_second) == (alone.seconds, alone.frames_per_second)
    trials, count = Trials(measured), len(measured.asked)
    for _ in range(2):
        nothing = forecast(jobs[1:], crew(), 1, False, trials)
    assert len(measured.asked) == count + 2, "what has failed is not tried again"
    assert (nothing.seconds, set(nothing.problems)) == (None, {"v1", "v2"})
    assert forecast([], crew(), 1, False, Trials(measured)) == Forecast()


def test_a_trial_that_fails_by_its_video_says_nothing_of_others_like_it() -> None:
    jobs = videos((3, 100, 64), (2, 100, 64), (1, 100, 64))

    def measure(request: StageRequest) -> Stages:
        if request.info.path == jobs[0].info.path:
            raise MachineError("no subject in it", "try another model")
        return stages(0.1)

    told = forecast(jobs, crew(), 1, False, Trials(measure))
    assert told.problems == {"v0": "no subject in it (try another model)"}
    assert told.frames_per_second.keys() == told.stages.keys() == {"v1", "v2"}


def test_of_many_kinds_those_with_most_work_are_tried() -> None:
    jobs = videos(*[(1, 100, 64 + 2 * n) for n in range(MOST_TRIALS + 3)])
    measured = Measured({job.info.width: stages(0.1) for job in jobs})
    told = forecast(jobs, crew(), 1, False, Trials(measured))
    assert len(measured.asked) == MOST_TRIALS
    assert set(told.stages) == {job.id for job in jobs[3:]}
    assert told.frames_per_second.keys() == {job.id for job in jobs}
    work = {job.id: (job.info.width * job.info.height) ** GROWTH for job in jobs}
    of_tried = sum(work[name] for name in told.stages) / len(told.stages)
    speed = told.frames_per_second["v3"] * of_tried / work["v0"]
    assert told.frames_per_second["v0"] == pytest.approx(speed), "by its size"


def test_it_agrees_with_a_run_that_goes_by_the_clock() -> None:
    jobs = videos((6, 100, 64), (1, 300, 128), (3, 80, 256))
    pixel_s = 1e-5
    costs = {job.info.width: job.info.width * job.info.height * pixel_s for job in jobs}
    run = Clockwork(jobs, 2, 1, pixel_s / EFFICIENCY, warmup_frames=24, begin_s=0.0, growth=1.0)
    *_, last = run.snapshots()
    # The clock's seconds are those of a lane while the other is busy: half of the cores.
    measured = Measured({width: stages(cost, warmup=24) for width, cost in costs.items()})
    told = forecast(jobs, crew(2), 2, False, Trials(measured))
    assert told.seconds == pytest.approx(last.now, rel=0.1)


def dry(jobs: list[VideoJob], told: Forecast, **more: object) -> DryRun:
    aside = SetAside("bad.mp4", "/in/bad.mp4", ErrorRecord("input", "holds no video", "leave it"))
    found = DryRun(
        plan=Plan(tuple(jobs), (aside,)),
        devices=("CPU", "CPU"),
        lanes=1,
        done=frozenset(),
        forecast=told,
        free_bytes=10**11,
        in_flight=2,
        reserve_bytes=10**9,
    )
    return replace(found, **more)  # type: ignore[arg-type]


def long_forecast() -> tuple[list[VideoJob], Forecast]:
    jobs = [make_job("a", 4, 600), sized(make_job("b", 1, 60), 256, 128)]
    measured = Measured({128: stages(0.5)})
    return jobs, forecast(jobs, crew(2), 2, False, Trials(measured))


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_plan_fits_and_says_why(width: int) -> None:
    jobs, told = long_forecast()
    lines = list(plan_lines(dry(jobs, told, price_per_hour=0.5), width))
    assert all(len(line) <= width for line in lines)
    text = " ".join(" ".join(lines).split())
    for part in (
        "a.mp4 -> a_matte.webm",
        "sbs (it was made so)",
        "128x64, 30 frames/s, h264 8 bit; 2400 frames in 4 segments",
        "worker 0 (CPU) first; model rvm; decoder CPU; encoder webm: VP9 (libvpx)",
        "will fail: the trial failed: no weights",
        "worker 1 (CPU) first; model rvm; decoder not tried;",
        "about 2.8 MB (by a trial)",
        "of outputs by trials of 20 frames, and",
        "100.0 GB free, of which 1.0 GB must stay so",
        "on 2 workers of 1 lane, start-up 5 s of it",
        "at 0.5 an hour",
    ):
        assert part in text
    assert lines[-1] == "2 of 3 will fail: b.mp4, bad.mp4"


def test_the_cost_is_the_time_at_its_price() -> None:
    jobs, told = long_forecast()
    found = dry(jobs, told, price_per_hour=3600.0)
    assert found.cost == pytest.approx(told.seconds)
    assert dry(jobs, told).cost is None
    assert dry(jobs, Forecast(), price_per_hour=1.0).cost is None
    assert "cost  not known" in list(plan_lines(dry(jobs, Forecast(), price_per_hour=1.0), 80))


def test_too_little_room_is_told_by_how_much() -> None:
    jobs, told = long_forecast()
    found = dry(jobs, told, free_bytes=10**9 + 10**6)
    taken = found.output_bytes + found.scratch_bytes
    text = " ".join(" ".join(plan_lines(found, 200)).split())
    assert f"1.0 GB must stay so: {readable_size(taken - 10**6)} too little" in text


def test_what_is_done_needs_nothing_more() -> None:
    jobs, _ = long_forecast()
    found = dry(jobs, Forecast(), done=frozenset({"a", "b"}), plan=Plan(tuple(jobs), ()))
    lines = list(plan_lines(found, 80))
    assert "time  none: all is done" in lines
    assert lines.count("  already done: nothing to do") == 2
    assert found.output_bytes == found.scratch_bytes == 0


def test_the_end_names_what_will_fail_and_nothing_else_where_all_will() -> None:
    jobs, told = long_forecast()
    found = dry(jobs, told)
    assert found.failing == ["b.mp4", "bad.mp4"]
    assert found.output_bytes == found.size(jobs[0]).output, "the other one has no output"
    fields = plan_fields(found)
    assert (fields["will_fail"], fields["output_bytes"]) == (found.failing, found.output_bytes)
    assert list(plan_lines(dry([], Forecast(), price_per_hour=1.0), 80)) == [
        "1 of 1 will fail: bad.mp4"
    ]
    none = replace(told, seconds=None, problems={"a": "no", "b": "no"})
    *videos, last = plan_lines(dry(jobs, none), 80)
    assert last == "3 of 3 will fail: a.mp4, b.mp4, bad.mp4"
    assert not any(line.startswith(("time", "cost", "disk")) for line in videos)


def test_a_long_list_of_what_will_fail_is_bounded() -> None:
    aside = tuple(
        SetAside(f"{n:03}.mp4", "", ErrorRecord("input", "holds no video")) for n in range(2000)
    )
    *_, last = plan_lines(dry([], Forecast(), plan=Plan((), aside)), 80)
    assert last.startswith("2000 of 2000 will fail: 000.mp4, 001.mp4, ")
    assert last.endswith(", 009.mp4 and 1990 more")


def test_names_are_no_markup() -> None:
    job = replace(make_job("a"), name="[red]a\x1b[2J.mp4")
    lines = list(plan_lines(dry([job], Forecast()), 80))
    assert lines[0] == "[red]a\ufffd[2J.mp4 -> a_matte.webm"


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        (EncodingSettings(codec="av1", encoder="software"), "greenscreen: AV1 (SVT-AV1)"),
        (EncodingSettings(codec="hevc", encoder="nvenc"), "greenscreen: HEVC (NVENC)"),
    ],
)
def test_encoders_by_name(encoding: EncodingSettings, words: str) -> None:
    settings = VideoSettings(deliverables=("greenscreen", "prores"), encoding=encoding)
    job = replace(make_job(), settings=settings)
    assert list(encoders(job)) == [words, "prores: ProRes 4444"]


def test_the_plan_for_programs() -> None:
    jobs, told = long_forecast()
    fields = plan_fields(dry(jobs, told, price_per_hour=0.5))
    assert [video["decoder"] for video in fields["videos"]] == ["CPU", None]
    assert fields["set_aside"] == [{"video": "bad.mp4", "reason": "holds no video (leave it)"}]
    assert fields["seconds"] == told.seconds


def test_the_part_of_a_video_is_shown() -> None:
    job = make_job()
    job = replace(job, info=replace(job.info, notes=("the name says '180', ...",)))
    rate = job.info.frame_rate
    assert not any(line.startswith("  only") for line in plan_lines(dry([job], Forecast()), 80))
    settings = replace(job.settings, start_frame=10, max_frames=20, every=3)
    part = replace(job, info=job.info.every_nth(3, settings.phase), settings=settings)
    found = dry([part], Forecast())
    times = f"{precise(float(10 / rate))} to {precise(float(30 / rate))}"
    assert f"  only frames 10 to 29 ({times}), one of every 3" in plan_lines(found, 80)
    [video] = plan_fields(found)["videos"]
    assert video["notes"] == list(job.info.notes)
    assert (video["start_frame"], video["max_frames"], video["every"]) == (10, 20, 3)
