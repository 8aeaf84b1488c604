"""Lanes and the network's size: arithmetic, trials by a double, and what is written down."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.estimate.choose_lanes import WORTH_PIXELS, choose_lanes
from orchestrator.estimate.lanes_wanted import lanes_wanted, network_usage
from orchestrator.estimate.network_scale import Scaler, require_scalable, sizes
from orchestrator.estimate.trial import Stage, StageRequest, Stages
from orchestrator.fleet.jobs import VideoJob
from orchestrator.machine.devices import MOST_LANES
from orchestrator.settings.settings import load_settings
from pipeline.contract import AdaptiveScaling, ProcessingSettings, VideoSettings
from pipeline.errors import MachineError, SettingsError
from tests.orchestrator.snapshots import video_info

INFO = video_info(Path(__file__))


@pytest.fixture(autouse=True)
def index(tmp_path: Path) -> None:
    """A trial of the network's size needs a frame index; what is in it, no double reads."""
    (tmp_path / "index.json").touch()


def stages(
    decode: tuple[float, float], model: tuple[float, float], encode: tuple[float, float]
) -> Stages:
    """Each stage's (wall, CPU) milliseconds a frame."""
    named = {"decode": decode, "matting": model, "encode webm": encode}
    found = tuple(Stage(n, 10, wall / 100, cpu / 100) for n, (wall, cpu) in named.items())
    return Stages("device", "decoder", 1, 24, 1.0, 1.0, 0.0, found)


def test_a_lane_that_fills_the_cores_gets_one_more_to_cover_its_ends() -> None:
    assert lanes_wanted(stages((10, 10), (100, 200), (10, 10)), 2, on_gpu=False) == 2


def test_lanes_grow_with_the_cores_that_one_leaves_idle() -> None:
    one_core_each = stages((10, 10), (100, 80), (10, 10))
    found = [lanes_wanted(one_core_each, cores, on_gpu=False) for cores in (1, 2, 4, 6, 64)]
    assert found == [2, 3, 5, 7, MOST_LANES]


def test_on_a_gpu_lanes_make_up_for_a_slow_encoder_while_there_are_cores() -> None:
    slow_encoder = stages((5, 1), (10, 1), (40, 40))
    assert lanes_wanted(slow_encoder, 64, on_gpu=True) == 5  # four make 100 frames/s, as the GPU
    assert lanes_wanted(slow_encoder, 2, on_gpu=True) == 3  # two cores make 48


def test_a_gpu_that_is_busy_with_one_lane_gets_one_more() -> None:
    assert lanes_wanted(stages((5, 1), (50, 1), (20, 20)), 16, on_gpu=True) == 2


def test_of_huge_pictures_a_lane_that_fills_the_cores_is_enough() -> None:
    # Two cores make a frame in 400 ms; one lane in 400, in 440, in 500.
    for model, lanes in ((370, 1), (410, 1), (470, 2)):
        found = stages((30, 40), (model, 700), (60, 60))
        assert lanes_wanted(found, 2, on_gpu=False, huge=True) == lanes
    assert lanes_wanted(stages((30, 40), (370, 700), (60, 60)), 2, on_gpu=False) == 2


def test_of_huge_pictures_an_encoder_may_be_what_more_lanes_are_for() -> None:
    found = stages((30, 40), (100, 100), (260, 260))
    assert lanes_wanted(found, 2, on_gpu=False, huge=True) == 2


milliseconds = st.floats(0.01, 1000)
cost = st.tuples(milliseconds, milliseconds)


@given(cost, cost, cost, st.floats(0.25, 128), st.booleans(), st.booleans())
def test_there_are_always_some_lanes_and_never_too_many(
    decode: tuple[float, float],
    model: tuple[float, float],
    encode: tuple[float, float],
    cores: float,
    on_gpu: bool,
    huge: bool,
) -> None:
    found = stages(decode, model, encode)
    assert 1 <= lanes_wanted(found, cores, on_gpu, huge) <= MOST_LANES
    assert 0 <= network_usage(found, cores, on_gpu) <= 1.0001


def test_usage_is_the_networks_share_of_what_bounds_the_run() -> None:
    assert network_usage(stages((9, 10), (9, 30), (9, 20)), 2, on_gpu=False) == pytest.approx(0.5)
    # Four cores make a frame in 10 ms, and the GPU's 5 are half of that.
    assert network_usage(stages((9, 0), (5, 0), (9, 40)), 4, on_gpu=True) == pytest.approx(0.5)


@dataclass
class NetworkDouble:
    """A network whose cost goes with the square of its size; decoding and encoding cost 30 ms."""

    full_ms: float = 100.0
    asked: list[StageRequest] = field(default_factory=list)

    def __call__(self, request: StageRequest) -> Stages:
        self.asked.append(request)
        scale = request.settings.processing.scale_factor or 1.0
        cpu = self.full_ms * scale**2
        return stages((10, 10), (cpu, cpu), (20, 20))

    @property
    def scales(self) -> list[float | None]:
        return [request.settings.processing.scale_factor for request in self.asked]


def adaptive(scaling: AdaptiveScaling) -> VideoSettings:
    return VideoSettings(processing=ProcessingSettings(adaptive_scaling=scaling))


HALF = adaptive(AdaptiveScaling(target_gpu_usage=0.5, scale_factor=0.5))


def scaler(folder: Path, measure: NetworkDouble) -> Scaler:
    return Scaler(folder / "scales", measure, cores=2, on_gpu=False)


def test_the_largest_size_is_taken_that_leaves_its_device_time(tmp_path: Path) -> None:
    double = NetworkDouble()
    found = scaler(tmp_path, double).scaled(INFO, HALF, tmp_path / "index.json")
    assert double.scales == [1.0, 0.5]  # 77 % of the time, then 45 %
    assert found.processing == ProcessingSettings(scale_factor=0.5)


def test_a_run_that_goes_on_takes_what_was_chosen_whatever_the_machine_is_now(
    tmp_path: Path,
) -> None:
    first = scaler(tmp_path, NetworkDouble()).scaled(INFO, HALF, tmp_path / "index.json")
    faster = NetworkDouble(full_ms=1)
    assert scaler(tmp_path, faster).scaled(INFO, HALF, tmp_path / "index.json") == first
    assert not faster.asked


def test_a_choice_that_cannot_be_read_is_made_again(tmp_path: Path) -> None:
    first = scaler(tmp_path, NetworkDouble()).scaled(INFO, HALF, tmp_path / "index.json")
    (note,) = (tmp_path / "scales").iterdir()
    for rubbish in (b"", b"{}", b'{"scale_factor": 7.0}', b'{"scale_factor": "1"}', b"[1]"):
        note.write_bytes(rubbish)
        double = NetworkDouble()
        assert scaler(tmp_path, double).scaled(INFO, HALF, tmp_path / "index.json") == first
        assert double.asked


def test_videos_that_are_alike_share_one_trial_and_others_do_not(tmp_path: Path) -> None:
    double = NetworkDouble()
    choose = scaler(tmp_path, double)
    for info in (INFO, replace(INFO, path="/in/b.mp4", fingerprint="b" * 64)):
        choose.scaled(info, HALF, tmp_path / "index.json")
    assert len(double.asked) == 2
    choose.scaled(replace(INFO, width=8192, fingerprint="c" * 64), HALF, tmp_path / "index.json")
    assert len(double.asked) == 4


def test_where_no_size_is_small_enough_the_smallest_is_taken(tmp_path: Path) -> None:
    scaling = AdaptiveScaling(target_gpu_usage=0.01, min_scale=0.3, scale_factor=0.6)
    double = NetworkDouble()
    found = scaler(tmp_path, double).scaled(INFO, adaptive(scaling), tmp_path / "index.json")
    assert double.scales == [1.0, 0.6, 0.36, 0.3]
    assert found.processing.scale_factor == 0.3


def test_without_the_setting_nothing_is_tried(tmp_path: Path) -> None:
    double = NetworkDouble()
    settings = VideoSettings()
    assert scaler(tmp_path, double).scaled(INFO, settings, tmp_path / "i.json") == settings
    assert not double.asked
    assert not (tmp_path / "scales").exists()


@given(st.floats(0.01, 1), st.floats(0.01, 1), st.floats(0.05, 0.95))
def test_sizes_fall_from_the_largest_to_the_smallest(a: float, b: float, step: float) -> None:
    least, most = sorted((a, b))
    found = sizes(AdaptiveScaling(min_scale=least, max_scale=most, scale_factor=step))
    assert found[0] == round(most, 4)
    assert found[-1] == round(least, 4)
    assert found == sorted(set(found), reverse=True)


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ({"matting": {"model": "chroma"}}, "chroma has no network"),
        ({"processing": {"scale_factor": 0.5, "adaptive_scaling": {}}}, "both set"),
        (
            {"processing": {"adaptive_scaling": {"min_scale": 0.9, "max_scale": 0.5}}},
            "0.9 is above",
        ),
    ],
)
def test_what_contradicts_itself_is_refused(groups: dict[str, Any], said: str) -> None:
    settings = load_settings(None, {"processing": {"adaptive_scaling": {}}} | groups)
    with pytest.raises(SettingsError, match=said):
        require_scalable(settings)


def test_a_key_that_adaptive_scaling_does_not_know_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("processing:\n  adaptive_scaling: {target: 0.5}\n")
    with pytest.raises(SettingsError, match=r"line 2.*target"):
        load_settings(path, {})


def job(num_frames: int, job_id: str = "a", width: int = 8192) -> VideoJob:
    info = replace(INFO, width=width, height=width // 2, num_frames=num_frames)
    frames = ((0, num_frames),)
    return VideoJob(job_id, f"{job_id}.mp4", info, VideoSettings(), ("o",), frames, "index", "work")


LONG = WORTH_PIXELS // (8192 * 4096) + 1


def test_a_long_run_is_shared_out_by_a_trial_of_its_largest_video() -> None:
    double = NetworkDouble(full_ms=60)
    jobs = [job(20, "small"), job(LONG, "large")]
    found = choose_lanes(None, jobs, 2, 16, on_gpu=False, measure=double)
    assert (found.count, found.reason) == (7, "by a trial")  # 8 cores, 90 ms of them, 60 in a row
    (asked,) = double.asked
    assert asked.info.num_frames == LONG
    assert asked.stop - asked.start < LONG


def test_what_is_asked_for_is_taken_and_short_runs_go_by_the_cores() -> None:
    double = NetworkDouble()
    assert choose_lanes(3, [job(LONG)], 1, 2, on_gpu=False, measure=double).count == 3
    small = [job(20, width=1920)]
    assert choose_lanes(None, small, 1, 2, on_gpu=False, measure=double).count == 2
    assert choose_lanes(None, small, 1, 16, on_gpu=False, measure=double).count == 8
    assert choose_lanes(None, [], 1, 2, on_gpu=False, measure=double).count == 2
    assert not double.asked


def test_of_huge_pictures_no_lane_is_to_spare_and_it_is_said() -> None:
    double = NetworkDouble()
    by_cores = [
        choose_lanes(None, [job(20)], 1, cores, on_gpu=False, measure=double)
        for cores in (1, 2, 4, 6)
    ]
    assert [found.count for found in by_cores] == [1, 1, 2, 3]
    assert all("no spare one for 8192x4096" in found.reason for found in by_cores)
    assert choose_lanes(2, [job(20)], 1, 2, on_gpu=False, measure=double).count == 2
    assert choose_lanes(None, [job(20)], 1, 2, on_gpu=True, measure=double).count == 2
    assert not double.asked


def test_a_trial_that_fails_is_told_and_costs_nothing_else() -> None:
    def fails(request: StageRequest) -> Stages:
        raise MachineError("it did not come to its end")

    long = [job(20 * LONG, width=1920)]
    found = choose_lanes(None, long, 1, 2, on_gpu=False, measure=fails)
    assert (found.count, found.reason) == (2, "by the cores, because a trial failed")
