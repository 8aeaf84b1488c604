"""A segment whose model loses a limb in one eye: the file has it, and the result says so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.contract import (
    Finding,
    SegmentJob,
    StereoSettings,
    StreamingSettings,
    VideoSettings,
)
from pipeline.pixels.batches import EyeBatch, FrameBatch, MatteBatch
from pipeline.pixels.eyes import split_eyes
from pipeline.segment import run_segment
from pipeline.source.timing.frame_index import FrameIndex
from pipeline.source.video_info import read_video
from pipeline.stages.matting.base import ClipSampler, Prepared
from pipeline.stages.stereo.findings import mended_frames, subject_depth_m
from tests.chains import chain_around
from tests.clips import read_frames
from tests.pipeline.demo_truth import demo_scene
from tests.render import CPU

pytestmark = pytest.mark.slow

FRAMES = 12
DAMAGED = range(3, 9)


class Truth:
    """A model that knows the painted truth, but loses the right eye's legs for some frames."""

    name: ClassVar[str] = "truth"
    warmup_frames = 0

    def prepare(self, clip: ClipSampler) -> Prepared:
        return {}

    def start(self, eyes: int, height: int, width: int, prepared: Prepared) -> None:
        return None

    def matte(self, eyes: EyeBatch, state: None) -> MatteBatch:
        alpha = torch.stack([true_alpha(eyes.start + t) for t in range(len(eyes))])
        for t in range(len(eyes)):
            if eyes.start + t in DAMAGED:
                alpha[t, 1, :, int(0.7 * alpha.shape[3]) :] = 0
        return MatteBatch(alpha, None, eyes.start)


def true_alpha(frame: int) -> Tensor:
    return torch.from_numpy(demo_scene().alpha(frame))[:, None]


def made_alpha(
    how: StereoSettings, demo_folder: Path, folder: Path
) -> tuple[Tensor, tuple[Finding, ...]]:
    """Alpha ``[T, 2, 1, H, W]`` as read from the segment's file, and what the segment says."""
    folder.mkdir()
    index_path = folder / "index.json"
    video = read_video(demo_folder / "demo_room_LR_180.mp4", index_path, "sbs")
    assert len(FrameIndex.load(index_path).pts) >= FRAMES
    settings = VideoSettings(stereo=how, streaming=StreamingSettings(chunk_frames=4))
    job = SegmentJob(video, settings, 0, 0, FRAMES, str(index_path), str(folder))
    result = run_segment(job, chain_around(Truth(), settings), CPU)
    pictures = torch.from_numpy(np.stack(read_frames(Path(result.files[0])))).permute(0, 3, 1, 2)
    alpha = pictures[:, 3:].expand(-1, 3, -1, -1).contiguous()
    eyes = split_eyes(FrameBatch(alpha, 0), "sbs").rgb[:, :, :1].float() / 255
    return eyes, tuple(found for found in result.findings if found.source == "stereo")


def iou(alpha: Tensor, truth: Tensor) -> float:
    return float(torch.minimum(alpha, truth).sum() / torch.maximum(alpha, truth).sum())


def test_a_lost_limb_comes_back_and_is_counted(demo_folder: Path, tmp_path: Path) -> None:
    mended, found = made_alpha(StereoSettings(), demo_folder, tmp_path / "fuse")
    independent = StereoSettings(mode="independent")
    alone, nothing = made_alpha(independent, demo_folder, tmp_path / "independent")
    assert nothing == ()
    counted = {
        frame
        for each in found
        if each.kind == "mended"
        for frame in range(each.first_frame, each.last_frame + 1)
    }
    assert set(DAMAGED) <= counted
    assert mended_frames(found) == len(counted)
    assert subject_depth_m(found) == pytest.approx(0.7, abs=0.1)
    for frame in DAMAGED:
        truth = true_alpha(frame)[1]
        assert iou(alone[frame, 1], truth) < 0.9
        assert iou(mended[frame, 1], truth) >= 0.95
    for frame in set(range(FRAMES)) - counted:
        assert (mended[frame] - alone[frame]).abs().mean() <= 0.002, "but for the codec"


def test_the_settings_decide_pixels() -> None:
    how = VideoSettings()
    assert (
        how.fingerprint() != replace(how, stereo=StereoSettings(mode="independent")).fingerprint()
    )
