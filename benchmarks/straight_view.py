"""Mattes a person in a box of an equirectangular eye, and through a rectilinear view of that box.

    python benchmarks/straight_view.py CLIP_LR_180.mp4 TRUTH.mkv [--pitch 0,30,50] [--frames 40]

CLIP and TRUTH as `benchmarks/composed.py` writes them, with square eyes, the person in the middle.
The left eye's sphere is turned by --pitch degrees, so that the person stands as far above or below
(in an equirectangular eye, bent). Both ways show the person to the network at the same size.
Printed are MAD (e-3), dtSSD (e-2) and IoU against the turned truth, over the whole eye.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import av
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.contract import MattingSettings, ProcessingSettings
from pipeline.pixels.batches import EyeBatch
from pipeline.pixels.projection import Equirectangular
from pipeline.stages.matting.rvm.base import RvmBase
from pipeline.stages.matting.rvm.load import load

CPU = torch.device("cpu")
#: Pixels of the person's longer side for the network, and what is left around, as boxes have it.
SEEN, MARGIN = 384, 0.1


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clip", type=Path)
    parser.add_argument("truth", type=Path)
    parser.add_argument("--pitch", default="0,30,50")
    parser.add_argument("--frames", type=int, default=40)
    asked = parser.parse_args()
    torch.set_num_threads(2)
    model = load(MattingSettings(model="rvm"), ProcessingSettings(engine="openvino"), CPU)
    assert isinstance(model, RvmBase)
    pictures, truth = read(asked.clip, asked.frames), read(asked.truth, asked.frames)[:, :1]
    for pitch in map(float, asked.pitch.split(",")):
        turned = turn(pictures, pitch), turn(truth, pitch) / 255
        for name, way in (("box", in_box), ("rectilinear", in_view)):
            alpha = way(model, *turned)
            print(f"{pitch:4.0f} degrees, {name:12s} {figures(alpha, turned[1])}", flush=True)


def read(path: Path, count: int) -> Tensor:
    """The left eye: float ``[T, 3, H, W]``, 0..255."""
    frames = []
    with av.open(str(path)) as file:
        for number, frame in enumerate(file.decode(video=0)):
            if number == count:
                break
            picture = frame.to_ndarray(format="rgb24")
            frames.append(torch.from_numpy(picture[:, : picture.shape[1] // 2].copy()))
    return torch.stack(frames).permute(0, 3, 1, 2).float()


def turn(pictures: Tensor, pitch: float) -> Tensor:
    """The same sphere, its middle so many degrees lower."""
    eye = Equirectangular(*pictures.shape[-2:])
    directions, _ = eye.directions(*centres(*eye.size))
    return seen(pictures, eye, directions @ about_x(-pitch).T)


def centres(height: int, width: int) -> tuple[Tensor, Tensor]:
    """(u, v) ``[H, W]`` of the middles of pixels."""
    v, u = torch.meshgrid(
        (torch.arange(height, dtype=torch.float64) + 0.5) / height,
        (torch.arange(width, dtype=torch.float64) + 0.5) / width,
        indexing="ij",
    )
    return u, v


def about_x(degrees: float) -> Tensor:
    """Rotation ``[3, 3]``: forward goes down (y is down)."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return torch.tensor([[1, 0, 0], [0, c, s], [0, -s, c]], dtype=torch.float64)


def seen(pictures: Tensor, eye: Equirectangular, directions: Tensor) -> Tensor:
    """What an equirectangular eye shows in those directions, ``[T, C, h, w]``; 0 elsewhere."""
    places, shown = eye.positions(directions)
    grid = (places * 2 - 1).float()[None].expand(len(pictures), -1, -1, -1)
    found = F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
    return found * shown


def in_box(model: RvmBase, pictures: Tensor, truth: Tensor) -> Tensor:
    """Alpha of the eye, by a box of it."""
    top, bottom, left, right = around(truth)
    alpha = torch.zeros_like(truth)
    box = pictures[..., top:bottom, left:right]
    alpha[..., top:bottom, left:right] = matted(model, box, truth[..., top:bottom, left:right])
    return alpha


def in_view(model: RvmBase, pictures: Tensor, truth: Tensor) -> Tensor:
    """Alpha of the eye, by a view of the box as a lens without distortion has it."""
    height, width = pictures.shape[-2:]
    eye = Equirectangular(height, width)
    top, bottom, left, right = around(truth)
    directions, _ = eye.directions(*centres(height, width))
    middle = directions[(top + bottom) // 2, (left + right) // 2]
    pitch, yaw = math.asin(float(middle[1])), math.atan2(float(middle[0]), float(middle[2]))
    c, s = math.cos(yaw), math.sin(yaw)
    about_y = torch.tensor([[c, 0, s], [0, 1, 0], [-s, 0, c]], dtype=torch.float64)
    to_eye = about_y @ about_x(math.degrees(pitch))
    ahead = directions @ to_eye  # of each pixel of the eye, in the view's own axes
    plane = ahead[..., :2] / ahead[..., 2:].clamp(min=1e-6)
    inside = (truth.amax(dim=(0, 1)) > 0.5) & (ahead[..., 2] > 0.1)
    first, last = plane[inside].amin(0), plane[inside].amax(0)
    more = MARGIN * float((last - first).max())
    first, last = first - more, last + more
    density = height / math.pi  # pixels of the view for a radian straight ahead
    columns, rows = (math.ceil(float(n) * density / 16) * 16 for n in last - first)
    u, v = centres(rows, columns)
    x, y = first[0] + u * (last - first)[0], first[1] + v * (last - first)[1]
    rays = torch.stack([x, y, torch.ones_like(x)], -1)
    rays = rays / rays.norm(dim=-1, keepdim=True) @ to_eye.T
    view, known = seen(pictures, eye, rays), seen(truth, eye, rays)
    found = matted(model, view, known)
    back = ((plane - first) / (last - first) * 2 - 1).float()[None].expand(len(found), -1, -1, -1)
    alpha = F.grid_sample(found, back, padding_mode="zeros", align_corners=False)
    return alpha * (ahead[..., 2] > 0.1)


def around(truth: Tensor) -> tuple[int, int, int, int]:
    """Top, bottom, left and right of a box around the person in all frames."""
    there = truth.amax(dim=(0, 1)) > 0.5
    rows, columns = (np.flatnonzero(there.any(1 - axis).numpy()) for axis in (0, 1))
    more = MARGIN * max(rows[-1] - rows[0], columns[-1] - columns[0])
    sides = []
    for found, most in ((rows, there.shape[0]), (columns, there.shape[1])):
        begin = max(0, int(found[0] - more) // 16 * 16)
        sides += [begin, min(most, -(-int(found[-1] + more) // 16) * 16)]
    return sides[0], sides[1], sides[2], sides[3]


def matted(model: RvmBase, pictures: Tensor, truth: Tensor) -> Tensor:
    """Alpha ``[T, 1, h, w]``, the person at SEEN pixels for the network, never enlarged."""
    there = truth[0, 0] > 0.5
    rows, columns = there.any(1).nonzero(), there.any(0).nonzero()
    longest = max(int(n[-1] - n[0]) + 1 for n in (rows, columns))
    state = model.start_box(1, *pictures.shape[-2:], min(1.0, SEEN / longest))
    rgb = pictures.round().clamp(0, 255).to(torch.uint8)
    # The first frames twice, as a segment's warm-up.
    rgb = torch.cat([rgb[:12].flip(0), rgb])
    alphas = [model.matte(EyeBatch(f[None, None], 0), state).alpha[0].float() for f in rgb]
    return torch.cat(alphas)[12:]


def figures(alpha: Tensor, truth: Tensor) -> str:
    off = (alpha - truth).abs().mean() * 1e3
    moved = (alpha.diff(dim=0) - truth.diff(dim=0)).square().mean(dim=(1, 2, 3)).sqrt().mean() * 1e2
    one, other = alpha > 0.5, truth > 0.5
    overlap = (one & other).sum() / (one | other).sum()
    return f"MAD {off:.3f}  dtSSD {moved:.3f}  IoU {overlap:.4f}"


if __name__ == "__main__":
    main()
