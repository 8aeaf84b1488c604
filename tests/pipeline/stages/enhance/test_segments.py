"""Law 1 of all stages of enhancement together, behind a real matting model."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from pipeline.contract import EnhanceSettings, EyeShape, MattingSettings, VideoSettings
from pipeline.pixels.batches import EyeBatch
from pipeline.stages.chain import Chain
from tests.pipeline.demo_truth import Clip
from tests.pipeline.stages.enhance.test_steady import moving

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("model", ["none", "chroma"])
def test_any_cut_and_any_batch_give_the_same_frames(model: str) -> None:
    _, seen = moving(12, deviation=3)
    seen[:, :, :, :20] = torch.tensor([20, 200, 30], dtype=torch.uint8).view(1, 1, 3, 1, 1)
    settings = VideoSettings(
        matting=MattingSettings(model=model),
        enhance=EnhanceSettings(
            scale=2,
            model="lanczos",
            precision="fp32",
            denoise=0.4,
            stabilise=2,
            steady_matte=1,
            sharpen=0.2,
            grain=0.3,
        ),
    )
    chain = Chain.of(settings, torch.device("cpu"))
    eye = EyeShape(2, seen.shape[3], seen.shape[4], "equirect180", Fraction(30))
    prepared = chain.prepare(Clip(seen))

    def made(cuts: tuple[int, ...], size: int) -> list[tuple[Tensor | None, ...]]:
        found = []
        for start, stop in pairwise(cuts):
            begin, end = chain.span(start, stop, len(seen))
            batches = (EyeBatch(seen[t : min(end, t + size)], t) for t in range(begin, end, size))
            for layers in chain.start(eye, prepared).layers(batches, start, stop):
                for t in range(len(layers)):
                    one = (layers.rgb, layers.alpha, layers.foreground)
                    found.append(tuple(None if each is None else each[t] for each in one))
        return found

    whole = made((0, 12), 1)
    assert len(whole) == 12
    assert whole[0][0] is not None
    assert whole[0][0].shape[-1] == 2 * seen.shape[-1]
    for cuts, size in (((0, 5, 12), 1), ((0, 3, 4, 9, 12), 3)):
        for ours, theirs in zip(made(cuts, size), whole, strict=True):
            for one, other in zip(ours, theirs, strict=True):
                assert (one is None) == (other is None)
                assert one is None or other is None or torch.equal(one, other)
