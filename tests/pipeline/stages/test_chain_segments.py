"""Law 1 of whole segments: what encoders are given does not depend on where a video is cut.

With the two stages of `outside_stages`: one holds frames back, the other doubles their size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline import segment
from pipeline.contract import (
    EncodingSettings,
    MattingSettings,
    ProcessingSettings,
    SegmentJob,
    StreamingSettings,
    VideoSettings,
)
from pipeline.deliverables.base import Deliverable, make_deliverable
from pipeline.pixels.layers import Layers
from pipeline.source.video_info import read_video
from pipeline.stages.catalogue import output_video
from pipeline.stages.chain import Chain
from tests.clips import X264, ClipSpec
from tests.packages import install, installed
from tests.pipeline.stages import outside_stages
from tests.render import CPU

GetClip = Callable[[ClipSpec], Path]

CLIP = ClipSpec("h264.mp4", X264, num_frames=20)
FORMATS = ("webm", "greenscreen", "matte")


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[None]:
    entries = {name: f"{outside_stages.__name__}:{name.upper()}" for name in ("lagging", "doubled")}
    with installed(install(tmp_path / "site", "stages", entries, "vrmatte.stages")):
        yield


class Recorded:
    """A deliverable that keeps the planes it gives to its encoder."""

    def __init__(self, real: Deliverable, kept: list[Tensor]) -> None:
        self._real, self._kept = real, kept

    def planes(self, layers: Layers) -> Tensor:
        planes = self._real.planes(layers)
        self._kept.append(planes.clone())
        return planes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def planes_of(
    path: Path, folder: Path, cuts: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> dict[str, Tensor]:
    """What each format's encoder is given, of all segments."""
    folder.mkdir()
    index = folder / "index.json"
    settings = VideoSettings(
        deliverables=FORMATS,
        matting=MattingSettings(model="chroma"),
        processing=ProcessingSettings(stages=("lagging", "doubled")),
        streaming=StreamingSettings(chunk_frames=3),
        encoding=EncodingSettings(encoder="software"),
    )
    video = read_video(path, index, "sbs")
    assert output_video(video, settings).even_width == 2 * video.even_width
    kept: dict[str, list[Tensor]] = {name: [] for name in FORMATS}
    monkeypatch.setattr(
        segment,
        "make_deliverable",
        lambda name, *rest: Recorded(make_deliverable(name, *rest), kept[name]),
    )
    chain = Chain.of(settings, CPU)
    for number, (start, stop) in enumerate(pairwise((0, *cuts, CLIP.num_frames))):
        job = SegmentJob(video, settings, number, start, stop, str(index), str(folder))
        assert segment.run_segment(job, chain, CPU).num_frames == stop - start
    monkeypatch.setattr(segment, "make_deliverable", make_deliverable)
    return {name: torch.cat(planes) for name, planes in kept.items()}


@pytest.mark.usefixtures("outside")
def test_any_segmentation_gives_encoders_the_same(
    clip: GetClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = clip(CLIP)
    whole = planes_of(path, tmp_path / "whole", (), monkeypatch)
    assert {len(planes) for planes in whole.values()} == {CLIP.num_frames}
    for number, cuts in enumerate([(10,), (1, 2, 12), (6, 11, 16, 19)]):
        parts = planes_of(path, tmp_path / str(number), cuts, monkeypatch)
        assert all(torch.equal(parts[name], whole[name]) for name in FORMATS), cuts
