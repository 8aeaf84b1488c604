"""Files of single objects: each pixel of the matte is in one of them, and no file in another's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contract import (
    EncodingSettings,
    FinishJob,
    MattingSettings,
    SegmentJob,
    StereoSettings,
    VideoSettings,
)
from pipeline.deliverables.base import make_deliverable
from pipeline.deliverables.format import of_object, parted
from pipeline.deliverables.formats import FORMATS, require_formats
from pipeline.errors import EncodeError, SettingsError
from pipeline.finish import finish_video
from pipeline.pixels.batches import EyeBatch, MatteBatch
from pipeline.pixels.labels import INSIDE, layers_of_object, object_labels
from pipeline.pixels.layers import Layers
from pipeline.segment import run_segment
from pipeline.source.video_info import read_video
from pipeline.stages.base import ClipSampler, Prepared
from pipeline.verify.selfcheck import take_sample
from tests.chains import chain_around
from tests.clips import X264, ClipSpec, read_frames
from tests.orchestrator.worlds import make_job
from tests.render import CPU

GetClip = Callable[[ClipSpec], Path]

VIDEO = make_job().info


def layers(seed: int, objects: int, eyes: int, frames: int) -> Layers:
    dice = torch.Generator().manual_seed(seed)
    return Layers(
        5,
        torch.zeros(frames, eyes, 3, 12, 10, dtype=torch.uint8),
        torch.rand(frames, eyes, 1, 12, 10, generator=dice),
        objects=torch.randn(frames, eyes, objects, 3, 4, generator=dice),
    )


@given(st.integers(0, 99), st.integers(1, 4), st.sampled_from([1, 2]), st.integers(1, 3))
def test_the_parts_of_all_objects_are_the_matte(
    seed: int, objects: int, eyes: int, frames: int
) -> None:
    whole = layers(seed, objects, eyes, frames)
    assert whole.alpha is not None
    parts = [layers_of_object(whole, number + 1).matte.alpha for number in range(objects)]
    assert torch.equal(sum(parts, torch.zeros_like(whole.alpha)), whole.alpha)
    for number, part in enumerate(parts, 1):
        assert bool(((part == 0) | (part == whole.alpha)).all())
        for t in range(frames):  # as the labels of TIFF have it, and whatever the batch
            assert torch.equal(object_labels(whole.matte, t) == number, part[t] >= INSIDE)
            alone = whole.part(5 + t, 6 + t)
            assert alone is not None
            assert torch.equal(layers_of_object(alone, number).matte.alpha[0], part[t])
    assert not layers_of_object(whole, objects + 1).matte.alpha.any()


def test_names_of_files_of_objects() -> None:
    assert parted("webm") == ("webm", None)
    assert parted(of_object("webm", 255)) == ("webm", 255)
    row = FORMATS["webm.3"]
    assert (row.name, row.ending) == ("webm.3", FORMATS["webm"].ending)
    assert "webm.3" in FORMATS
    assert "webm.3" not in FORMATS.names()
    for wrong in ("webm.0", "webm.256", "webm.x", "webm.", "none.1"):
        assert wrong not in FORMATS
        assert FORMATS.get(wrong) is None
    with pytest.raises(SettingsError, match=r"'webm\.3'"):
        require_formats(["webm.3"])


class Halves:
    """Two objects, the left and the right half of each eye; all of it is the subject."""

    name: ClassVar[str] = "halves"
    warmup_frames = 0

    def prepare(self, clip: ClipSampler) -> Prepared:
        return {}

    def start(self, eyes: int, height: int, width: int, prepared: Prepared) -> None:
        return None

    def matte(self, eyes: EyeBatch, state: None) -> MatteBatch:
        frames, views, _, height, width = eyes.rgb.shape
        objects = torch.full((frames, views, 2, 2, 8), -9.0)
        objects[:, :, 0, :, :4] = objects[:, :, 1, :, 4:] = 9.0
        return MatteBatch(torch.ones(frames, views, 1, height, width), None, eyes.start, objects)


def test_each_object_has_its_file(clip: GetClip, tmp_path: Path) -> None:
    formats = ("webm.1", "matte.1", "webm.2", "webm")
    settings = VideoSettings(
        deliverables=formats,
        matting=MattingSettings(model="chroma"),
        stereo=StereoSettings(mode="independent"),
        encoding=EncodingSettings(encoder="software"),
    )
    source = clip(ClipSpec("talk_LR_180.mp4", X264, num_frames=6, eye=(128, 64)))
    video = read_video(source, tmp_path / "index.json", "sbs")
    job = SegmentJob(video, settings, 0, 0, 6, str(tmp_path / "index.json"), str(tmp_path))
    result = run_segment(job, chain_around(Halves(), settings), CPU)
    targets = tuple(str(tmp_path / f"{name}{FORMATS[name].suffix}") for name in formats)
    made = finish_video(FinishJob(video, settings, (result,), targets, str(tmp_path)))
    assert [output.deliverable for output in made] == list(formats)
    shares = {"webm.1": (1, 0), "webm.2": (0, 1), "webm": (1, 1)}
    for name, (left, right) in shares.items():
        pictures = read_frames(Path(targets[formats.index(name)]))
        assert len(pictures) == 6
        for picture in pictures:
            for eye in (picture[:, :128, 3], picture[:, 128:, 3]):
                # The middle is the seam, which an encoder blurs.
                assert abs(eye[:, :56].mean() / 255 - left) < 0.02
                assert abs(eye[:, 72:].mean() / 255 - right) < 0.02


def test_another_object_in_its_place_is_found(tmp_path: Path) -> None:
    batch = EyeBatch(torch.full((1, 2, 3, 64, 128), 90, dtype=torch.uint8), 0)
    whole = Layers(0, batch.rgb).with_matte(Halves().matte(batch, None))
    video = replace(VIDEO, width=256, height=64)
    settings = VideoSettings(encoding=EncodingSettings(encoder="software"))
    first = make_deliverable("matte.1", video, settings)
    encoder = first.open_segment(tmp_path / "a.mp4")
    encoder.write(first.planes(whole))
    encoder.close()
    samples = [take_sample(layers_of_object(whole, number), 0, 0) for number in (1, 2)]
    first.check_segment(tmp_path / "a.mp4", 1, samples[:1])
    with pytest.raises(EncodeError, match="not what was made"):
        first.check_segment(tmp_path / "a.mp4", 1, samples[1:])
