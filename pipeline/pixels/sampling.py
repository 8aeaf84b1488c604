"""Shows pictures of one projection in another, by sampling grids on the device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.pixels.projection import Projection, SourceView

_STRIPS = 64  # a picture is worked on in; so many that rows far from a pole need not pay for it
_LEAST_ROWS = 32  # of a strip
_MAX_SAMPLES = 8  # along each axis of a pixel; only the last rows before a pole would need more
_MARGIN = 1  # pixels of the target around what the source shows: what interpolation may touch
_INNER = slice(_MARGIN, -_MARGIN)


def project(pictures: Tensor, source: SourceView, target: Projection, fill: float = 0.0) -> Tensor:
    """Show every picture, eye by eye, in another projection.

    Bilinear where the picture keeps its size or grows; where it shrinks, the mean over the pixel's
    footprint, so that fine detail becomes its mean and not moire (up to 8 times smaller). What
    `target` shows and `source` does not, and what is outside the target's circle, is `fill`; but an
    edge of the source inside the target is continued for a pixel, so that it can be read back
    whole. No value leaves the range of the source and `fill`.

    Args:
        pictures: ``[N, C, H, W]`` of the source's size, uint8 or floating, on any device. The first
            dimension may be eyes, frames or both.
        fill: in the units of `pictures`.

    Returns:
        ``[N, C, H', W']`` of the target's size, same dtype and device. uint8 is rounded to nearest.

    Raises:
        ValueError: shape or dtype do not fit.
    """
    if pictures.ndim != 4 or tuple(pictures.shape[2:]) != source.size:
        raise ValueError(
            f"need [N,C,{source.size[0]},{source.size[1]}], got {list(pictures.shape)}"
        )
    if pictures.dtype != torch.uint8 and not pictures.is_floating_point():
        raise ValueError(f"pictures must be uint8 or floating, got {pictures.dtype}")
    strips = sampling_grid(source, target, pictures.device)
    out = pictures.new_empty((*pictures.shape[:2], *target.size))
    for picture, shown in zip(pictures, out, strict=True):
        draw_eye(picture, source, strips, shown, fill)
    return out


def draw_eye(
    picture: Tensor,
    source: SourceView,
    strips: Sequence[GridStrip],
    shown: Tensor,
    fill: float = 0.0,
) -> None:
    """Show one picture ``[C, H, W]`` in `shown`, ``[C, H', W']``, by a grid made for the two.

    As `project`, which allocates what this fills.
    """
    if shown.dtype == torch.uint8:
        fill = round(fill)
    shown.fill_(fill)
    values = picture[None].float()  # one eye: as floats, a batch of 8K frames is gigabytes
    if source.wraps:
        values = F.pad(values, (1, 1, 0, 0), mode="circular")
    low, high = values.aminmax()
    for strip in strips:
        strip.keep_for_stream()
        # Weights add up to 1 but for rounding, and alpha must not be 1.0000001.
        sampled = strip.sample(values).clamp_(low, high).masked_fill_(strip.hidden, fill)
        if shown.dtype == torch.uint8:
            sampled = sampled.add_(0.5).clamp_(0, 255)  # the cast cuts off
        rows, columns = sampled.shape[1:]
        shown[:, strip.top : strip.top + rows, strip.left : strip.left + columns] = sampled


@dataclass(frozen=True, slots=True, eq=False)
class GridStrip:
    """Where some rows of the target, as far as they show anything, are found in the source.

    Always float32, whatever is sampled: half precision cannot tell 4096 columns apart.

    Attributes:
        top, left: first row and column.
        centre: ``[1, h, w, 2]``, as `grid_sample` counts without aligned corners: -1..1.
        across, down: same shape: the footprint of a pixel, from side to side and from top to
            bottom, less what the interpolation itself covers; None where that is all of it.
        samples: how many are taken (across, down).
        hidden: bool ``[h, w]``, no picture here.
    """

    top: int
    left: int
    centre: Tensor
    across: Tensor | None
    down: Tensor | None
    samples: tuple[int, int]
    hidden: Tensor

    def keep_for_stream(self) -> None:
        """Work of the current stream is going to read this: its memory must wait for that, too.

        On a GPU a grid made for one segment serves others, on their own streams.
        """
        if self.centre.is_cuda:
            stream = torch.cuda.current_stream(self.centre.device)
            for tensor in (self.centre, self.across, self.down, self.hidden):
                if tensor is not None:
                    tensor.record_stream(stream)

    def sample(self, values: Tensor) -> Tensor:
        """float32 ``[1, C, H, W]`` -> ``[C, h, w]``."""
        if self.across is None or self.down is None:
            return _sample(values, self.centre)
        total: Tensor | None = None
        for shift_down in _spread(self.samples[1]):
            row = self.centre + self.down * shift_down
            for shift_across in _spread(self.samples[0]):
                part = _sample(values, row + self.across * shift_across)
                total = part if total is None else total.add_(part)
        assert total is not None
        return total.div_(self.samples[0] * self.samples[1])


def _sample(values: Tensor, grid: Tensor) -> Tensor:
    return F.grid_sample(values, grid, "bilinear", "border", align_corners=False)[0]


def _spread(count: int) -> list[float]:
    """Middles of `count` equal parts of -1/2..1/2."""
    return [(i + 0.5) / count - 0.5 for i in range(count)]


@lru_cache(maxsize=4)
def sampling_grid(
    source: SourceView, target: Projection, device: torch.device
) -> tuple[GridStrip, ...]:
    """As `make_grid`; the last few stay on the device."""
    return make_grid(source, target, device)


def make_grid(
    source: SourceView, target: Projection, device: torch.device
) -> tuple[GridStrip, ...]:
    """The grid from one projection to another, top to bottom.

    About 9 bytes a pixel of the target, 25 in rows where the picture shrinks. Rows that show
    nothing have no strip.
    """
    height = target.size[0]
    rows = max(_LEAST_ROWS, -(-height // _STRIPS))
    with torch.inference_mode(False):  # it outlives whatever mode the first caller was in
        strips = (
            _build_strip(source, target, top, min(top + rows, height), device)
            for top in range(0, height, rows)
        )
        made = tuple(strip for strip in strips if strip is not None)
    if device.type == "cuda":  # who gets it next has another stream, which waits for nobody
        torch.cuda.current_stream(device).synchronize()
    return made


def _build_strip(
    source: SourceView, target: Projection, top: int, bottom: int, device: torch.device
) -> GridStrip | None:
    height, width = target.size
    # Some pixels more on every side, to look at neighbours; the picture's edge is its own
    # neighbour, as there is nothing beyond a pole.
    rows = torch.arange(top - _MARGIN, bottom + _MARGIN, device=device).clamp(0, height - 1)
    columns = torch.arange(-_MARGIN, width + _MARGIN, device=device).clamp(0, width - 1)
    v, u = torch.meshgrid(
        (rows.double() + 0.5) / height, (columns.double() + 0.5) / width, indexing="ij"
    )
    seen, shown = target.directions(u, v)
    position, found = source.positions(seen)
    found = F.max_pool2d(found.float()[None], 2 * _MARGIN + 1, stride=1)[0] > 0
    visible = shown[_INNER, _INNER] & found
    used = visible.any(dim=0).nonzero()
    if not len(used):
        return None
    left, right = int(used[0]), int(used[-1]) + 1
    shape = (bottom - top, right - left)
    visible = visible[:, left:right]

    def moved(down: int, across: int) -> Tensor:
        y, x = _MARGIN + down, _MARGIN + left + across
        return position[y : y + shape[0], x : x + shape[1]]

    wide = (columns[2:] - columns[:-2])[_MARGIN - 1 :][left : left + shape[1]]
    high = (rows[2:] - rows[:-2])[_MARGIN - 1 :][: shape[0]]
    across = _footprint(source, moved(0, -1), moved(0, 0), moved(0, 1), wide[None, :, None])
    down = _footprint(source, moved(-1, 0), moved(0, 0), moved(1, 0), high[:, None, None])
    samples = (_samples(across, source, visible), _samples(down, source, visible))
    centre = moved(0, 0)
    reach = torch.full_like(centre[..., 0], math.sqrt(2))  # of interpolation, in pixels
    if samples != (1, 1):
        reach += _in_pixels(across.abs() + down.abs(), source).norm(dim=-1) / 2
    centre = source.keep_inside(centre, reach)

    # `project` adds a column on either side of a picture that wraps.
    stretch = source.size[1] / (source.size[1] + 2) if source.wraps else 1.0
    scale = position.new_tensor([2 * stretch, 2.0])
    return GridStrip(
        top,
        left,
        ((centre - 0.5) * scale).float()[None],
        None if samples == (1, 1) else (across * scale).float()[None],
        None if samples == (1, 1) else (down * scale).float()[None],
        samples,
        ~visible,
    )


def _footprint(
    source: SourceView, before: Tensor, centre: Tensor, after: Tensor, apart: Tensor
) -> Tensor:
    """How far a pixel of the target reaches in the source, in (u, v).

    Interpolation already blurs by about one pixel of the source; of a footprint `length` pixels
    long the rest is ``sqrt(length^2 - 1)``, as variances of filters add. It grows from nothing
    where the picture begins to shrink, so there is no line at which sharpness jumps.

    Args:
        before, centre, after: ``[h, w, 2]``, positions of the pixel and of its two neighbours.
        apart: how many pixels they are apart in the target: 2, or 1 at its edges.
    """
    step = after - before
    if source.wraps:
        step[..., 0] -= step[..., 0].round()
    step /= apart.clamp_min(1)
    if source.tears:  # then one neighbour may be in quite another place of the picture
        one, other = centre - before, after - centre
        nearer = one.norm(dim=-1, keepdim=True) < other.norm(dim=-1, keepdim=True)
        step = torch.where(nearer, one, other)
    squared = _in_pixels(step, source).square().sum(-1, keepdim=True)
    return step * ((squared - 1).clamp_min(0) / squared.clamp_min(1e-12)).sqrt()


def _samples(reach: Tensor, source: SourceView, visible: Tensor) -> int:
    """How many samples cover the widest footprint, not more than a source pixel apart."""
    lengths = _in_pixels(reach, source).norm(dim=-1).masked_fill(~visible, 0)
    return min(max(1, math.ceil(float(lengths.max()) + 0.5)), _MAX_SAMPLES)


def _in_pixels(step: Tensor, source: SourceView) -> Tensor:
    return step * step.new_tensor([source.size[1], source.size[0]])
