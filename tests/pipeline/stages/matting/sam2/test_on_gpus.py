"""What SAM 2 is given on GPUs of different kinds, and what it keeps of places in the picture."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from sam2.modeling.position_encoding import PositionEmbeddingSine
from sam2.modeling.sam.transformer import RoPEAttention

from pipeline.contract import MattingSettings, ProcessingSettings
from pipeline.stages.matting.sam2 import load
from pipeline.stages.matting.sam2.facts import Sam2Options
from pipeline.stages.matting.sam2.load import SegmentAnything
from pipeline.stages.matting.sam2.network import warm_positions
from pipeline.stages.matting.sam2.tracker import SubjectTracker
from tests.pipeline.sam2_networks import random_network
from tests.pipeline.stages.matting.sam2.test_sam2 import RedIsTheSubject, clip, matte
from tests.render import CPU


@pytest.mark.parametrize(
    ("capability", "precision", "dtype"),
    [
        ((7, 5), "auto", torch.float16),
        ((8, 0), "auto", torch.bfloat16),
        ((9, 0), "auto", torch.bfloat16),
        ((7, 5), "fp32", torch.float32),
        ((8, 9), "fp16", torch.float16),
    ],
)
def test_a_gpu_without_bfloat16_computes_in_float16(
    capability: tuple[int, int],
    precision: str,
    dtype: torch.dtype,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = random_network(64, slim=True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(load, "build_network", lambda size, options: network)
    monkeypatch.setattr(load, "load_weights", lambda network, path: None)
    monkeypatch.setattr(load, "fetch_checkpoint", lambda options: Path())
    monkeypatch.setattr(load, "warm_positions", lambda network, device: None)
    monkeypatch.setattr(network, "to", lambda device: network)
    matting = MattingSettings(model="sam2", options=(Sam2Options(image_size=64),))
    processing = ProcessingSettings(precision=precision)  # type: ignore[arg-type]
    made = load.load_tracker(matting, processing, torch.device("cuda"), RedIsTheSubject())
    assert made._sight._dtype == dtype


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("side", [64, 128])
def test_nothing_that_lanes_share_is_made_at_a_frame(side: int) -> None:
    cold, warm = random_network(side, slim=True), random_network(side, slim=True)
    warm_positions(warm, CPU)
    rotations = [m.freqs_cis for m in warm.modules() if isinstance(m, RoPEAttention)]
    places = [m for m in warm.modules() if isinstance(m, PositionEmbeddingSine)]
    before = [dict(module.cache) for module in places]
    assert all(before)
    expected = matte(SegmentAnything(SubjectTracker(cold, RedIsTheSubject())), clip(3))
    found = matte(SegmentAnything(SubjectTracker(warm, RedIsTheSubject())), clip(3))
    assert torch.equal(found, expected)
    for module, cached in zip(places, before, strict=True):
        assert module.cache.keys() == cached.keys()
        assert all(module.cache[key] is value for key, value in cached.items())
    after = [m.freqs_cis for m in warm.modules() if isinstance(m, RoPEAttention)]
    assert all(a is b for a, b in zip(rotations, after, strict=True))
