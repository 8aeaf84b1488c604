"""Settling: what is refused first, what stays open, and that settling twice changes nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.estimate.network_scale import Scaler
from orchestrator.estimate.trial import StageRequest, Stages
from orchestrator.machine.segment_memory import Share
from orchestrator.plan.settle import VideoSettler, settle_settings
from orchestrator.settings.settings import load_settings, video_settings
from pipeline.contract import AdaptiveScaling, ProcessingSettings
from pipeline.deliverables.fit import without_gpu
from pipeline.errors import InputError, SettingsError
from pipeline.stages.matting.plate_facts import PlateOptions
from tests.orchestrator.estimate.test_lanes_and_scale import NetworkDouble
from tests.orchestrator.worlds import make_job


@pytest.fixture(autouse=True)
def index(tmp_path: Path) -> None:
    """A trial of the network's size needs a frame index; what is in it, no double reads."""
    (tmp_path / "i").touch()


def test_settled_settings_are_settled_and_leave_nothing_to_the_worker(tmp_path: Path) -> None:
    plate = tmp_path / "plate.png"
    plate.write_bytes(b"plate")
    matting = {"model": "rvm", "plate_image": str(plate)}
    asked = load_settings(None, {"matting": matting, "encoding": {"quality": "best"}})
    settled = settle_settings(asked, "cpu")
    assert settled.processing.engine in ("torch", "openvino")
    assert settled.matting.of(PlateOptions).image_sha256 is not None
    assert settled.encoding == asked.encoding.spelled_out()
    assert settle_settings(settled, "cpu") == settled


def test_the_numbers_of_a_quality_change_no_fingerprint() -> None:
    asked = load_settings(None, {"matting": {"model": "chroma"}, "encoding": {"quality": "draft"}})
    settled = settle_settings(asked, "cpu")
    assert settled != asked
    assert video_settings(settled).fingerprint() == video_settings(asked).fingerprint()


def test_refusals_come_in_the_order_of_the_steps() -> None:
    matting: dict[str, Any] = {
        "model": "rvm",
        "plate_image": "/none.png",
        "prompts": "/none.yaml",
    }
    processing: dict[str, Any] = {"engine": "openvino", "scale_factor": 0.5, "adaptive_scaling": {}}
    for told, mended in (
        (r"matting\.plate_image", (matting, "plate_image")),
        ("follows no prompts", (matting, "prompts")),
        ("on the CPU only", (processing, "engine")),
        ("are both set", (processing, "scale_factor")),
    ):
        settings = load_settings(None, {"matting": matting, "processing": processing})
        with pytest.raises(SettingsError, match=told):
            settle_settings(settings, "cuda")
        group, key = mended
        del group[key]
    settle_settings(load_settings(None, {"matting": matting, "processing": processing}), "cuda")


def settler(folder: Path, network: NetworkDouble, limit: Share) -> VideoSettler:
    scaler = Scaler(folder / "scales", network, cores=2, on_gpu=False)
    return VideoSettler(without_gpu, limit, False, scaler)


def test_the_network_is_tried_with_all_else_decided(tmp_path: Path) -> None:
    """Its record is named by the fingerprint of the rest, and its trial runs with that."""
    info = replace(make_job().info, width=3840, height=1920)
    groups: dict[str, Any] = {"matting": {"model": "rvm"}, "output": {"formats": ["greenscreen"]}}
    settings = video_settings(load_settings(None, groups))
    adaptive = ProcessingSettings(engine="torch", adaptive_scaling=AdaptiveScaling())
    settings = replace(settings, processing=adaptive)
    network = NetworkDouble()
    found = settler(tmp_path, network, Share(ram_bytes=1)).settle(info, settings, tmp_path / "i")
    assert network.asked
    for request in network.asked:
        assert request.settings.encoding.encoder == "software"
        assert request.settings.streaming.chunk_frames == 1
    assert found.processing.scale_factor is not None
    assert found.processing.adaptive_scaling is None


def test_a_video_that_no_encoder_takes_costs_no_trial(tmp_path: Path) -> None:
    def measure(request: StageRequest) -> Stages:
        raise AssertionError

    info = replace(make_job().info, width=8192, height=4096)
    wanted: dict[str, dict[str, object]] = {
        "matting": {"model": "rvm"},
        "output": {"formats": ["greenscreen"]},
        "encoding": {"encoder": "nvenc"},
    }
    settings = video_settings(load_settings(None, wanted))
    settings = replace(settings, processing=ProcessingSettings(adaptive_scaling=AdaptiveScaling()))
    scaler = Scaler(tmp_path, measure, cores=2, on_gpu=False)
    one = VideoSettler(without_gpu, Share(), False, scaler)
    with pytest.raises(InputError, match="NVENC does not encode"):
        one.settle(info, settings, tmp_path / "index.json")
