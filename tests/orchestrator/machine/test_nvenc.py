"""NVENC's sessions bound the lanes of GeForce cards, and what the CPU's encoder costs is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.estimate.choose_lanes import choose_lanes
from orchestrator.estimate.trial import StageRequest, Stages
from orchestrator.fleet.jobs import VideoJob
from orchestrator.machine import nvenc
from orchestrator.machine.devices import Devices, Gpu
from orchestrator.machine.nvenc import most_lanes, nvenc_trials, sessions_of, software_warning
from pipeline.contract import EncodingSettings, VideoSettings
from pipeline.contract.nvenc_ways import nvenc_way
from pipeline.encode.nvenc_trial import Asked
from tests.orchestrator.worlds import make_job

GB = 1_000_000_000
RTX, L40S, A100 = "NVIDIA GeForce RTX 4090", "NVIDIA L40S", "NVIDIA A100-SXM4-80GB"


def devices(*names: str, chosen: tuple[int, ...] | None = None) -> Devices:
    gpus = tuple(Gpu(k, f"GPU-{k}", name, 24 * GB) for k, name in enumerate(names))
    return Devices(chosen or tuple(range(len(names))), "", gpus)


def job(*formats: str, encoder: str = "nvenc", **encoding: object) -> VideoJob:
    chosen = EncodingSettings(encoder=encoder, **encoding)  # type: ignore[arg-type]
    settings = VideoSettings(deliverables=formats, encoding=chosen)
    made = make_job()
    info = replace(made.info, width=8192, height=4096)
    return replace(made, info=info, settings=settings)


def test_a_segment_has_a_session_for_each_format_that_nvenc_makes() -> None:
    assert sessions_of(job("webm", "greenscreen", "matte").settings) == 2
    assert sessions_of(job("webm").settings) == 0
    assert sessions_of(job("greenscreen", encoder="software").settings) == 0


@pytest.mark.parametrize(
    ("names", "formats", "most"),
    [
        ((RTX,), ("greenscreen",), 8),
        ((RTX,), ("greenscreen", "matte"), 4),
        ((RTX, RTX, RTX), ("webm", "greenscreen"), 2),
        ((RTX, L40S), ("greenscreen",), 8),
        ((RTX,) * 5, ("greenscreen", "matte"), 1),
        ((L40S, L40S), ("greenscreen", "matte"), None),
        ((RTX,), ("webm",), None),
    ],
)
def test_geforce_cards_share_eight_sessions(
    names: tuple[str, ...], formats: tuple[str, ...], most: int | None
) -> None:
    found = most_lanes(devices(*names), [job("webm"), job(*formats)])
    assert (found and found[0]) == most


def test_lanes_are_bounded_by_them_with_the_reason() -> None:
    def measure(request: StageRequest) -> Stages:
        raise AssertionError

    most = most_lanes(devices(RTX, RTX), [job("greenscreen", "matte")])
    found = choose_lanes(6, [], 2, 32, True, measure, most=most)
    assert found.count == 2
    assert found.reason == (
        "6 as asked, but GeForce: 8 NVENC sessions in all, for 2 workers and 2 formats"
    )
    assert choose_lanes(1, [], 2, 32, True, measure, most=most).reason == "as asked"


def test_the_gpus_that_will_work_are_tried_one_of_each_kind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not the first that can be seen: an A100 has no NVENC, and an L40S beside it has."""
    seen: list[str] = []
    monkeypatch.setattr(nvenc, "NvencTrials", lambda visible: seen.extend(visible))
    nvenc_trials(devices(A100, L40S, L40S, chosen=(1, 2)), {})
    assert seen == ["1"]
    seen.clear()
    nvenc_trials(devices(A100, L40S, A100), {"CUDA_VISIBLE_DEVICES": "5,GPU-x,7"})
    assert seen == ["5", "GPU-x"]


def test_a_run_on_the_cpu_has_no_nvenc_whatever_the_machine_has() -> None:
    """Its workers see no GPU, so NVENC would fail in them."""
    trials = nvenc_trials(Devices(("cpu",), "on the CPU"))
    asked = Asked(("-c:v", "hevc_nvenc"), 64, 64)
    assert trials(nvenc_way("pyav"), asked) == "no worker has a GPU"


def test_what_the_cpus_encoder_costs_is_told_by_measured_figures() -> None:
    slow = replace(job("greenscreen", encoder="software"), software_why="none here")
    said = software_warning([job("greenscreen"), slow], cores=16)
    assert said is not None
    # 46 frames/s of 1280x720 on 2 cores.
    assert "no NVENC for 1 video: x265 encodes on the CPU, about 10 frames/s of 8192x4096" in said
    assert "004-speed.md" in said
    assert "engine of an Ada card: about 25 (NVIDIA's table), 2.5 times as fast" in said
    small = replace(slow, info=replace(slow.info, width=1920, height=960))
    assert "about 460 (NVIDIA's table), 20 times" in str(software_warning([small], cores=2))
    assert software_warning([job("greenscreen", encoder="software")], 16) is None
    unknown = job("greenscreen", encoder="software", hevc_preset="slow")
    assert "not measured" in str(software_warning([replace(unknown, software_why="x")], 16))
