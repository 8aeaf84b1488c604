"""Colour: what is opaque comes out as it went in, for every matrix and range."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.pixels import color
from pipeline.pixels.color import YuvFormat, rgb_planes, rgba_planes, yuv_to_rgb
from pipeline.source.decode import FrameReader
from pipeline.source.timing.frame_index import FrameIndex
from tests.clips import X264, ClipSpec, read_frames
from tests.render import CPU, chroma_settings, render

MATRICES = ["bt709", "smpte170m", "bt470bg", "bt2020nc"]


def planes_of(flat: torch.Tensor, height: int, width: int) -> tuple[torch.Tensor, ...]:
    pixels = height * width
    ends = [pixels, pixels * 5 // 4, pixels * 3 // 2]
    half = (height // 2, width // 2)
    u, v = flat[ends[0] : ends[1]].view(half), flat[ends[1] : ends[2]].view(half)
    return flat[: ends[0]].view(height, width), u, v, flat[ends[2] :].view(height, width)


@given(
    matrix=st.sampled_from(MATRICES),
    full=st.booleans(),
    colour=st.tuples(*[st.integers(0, 255)] * 3),
)
def test_flat_colours_survive_the_round_trip(
    matrix: str, full: bool, colour: tuple[int, int, int]
) -> None:
    form = YuvFormat(matrix, full)
    rgb = torch.tensor(colour, dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 6, 8)
    flat = rgba_planes(rgb, torch.ones(1, 1, 6, 8), form)[0]
    y, u, v, a = planes_of(flat, 6, 8)
    back = torch.empty(3, 6, 8, dtype=torch.uint8)
    yuv_to_rgb((y, u, v), form, back)
    assert int(a.min()) == 255
    # Limited range has 219 steps for 256 values, and chroma 224.
    assert (back.int() - rgb[0].int()).abs().max() <= (2 if not full else 1)


@given(matrix=st.sampled_from(MATRICES), full=st.booleans(), seed=st.integers(0, 1000))
def test_planes_that_mean_colours_come_back_as_they_were(
    matrix: str, full: bool, seed: int
) -> None:
    """Planes -> RGB -> planes: the picture of an untouched video is not changed by us."""
    form = YuvFormat(matrix, full)
    draw = torch.Generator().manual_seed(seed)
    # Near grey, so that no colour leaves the cube of RGB.
    y = torch.randint(80, 170, (64, 96), generator=draw, dtype=torch.uint8)
    u, v = torch.randint(118, 139, (2, 32, 48), generator=draw, dtype=torch.uint8)
    rgb = torch.empty(3, 64, 96, dtype=torch.uint8)
    yuv_to_rgb((y, u, v), form, rgb)
    flat = rgba_planes(rgb[None], torch.ones(1, 1, 64, 96), form)[0]
    for before, after in zip((y, u, v), planes_of(flat, 64, 96)[:3], strict=True):
        assert (before.int() - after.int()).abs().max() <= 1


@pytest.mark.parametrize(("high", "low"), [((65, 97), (33, 49)), ((64, 97), (64, 49))])
def test_odd_sizes_and_other_subsamplings(high: tuple[int, int], low: tuple[int, int]) -> None:
    form = YuvFormat("bt709", False)
    y = torch.full(high, 126, dtype=torch.uint8)
    chroma = torch.full(low, 128, dtype=torch.uint8)
    out = torch.empty(3, *high, dtype=torch.uint8)
    yuv_to_rgb((y, chroma, chroma), form, out)
    assert set(out.flatten().tolist()) == {128}


@given(strip=st.integers(1, 3000), deep=st.booleans())
def test_planes_do_not_depend_on_the_strips_they_are_made_in(strip: int, deep: bool) -> None:
    draw = torch.Generator().manual_seed(strip)
    rgb = torch.rand(2, 3, 22, 38, generator=draw)
    rgb = rgb if deep else (rgb * 255).to(torch.uint8)
    alpha = (torch.rand(2, 1, 22, 38, generator=draw) * 2 - 0.5).clamp(0, 1)
    form = YuvFormat("bt709", False)
    made = []
    for pixels in (strip, 10**6):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(color, "_STRIP_PIXELS", pixels)
            opaque = torch.empty(22 * 38 * 3 // 2, dtype=torch.uint8)
            rgb_planes(rgb[0].float() / (1 if deep else 255), form, opaque)
            made.append((rgba_planes(rgb, alpha, form), opaque))
    assert torch.equal(made[0][0], made[1][0])
    assert torch.equal(made[0][1], made[1][1])


def test_what_is_cut_out_is_not_in_the_file() -> None:
    form = YuvFormat("bt709", False)
    rgb = torch.randint(0, 256, (1, 3, 8, 8), dtype=torch.uint8)
    y, u, v, a = planes_of(rgba_planes(rgb, torch.zeros(1, 1, 8, 8), form)[0], 8, 8)
    assert set(y.flatten().tolist()) == {16}
    assert set(u.flatten().tolist()) == set(v.flatten().tolist()) == {128}
    assert set(a.flatten().tolist()) == {0}


def test_black_does_not_bleed_into_the_chroma_of_the_edge() -> None:
    form = YuvFormat("bt709", False)
    rgb = torch.tensor([200, 40, 40], dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    whole = rgba_planes(rgb, torch.ones(1, 1, 2, 2), form)[0]
    corner = torch.zeros(1, 1, 2, 2)
    corner[..., 0, 0] = 1
    part = rgba_planes(rgb, corner, form)[0]
    assert part[4:6].tolist() == whole[4:6].tolist()


@pytest.mark.parametrize("matrix", ["bt709", "smpte170m"])
@pytest.mark.parametrize("value_range", ["tv", "pc"])
@pytest.mark.parametrize("deep", [False, True], ids=["8bit", "10bit"])
def test_opaque_areas_of_the_output_look_as_in_the_source(
    matrix: str,
    value_range: str,
    deep: bool,
    clip: Callable[[ClipSpec], Path],
    tmp_path: Path,
) -> None:
    name = f"{matrix}-{value_range}.mp4"
    spec = ClipSpec(name, X264, num_frames=6, color=(matrix, value_range))
    if deep:
        spec = replace(spec, pixel_format="yuv420p10le")
    video, target = render(clip(spec), tmp_path, chroma_settings(6))
    assert (video.color.matrix, video.color.full_range) == (matrix, value_range == "pc")
    reader = FrameReader(video, FrameIndex.load(tmp_path / "index.json"), CPU)
    (source,) = reader.batches(0, 6, 6)
    painted = read_frames(target)
    for picture, original in zip(painted, source.rgb.permute(0, 2, 3, 1).numpy(), strict=True):
        opaque = picture[..., 3] == 255
        assert opaque.mean() > 0.3
        off = np.abs(picture[..., :3].astype(int) - original.astype(int))[opaque]
        assert off.mean() <= 2.5


@pytest.mark.parametrize("matrix", ["bt709", "smpte170m"])
@pytest.mark.parametrize("value_range", ["tv", "pc"])
def test_decoding_gives_the_colours_that_were_painted(
    matrix: str, value_range: str, clip: Callable[[ClipSpec], Path], tmp_path: Path
) -> None:
    from pipeline.source.video_info import read_video
    from tests.clips import EYE_COLOURS, GREEN, SQUARE

    spec = ClipSpec(f"{matrix}-{value_range}.mp4", X264, num_frames=6, color=(matrix, value_range))
    video = read_video(clip(spec), tmp_path / "index.json", "sbs")
    picture = FrameReader(video, FrameIndex.load(tmp_path / "index.json"), CPU).picture(3)
    bar = picture[:, 96 - 2 * SQUARE + 4 : 96 - SQUARE - 4, 2 * SQUARE : 8 * SQUARE]
    off = bar.flatten(1).float().mean(1) - torch.tensor(EYE_COLOURS[0])
    assert off.abs().max() <= 2.5
    screen = picture[:, 2:12, 2:180].flatten(1).float().mean(1) - torch.tensor(GREEN)
    assert screen.abs().max() <= 2.5
