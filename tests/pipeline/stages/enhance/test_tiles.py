"""Tiles: what comes out is what the whole picture would give, to the last bits of its floats.

These may differ, because kernels are chosen by the size of what they are given.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pipeline.stages.enhance.lanczos import Lanczos
from pipeline.stages.enhance.tiles import through, tiles
from tests.pipeline.stages.enhance.nets import network

pytestmark = pytest.mark.usefixtures("one_thread")


def in_tiles(picture: Tensor, net: torch.nn.Module, side: int, *, wraps: bool = False) -> Tensor:
    scale, radius = int(net.scale), int(net.radius)  # type: ignore[arg-type]
    height, width = picture.shape[2:]
    made = torch.full((1, 3, scale * height, scale * width), torch.nan)

    def put(part: Tensor, rows: slice, columns: slice) -> None:
        assert made[:, :, rows, columns].isnan().all()  # each once
        made[:, :, rows, columns] = part

    through(picture, net, put, scale=scale, radius=radius, side=side, wraps=wraps)
    assert not made.isnan().any()
    return made


@pytest.mark.parametrize("side", [7, 16, 33, 400])
@pytest.mark.parametrize("size", [(40, 52), (33, 31)])
def test_tiles_are_the_whole_picture(side: int, size: tuple[int, int]) -> None:
    net, picture = network(), torch.rand(1, 3, *size)
    made, whole = in_tiles(picture, net, side), net(picture)
    assert torch.allclose(made, whole, rtol=0, atol=1e-6)
    assert torch.equal((made * 255).round(), (whole * 255).round())


@pytest.mark.parametrize("side", [9, 64])
def test_a_picture_of_360_degrees_has_no_edge(side: int) -> None:
    """However it is turned, the same comes out, turned as far."""
    net, picture = network(), torch.rand(1, 3, 20, 30)
    made = in_tiles(picture, net, side, wraps=True)
    turned = in_tiles(picture.roll(11, -1), net, side, wraps=True)
    assert torch.allclose(turned, made.roll(22, -1), atol=1e-6)
    assert not torch.allclose(made, net(picture))


def test_no_tile_is_larger_than_asked_and_all_are_alike() -> None:
    for length in range(1, 120):
        parts = [t.columns.stop - t.columns.start for t in tiles(1, length, 32, 3)]
        assert sum(parts) == length
        assert max(parts) <= 32
        assert max(parts) - min(parts) <= 1


@pytest.mark.parametrize("scale", [2, 4])
def test_lanczos_keeps_flat_pictures_and_mirrors(scale: int) -> None:
    net = Lanczos(scale)
    flat = torch.full((1, 3, 9, 8), 0.37)
    assert torch.allclose(net(flat), torch.tensor(0.37), atol=1e-6)
    picture = torch.rand(1, 3, 9, 8)
    assert torch.allclose(net(picture.flip(-1)), net(picture).flip(-1), atol=1e-6)
    assert torch.allclose(net(picture.mT), net(picture).mT, atol=1e-6)
    ramp = torch.linspace(0, 1, 16).expand(1, 3, 5, 16)
    inner = slice(4 * scale, 12 * scale)
    steps = net(ramp)[..., inner].diff(dim=-1) * 15 * scale
    assert (steps - 1).abs().max() < 0.2
