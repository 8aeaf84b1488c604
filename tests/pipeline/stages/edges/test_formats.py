"""The stage `edges` in its chain, and what formats make of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pipeline.contract import EdgeSettings, EyeShape, KeepOut, MattingSettings, VideoSettings
from pipeline.deliverables.base import make_deliverable
from pipeline.deliverables.formats import FORMATS
from pipeline.pixels.alphapack import unpack
from pipeline.pixels.batches import EyeBatch
from pipeline.pixels.layers import Layers
from pipeline.stages.chain import Chain
from tests.clips import EYE_COLOURS, paint
from tests.orchestrator.snapshots import video_info
from tests.pipeline.demo_truth import Clip
from tests.render import CPU

WIDTH, HEIGHT, FRAMES = 192, 96, 7
#: In the middle of the coloured bar, of the left eye, and of the squares of both.
BAR, SQUARES = (64, HEIGHT - 32, 120, HEIGHT - 1), (30, 10, 100, 50)

pytestmark = pytest.mark.usefixtures("one_thread")


def region(box: tuple[int, int, int, int], eye: str) -> KeepOut:
    left, top, right, bottom = box
    corners = ((left, top), (right, top), (right, bottom), (left, bottom))
    return KeepOut(eye=eye, points=corners)  # type: ignore[arg-type]


EDGES = EdgeSettings(
    choke=-1.5,
    feather=2,
    gamma=1.2,
    despill=0.5,
    keep_out=(region(BAR, "left"), region(SQUARES, "both")),
)


@cache
def pictures() -> Tensor:
    """uint8 ``[T, 2, 3, H, W]``: painted, on green."""
    eyes = [[paint(t, eye, WIDTH, HEIGHT) for eye in (0, 1)] for t in range(FRAMES)]
    shown = torch.stack([torch.stack([torch.from_numpy(p) for p in pair]) for pair in eyes])
    return shown.permute(0, 1, 4, 2, 3).contiguous()


def made(edges: EdgeSettings, cuts: tuple[int, ...], chunk: int) -> tuple[Tensor, Tensor]:
    """Alpha and foreground of all frames, by segments and chunks."""
    rgb = pictures()
    chain = Chain.of(VideoSettings(matting=MattingSettings(model="chroma", edges=edges)), CPU)
    shape = EyeShape(2, HEIGHT, WIDTH, "equirect180", video_info(Path(__file__)).frame_rate)
    prepared = chain.prepare(Clip(rgb))
    parts: list[Layers] = []
    for start, stop in pairwise((0, *cuts, FRAMES)):
        begin, end = chain.span(start, stop, FRAMES)

        def batches(begin: int = begin, end: int = end) -> Iterator[EyeBatch]:
            for first in range(begin, end, chunk):
                yield EyeBatch(rgb[first : min(end, first + chunk)], first)

        parts += chain.start(shape, prepared).layers(batches(), start, stop)
    foregrounds = [part.foreground for part in parts if part.foreground is not None]
    return torch.cat([part.matte.alpha for part in parts]), torch.cat(foregrounds)


def test_any_segmentation_and_chunk_gives_the_same() -> None:
    whole = made(EDGES, (), FRAMES)
    assert not torch.equal(whole[0], made(EdgeSettings(), (), FRAMES)[0]), "it does something"
    for cuts, chunk in (((3,), 1), ((1, 2, 5), 2)):
        for found, expected in zip(made(EDGES, cuts, chunk), whole, strict=True):
            assert torch.equal(found, expected), (cuts, chunk)


def test_a_grown_edge_of_a_screen_has_the_subject_s_colour() -> None:
    alpha, foreground = made(EdgeSettings(choke=-3), (), FRAMES)
    before, _ = made(EdgeSettings(), (), FRAMES)
    for eye, colour in enumerate(EYE_COLOURS):
        rows = slice(HEIGHT - 36, HEIGHT - 10)  # of the bar
        gained = (alpha - before)[:, eye, 0, rows, 40:150] > 0.5
        assert int(gained.sum()) > FRAMES * 110 * 3
        off = foreground[:, eye, :, rows, 40:150] * 255 - torch.tensor(colour).view(1, 3, 1, 1)
        assert float(off.abs().amax(dim=1)[gained].max()) < 30


def alphas(name: str, planes: Tensor) -> Tensor:
    """Alpha ``[H, 2 W]`` of what a format's encoder is given of one frame, 0 for nothing."""
    pixels, picture = 2 * WIDTH * HEIGHT, (HEIGHT, 2 * WIDTH)
    if name in ("webm", "hevc-alpha"):
        return planes[0, pixels * 3 // 2 :].reshape(picture)
    if name == "matte":
        return planes[0, :pixels].reshape(picture).int() - 16
    if name == "prores":
        return planes.view(torch.int16)[0, 3 * pixels :].reshape(picture)
    assert name == "tiff", "a format of which this test does not know where its alpha is"
    return planes.view(picture)


#: Of which a part can be kept out: `video` shows all of a picture.
CUT_OUT = [name for name, row in FORMATS.built_in.items() if "alpha" in row.needs]


@pytest.mark.parametrize("name", CUT_OUT)
def test_what_is_kept_out_is_exactly_nothing_in_every_format(name: str) -> None:
    settings = VideoSettings(matting=MattingSettings(model="chroma", edges=EDGES))
    video = replace(video_info(Path(__file__)), width=2 * WIDTH, height=HEIGHT)
    rgb = torch.full((1, 2, 3, HEIGHT, WIDTH), 200, dtype=torch.uint8)
    stage = next(each for each in Chain.of(settings, CPU).stages if each.name == "edges")
    state = stage.start(video.eye_shape, stage.prepare(Clip(rgb)))
    layers = stage.run(Layers(0, rgb, torch.ones(1, 2, 1, HEIGHT, WIDTH)), state)
    assert layers is not None
    out = torch.zeros(HEIGHT, 2 * WIDTH, dtype=torch.bool)
    for (left, top, right, bottom), eyes in ((BAR, (0,)), (SQUARES, (0, 1))):
        for eye in eyes:
            out[top : bottom + 1, eye * WIDTH + left : eye * WIDTH + right + 1] = True
    planes = make_deliverable(name, video, settings).planes(layers)
    if name == "greenscreen":
        luma = planes[0, : out.numel()].view(out.shape)
        assert len(set(luma[out].tolist())) == 1
        assert luma[out][0] not in luma[~out]
    elif name == "alphapack":
        height = FORMATS[name].picture(video).height
        luma = planes[0, : 2 * height * height].view(1, 1, height, 2 * height).int()
        grey = (luma - 16).clamp(min=0).to(torch.uint8).expand(-1, 3, -1, -1)
        shown = unpack(grey)[0, :, 0]
        # Resampled: looked at is the middle of the regions of both eyes.
        side = shown.shape[-1]
        assert not shown[:, side * 4 // 10, side * 4 // 10].any()
        assert bool((shown[:, side * 6 // 10, side * 8 // 10] > 0.8).all())
    else:
        alpha = alphas(name, planes)
        assert not alpha[out].any()
        assert bool((alpha[~out] > 0).all())
