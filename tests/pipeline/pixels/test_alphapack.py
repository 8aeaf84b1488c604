"""Alphapack: what a player looks up is the matte, and the picture stays whole."""

from __future__ import annotations

import subprocess

import cv2
import imageio_ffmpeg
import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.pixels.alphapack import pack, packed_size, unpack
from tests.pipeline.spheres import circle

# 2048x1024 to 8192x4096, and smaller; 0.4 of 512, 1024, 2048 and 4096 is not whole.
HEIGHTS = [10, 64, 250, 512, 1024, 2048]
LARGE = [pytest.param(height, marks=pytest.mark.slow) for height in (2880, 4096)]


def mattes(height: int) -> Tensor:
    """float16 ``[4, 2, 1, H, H]``: letters, gradients, boards and all; each eye its own."""
    ramp = (torch.arange(height) + 0.5) / height
    across, down = ramp.expand(height, height), ramp[:, None].expand(height, height)
    cell = max(1, height // 8)
    board = ((torch.arange(height)[:, None] // cell + torch.arange(height) // cell) % 2).float()
    ones = torch.ones(height, height)
    pairs = [
        (letter("L", height), letter("R", height)),
        (across, down * (1 - across)),
        (board, 1 - board),
        (ones, ones * 0.5),
    ]
    return torch.stack([torch.stack(pair) for pair in pairs])[:, :, None].half()


def letter(text: str, height: int) -> Tensor:
    """A letter that is no mirror image of itself, across nearly all of the circle."""
    canvas = np.zeros((512, 512), np.uint8)
    cv2.putText(canvas, text, (80, 450), cv2.FONT_HERSHEY_SIMPLEX, 17, 255, 50, cv2.LINE_AA)
    scaled = cv2.resize(canvas, (height, height), interpolation=cv2.INTER_AREA)
    return torch.from_numpy(scaled).float() / 255


def noise(frames: int, height: int) -> Tensor:
    draw = torch.Generator().manual_seed(height)
    return torch.randint(0, 256, (frames, 3, height, 2 * height), dtype=torch.uint8, generator=draw)


def range_around(matte: Tensor, size: int, reach: int) -> tuple[Tensor, Tensor]:
    """Least and greatest value within `reach` pixels of the points that `size` pixels look at."""
    height = matte.shape[-1]
    planes = matte.flatten(0, 2)[:, None].float()
    padded = torch.nn.functional.pad(planes, (reach,) * 4, mode="replicate")
    window = 2 * reach + 1
    high = torch.nn.functional.max_pool2d(padded, window, stride=1)
    low = -torch.nn.functional.max_pool2d(-padded, window, stride=1)
    at = ((torch.arange(size) + 0.5) / size * height).long()
    shape = (*matte.shape[:3], size, size)
    return low[..., at, :][..., at].view(shape), high[..., at, :][..., at].view(shape)


@pytest.mark.parametrize("height", [*HEIGHTS, *LARGE])
def test_a_player_finds_every_matte(height: int) -> None:
    """No point of the circle has a value that the matte has not within a packed pixel of it."""
    painted = mattes(height)
    if height > 512:
        painted = painted[:1]  # the letters tell the most
    seen = unpack(pack(noise(len(painted), height), painted))
    size = packed_size(height)
    assert seen.shape == (len(painted), 2, 1, size, size)
    # Interpolation reads one packed pixel away, which is the mean of 2.5 pixels of the eye; the
    # half pixel that a texture is held at its edges counts too.
    low, high = range_around(painted, size, reach=5)
    inside = circle((size, size))
    wrong = (seen < low - 0.003) | (seen > high + 0.003)
    assert int((wrong & inside).sum()) == 0
    assert float(seen[..., ~inside].abs().sum()) == 0


@pytest.mark.parametrize("height", [250, 1024])
def test_smooth_mattes_come_back_as_they_are(height: int) -> None:
    painted = mattes(height)[1:2]
    seen = unpack(pack(noise(1, height), painted))[0, :, 0]
    size = packed_size(height)
    ramp = (torch.arange(size) + 0.5) / size
    truth = torch.stack([ramp.expand(size, size), ramp[:, None] * (1 - ramp)])
    error = (seen - truth).abs()[:, circle((size, size))]
    # 8 bits, and half a packed pixel where the frame's edge cuts through the matte.
    assert float(error.max()) <= 0.5 / 255 + 0.5 / size + 1e-4
    assert float(error.mean()) <= 0.3 / 255


@pytest.mark.parametrize("height", [2, 6, *HEIGHTS, *LARGE])
def test_no_pixel_of_the_picture_is_overwritten(height: int) -> None:
    picture = noise(1, height)
    packed = pack(picture, torch.full((1, 2, 1, height, height), 0.5).half())
    both = circle((height, height)).repeat(1, 2)
    assert torch.equal(packed[..., both], picture[..., both])
    if height >= 64:
        changed = (packed != picture).any(dim=1)[0]
        # Nor within a third of the guard: 10 of 29 pixels at 4096.
        near = circle((height, height), less=-height * 29 / 4096 / 3).repeat(1, 2)
        assert not bool((changed & near).any())
        assert 0.11 <= float(changed.sum()) / height**2 / 2 <= 0.14  # two discs of pi 0.04 H^2


@pytest.mark.parametrize("height", [64, 250, 1024])
def test_left_and_right_are_not_swapped(height: int) -> None:
    one, none = torch.ones(1, height, height), torch.zeros(1, height, height)
    seen = unpack(pack(noise(2, height), torch.stack([torch.stack([one, none])] * 2)))
    inside = circle((packed_size(height),) * 2)
    assert float(seen[:, 0, 0, inside].min()) >= 1 - 1e-6
    assert float(seen[:, 1, 0, inside].max()) <= 1e-6


def test_the_six_tiles_lie_where_players_look() -> None:
    """Read off the frame itself: tenths of W across, of H down, by the published layout."""
    height = 1000
    alpha = torch.zeros(1, 2, 1, height, height)
    quarters = [0.2, 0.4, 0.6, 0.8]  # top left, top right, bottom left, bottom right
    for eye, scale in enumerate((1.0, 0.5)):
        for i, value in enumerate(quarters):
            rows, columns = slice((i // 2) * 500, (i // 2) * 500 + 500), slice((i % 2) * 500, None)
            alpha[0, eye, 0, rows, columns] = value * scale
    frame = pack(torch.zeros(1, 3, height, 2 * height, dtype=torch.uint8), alpha)[0, 0]

    def at(x: float, y: float) -> float:
        return round(int(frame[int(y * height), int(x * 2 * height)]) / 255, 2)

    assert [at(0.47, 0.9), at(0.53, 0.9)] == [0.2, 0.4]  # left eye, top half: at the bottom
    assert [at(0.47, 0.1), at(0.53, 0.1)] == [0.6, 0.8]
    assert [at(0.95, 0.9), at(0.05, 0.9)] == [0.1, 0.2]  # right eye: each quarter in a corner
    assert [at(0.95, 0.1), at(0.05, 0.1)] == [0.3, 0.4]


def test_mattes_are_grey() -> None:
    height = 512
    packed = pack(torch.zeros(4, 3, height, 2 * height, dtype=torch.uint8), mattes(height))
    assert int(packed.max()) == 255
    assert torch.equal(packed[:, 0], packed[:, 1])
    assert torch.equal(packed[:, 0], packed[:, 2])


@pytest.mark.parametrize(
    ("encoder", "height"),
    [
        (["-c:v", "libx264", "-crf", "18"], 512),
        (["-c:v", "libx265", "-crf", "20", "-x265-params", "log-level=error"], 512),
        (["-c:v", "libx264", "-crf", "18"], 1024),
    ],
)
def test_the_matte_survives_the_codec(encoder: list[str], height: int) -> None:
    """Mean error at most 0.01 after 4:2:0, beside a picture in strong colours."""
    alpha = mattes(height)
    alpha[2] = torch.nn.functional.avg_pool2d(alpha[2].float(), 9, 1, 4).half()
    both = circle((height, height)).repeat(1, 2)
    stripes = torch.arange(2 * height) // (height // 8) % 3
    colours = torch.eye(3)[stripes].T[:, None].expand(3, height, 2 * height) * 200
    picture = (colours * both).to(torch.uint8).expand(4, -1, -1, -1)
    packed = pack(picture, alpha)
    seen = unpack(through(encoder, packed))
    inside = circle((packed_size(height),) * 2)
    error = (seen - unpack(packed)).abs()[..., inside]
    assert float(error.mean(dim=-1).max()) <= 0.01


def through(encoder: list[str], frames: Tensor) -> Tensor:
    """Encode in BT.709 4:2:0 and decode again: uint8 ``[T, 3, H, W]`` both ways."""
    count, _, height, width = frames.shape
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"]
    tool = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error"]
    file = subprocess.run(
        [
            *(*tool, *raw, "-i", "-", "-vf", "scale=out_color_matrix=bt709:out_range=limited"),
            *("-pix_fmt", "yuv420p", *encoder, "-threads", "1", "-f", "matroska", "-"),
        ],
        input=frames.permute(0, 2, 3, 1).contiguous().numpy().tobytes(),
        capture_output=True,
        check=True,
    ).stdout
    back = subprocess.run(
        [*tool, "-i", "-", "-vf", "scale=in_color_matrix=bt709:in_range=limited", *raw, "-"],
        input=file,
        capture_output=True,
        check=True,
    ).stdout
    pixels = torch.from_numpy(np.frombuffer(back, np.uint8).copy())
    return pixels.view(count, height, width, 3).permute(0, 3, 1, 2)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="H even"):
        pack(torch.zeros(1, 3, 5, 10, dtype=torch.uint8), torch.zeros(1, 2, 1, 5, 5))
    with pytest.raises(ValueError, match="H even"):
        unpack(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"alpha must be floating \[1,2,1,8,8\]"):
        pack(torch.zeros(1, 3, 8, 16, dtype=torch.uint8), torch.zeros(1, 2, 1, 4, 4))
