"""An eye that is keyed by tiles: the same as at once, whatever their size and however many go."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pipeline.pixels.batches import EyeBatch, MatteBatch
from pipeline.stages.matting import chroma
from tests.pipeline.demo_truth import Clip
from tests.pipeline.stages.matting.test_chroma import CPU, key, painted

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def clip() -> Clip:
    return painted((0.15, 0.7, 0.25), (0.6, 0.5, 0.6))


@pytest.fixture(scope="module")
def whole(clip: Clip) -> MatteBatch:
    return keyed(clip)


def keyed(clip: Clip) -> MatteBatch:
    model = key()
    state = model.start(clip.eyes, clip.height, clip.width, model.prepare(clip))
    return model.matte(EyeBatch(clip.rgb, 0), state)


def shown(matte: MatteBatch) -> tuple[Tensor, Tensor]:
    """Alpha, and the colours that anybody sees: where alpha is 0 they may be anything."""
    assert matte.foreground is not None
    return matte.alpha, matte.foreground * (matte.alpha > 0)


@pytest.mark.parametrize("tile", [(32, 1000), (1000, 48), (40, 40), (64, 100)])
@pytest.mark.parametrize("at_once", [1, 3])
def test_tiles_alter_nothing(
    tile: tuple[int, int],
    at_once: int,
    clip: Clip,
    whole: MatteBatch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chroma, "_WHOLE_PIXELS", 1)
    monkeypatch.setattr(chroma, "_TILE", tile)
    monkeypatch.setattr(chroma, "_TILES_AT_ONCE", at_once)
    assert all(map(torch.equal, shown(whole), shown(keyed(clip))))


@pytest.mark.parametrize("rows", [32, 60])
def test_bands_of_rows_alter_nothing(
    rows: int, clip: Clip, whole: MatteBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU, and of eyes whose width no cells fill."""
    monkeypatch.setattr(chroma, "_tile_size", lambda *args: (rows, clip.width))
    assert all(map(torch.equal, shown(whole), shown(keyed(clip))))


def test_large_eyes_keep_their_colours_in_half_the_room(
    clip: Clip, whole: MatteBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chroma, "_LARGE_PIXELS", 1)
    large = keyed(clip)
    assert torch.equal(large.alpha, whole.alpha)
    assert large.foreground is not None
    assert large.foreground.dtype == torch.float16
    off = shown(large)[1].float() - shown(whole)[1]
    assert off.abs().max() <= 2**-12


def test_tiles_are_alike_and_of_whole_cells() -> None:
    assert chroma._tile_size(4096, 4096, CPU) == (512, 512)
    assert chroma._tile_size(960, 960, CPU) == (960, 960)
    assert chroma._tile_size(2880, 2880, CPU) == (480, 480)
    assert chroma._tile_size(2000, 2002, CPU)[1] == 2002
    assert chroma._tile_size(4096, 4096, torch.device("cuda")) == (256, 4096)


def test_what_a_tile_raises_comes_out(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: object) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(chroma, "_WHOLE_PIXELS", 1)
    monkeypatch.setattr(chroma, "_TILE", (32, 48))
    monkeypatch.setattr(chroma, "_key_tile", fails)
    with pytest.raises(MemoryError, match="no room"):
        keyed(clip)
