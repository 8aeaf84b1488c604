"""Right and wrong mattes of real footage are told apart.

Needs VRMATTE_MEDIA, a folder with dancer_LR_180.mp4, a man before a forest in two eyes, and
dancer_LR_180_alpha.mkv, his true alpha.
"""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path
from typing import ClassVar

import av
import numpy as np
import pytest
import torch

from pipeline.clip import ClipReader, prepared_data
from pipeline.contract import Finding, MattingSettings, SegmentJob, VideoSettings
from pipeline.judge.doubt import doubts_of
from pipeline.pixels.batches import EyeBatch, MatteBatch
from pipeline.source.decode import FrameReader
from pipeline.source.timing.frame_index import index_of
from pipeline.source.video_info import read_video
from pipeline.stages.base import ClipSampler, Prepared
from pipeline.stages.chain import Chain, eyes_of
from pipeline.stages.matting import plate
from tests.chains import CPU, chain_around

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not os.environ.get("VRMATTE_MEDIA"), reason="VRMATTE_MEDIA is not set"),
]

FRAMES = 8


class TrueAlpha:
    """A model that knows the answer.

    Args:
        alpha: ``[T, E, 1, H, W]``, 0..1.
    """

    name: ClassVar[str] = "true"
    warmup_frames = 0

    def __init__(self, alpha: torch.Tensor) -> None:
        self._alpha = alpha

    def prepare(self, clip: ClipSampler) -> Prepared:
        return {}

    def start(self, eyes: int, height: int, width: int, prepared: Prepared) -> None:
        return None

    def matte(self, eyes: EyeBatch, state: None) -> MatteBatch:
        frames = slice(eyes.start, eyes.start + len(eyes.rgb))
        return MatteBatch(self._alpha[frames], None, eyes.start)


def media(name: str) -> Path:
    return Path(os.environ["VRMATTE_MEDIA"]) / name


def found(folder: Path, settings: VideoSettings, chain: Chain) -> tuple[Finding, ...]:
    """What the stages find of the first frames."""
    index = folder / "index.json"
    video = read_video(media("dancer_LR_180.mp4"), index, None)
    job = SegmentJob(video, settings, 0, 0, FRAMES, str(index), str(folder))
    reader = FrameReader(video, index_of(video, index), CPU, threads=1)
    prepared = prepared_data(job, chain.stages, ClipReader(job, reader))
    passing = chain.start(video.eye_shape, prepared)
    decoded = chain.decoded(reader, video, 0, FRAMES, 4)
    for _ in passing.layers(eyes_of(decoded, video), 0, FRAMES):
        pass
    return passing.findings(0, FRAMES)


def true_alpha() -> torch.Tensor:
    """``[T, E, 1, H, W]``, 0..1."""
    with av.open(str(media("dancer_LR_180_alpha.mkv"))) as container:
        frames = islice(container.decode(video=0), FRAMES)
        pictures = np.stack([frame.to_ndarray(format="gray") for frame in frames])
    left, right = (torch.from_numpy(pictures).float() / 255).chunk(2, dim=2)
    return torch.stack([left, right], dim=1)[:, :, None]


@torch.inference_mode()
def test_the_true_alpha_is_not_doubted_and_with_the_treetops_it_is(tmp_path: Path) -> None:
    settings = VideoSettings()
    alpha = true_alpha()
    right = chain_around(TrueAlpha(alpha), settings)
    assert doubts_of(found(tmp_path, settings, right), "true") == ()
    more = alpha.clone()
    more[..., :80, :] = 1
    wrong = chain_around(TrueAlpha(more), settings)
    kinds = [doubt.kind for doubt in doubts_of(found(tmp_path, settings, wrong), "true")]
    assert "overhead" in kinds


@torch.inference_mode()
def test_a_plate_of_whoever_stays_on_the_spot_is_scraps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model refuses the clip; were it to pass, the matte would tell."""
    monkeypatch.setattr(plate, "reason_against", lambda *_: None)
    settings = VideoSettings(matting=MattingSettings(model="plate"))
    doubts = doubts_of(found(tmp_path, settings, Chain.of(settings, CPU)), "plate")
    assert [doubt.kind for doubt in doubts] == ["scraps"]
