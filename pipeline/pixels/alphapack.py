"""Packs the mattes of both eyes into the corners of a fisheye picture, and unpacks them.

A frame is twice as wide as high and holds two square fisheye eyes side by side. Players (DeoVR,
HereSphere, 4XVR) look up the matte in the same frame, so one file plays with its background or
without. Knows nothing of how the eyes became fisheyes, and of encoders.

On the torus of the frame (its opposite edges joined) each eye's matte is a picture 0.4 times as
large as the eye, the left one around the middle of the upper edge, the right one around the
corner. Both centres are ``sqrt(1/2) H`` from the centres of the eyes, whose circles reach ``H/2``
and those of the mattes ``0.2 H``: between them stay 0.0071 H, 29 pixels at H = 4096. The squares
around the mattes would not fit: each matte is cut to its circle. Cut open at the frame's edges,
the two mattes are six tiles.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pipeline.pixels.color import YuvFormat, rgb_planes
from pipeline.pixels.eyes import join_eyes

SCALE = 0.4
"""Size of a packed matte, of the eye's."""

_GUARD = math.sqrt(0.5) - 0.5 - SCALE / 2  # between picture and matte, of the frame's height


def pack(rgb: Tensor, alpha: Tensor) -> Tensor:
    """Write the mattes into the corners of the picture.

    They are grey, equal in all three channels: players read red, and 4:2:0 keeps the resolution
    of brightness only. Half of the guard around them is black, so that no colour of the picture's
    corners bleeds into their rim.

    Args:
        rgb: uint8 or floating 0..1 ``[T, 3, H, 2H]``, two fisheye eyes, the left one on the left; H
            even.
        alpha: floating ``[T, 2, 1, H, H]``, 0..1, in the same projection, left eye first.

    Returns:
        ``[T, 3, H, 2H]`` of the same dtype; inside the two circles as `rgb`.

    Raises:
        ValueError: shapes or dtypes do not fit.
    """
    height = _check(rgb)
    if tuple(alpha.shape) != (len(rgb), 2, 1, height, height) or not alpha.is_floating_point():
        raise ValueError(
            f"alpha must be floating [{len(rgb)},2,1,{height},{height}], got {list(alpha.shape)}"
        )
    mattes, written = small_mattes(alpha, rgb.dtype)
    out = rgb.clone()
    for frame, of_eyes in zip(out, mattes, strict=True):
        for eye, tiles in enumerate(_tiles(height, len(written) // 2)):
            for in_frame, in_matte in tiles:
                place = frame[:, in_frame[0], in_frame[1]]
                place.copy_(torch.where(written[in_matte], of_eyes[eye][in_matte], place))
    return out


def small_mattes(alpha: Tensor, kind: torch.dtype) -> tuple[Tensor, Tensor]:
    """The mattes as they are packed, around their centres.

    Args:
        alpha: floating ``[T, 2, 1, H, H]``, 0..1.
        kind: uint8 (0..255) or a floating one (0..1).

    Returns:
        `kind` ``[T, 2, s, s]``, and bool ``[s, s]``, where they replace the picture; s is even.
    """
    height = alpha.shape[-1]
    half = _tile_half(height)
    distance = _distance_from_centre(half, alpha.device)
    # One pixel beyond the circle belongs to what interpolation reads on its rim.
    opaque = distance <= SCALE / 2 * height + 1
    mattes = torch.empty(*alpha.shape[:2], 2 * half, 2 * half, dtype=kind, device=alpha.device)
    for t, eyes in enumerate(alpha):
        for eye, matte in enumerate(eyes):
            small = _shrink(matte[0].float(), half)
            grey = small.clamp(0, 1) * opaque
            if kind == torch.uint8:
                grey = small.mul(255).add_(0.5).clamp_(0, 255).mul_(opaque)
            mattes[t, eye].copy_(grey)
    return mattes, distance <= (SCALE / 2 + _GUARD / 2) * height


def packed_planes(eyes: Tensor, alpha: Tensor, form: YuvFormat) -> Tensor:
    """Planar 4:2:0 (``yuv420p`` and its like) of packed pictures.

    Args:
        eyes: uint8 or floating 0..1 ``[T, 2, 3, H, H]``, two fisheyes; H even.
        alpha: floating ``[T, 2, 1, H, H]``, 0..1.

    Returns:
        uint8 ``[T, bytes of a frame]``.
    """
    height = eyes.shape[-1]
    samples = height * height * 3
    out = torch.empty(len(eyes), samples, dtype=form.kind, device=eyes.device)
    for t in range(len(eyes)):  # one frame at a time: at 8K a batch would be gigabytes
        packed = pack(join_eyes(eyes[t][None], "sbs"), alpha[t][None])[0]
        levels = packed.float()
        rgb_planes(levels.div_(255) if packed.dtype == torch.uint8 else levels, form, out[t])
    return out.view(torch.uint8)


def unpack(packed: Tensor, size: int | None = None) -> Tensor:
    """The mattes as a player sees them: looked up in the frame by its formula, bilinearly.

    For eye coordinates u, v in 0..1, v down, the left eye is read at ``x = 0.4 + 0.2 u`` and the
    right eye at ``x = (0.9 if u < 0.5 else 0) + 0.1 frac(2 u)``, both of 2H, and both at
    ``y = (0.8 if v < 0.5 else 0) + 0.2 frac(2 v)`` of H; the texture stops at its edges. Written
    without regard to how `pack` places its tiles, to be a check on it.

    Args:
        packed: uint8 ``[T, 3, H, 2H]``.
        size: rows and columns to read for each eye; the packed resolution, 0.4 H, if None.

    Returns:
        float32 ``[T, 2, 1, size, size]``, 0..1, left eye first; 0 outside the fisheye circle, where
        a player shows nothing.

    Raises:
        ValueError: shape or dtype do not fit.
    """
    if packed.dtype != torch.uint8:
        raise ValueError(f"packed must be uint8, got {packed.dtype}")
    height = _check(packed)
    size = packed_size(height) if size is None else size
    at = (torch.arange(size, device=packed.device, dtype=torch.float64) + 0.5) / size
    left = 0.4 + 0.2 * at
    folded = 0.2 * (2 * at).frac()
    first_half = (at < 0.5).double()
    down = 0.8 * first_half + folded
    right = 0.9 * first_half + folded / 2
    red = packed[:, 0]
    eyes = [_look_up(red, across * 2 * height, down * height) for across in (left, right)]
    middle = 2 * at - 1
    inside = torch.hypot(middle[:, None], middle) <= 1
    return torch.stack(eyes, 1).div_(255).mul_(inside)[:, :, None]


def packed_size(height: int) -> int:
    """Rows and columns of an eye's matte in a frame of that height, to the nearest."""
    return round(SCALE * height)


def _check(rgb: Tensor) -> int:
    """The height of a frame that is what it should be."""
    kind = rgb.dtype == torch.uint8 or rgb.is_floating_point()
    fits = kind and rgb.ndim == 4 and rgb.shape[1] == 3
    if not fits or rgb.shape[3] != 2 * rgb.shape[2] or rgb.shape[2] % 2 or not rgb.shape[2]:
        raise ValueError(f"need pictures [T,3,H,2H] with H even, got {rgb.dtype} {list(rgb.shape)}")
    return rgb.shape[2]


def _tile_half(height: int) -> int:
    """Pixels from the centre of a matte to the edge of the square that is worked on.

    The centres lie on corners of pixels whatever the height, and 0.2 H need not be whole: at
    H = 1024 a matte is 409.6 pixels wide. So tiles are counted from the centre outwards.
    """
    return math.ceil((SCALE / 2 + _GUARD / 2) * height)


def _distance_from_centre(half: int, device: torch.device) -> Tensor:
    """float64 ``[2 half, 2 half]``, in pixels."""
    offset = torch.arange(-half, half, device=device, dtype=torch.float64) + 0.5
    return torch.hypot(offset[:, None], offset)


_Place = tuple[slice, slice]


def _tiles(height: int, half: int) -> tuple[list[tuple[_Place, _Place]], ...]:
    """For each eye the places (rows, columns) in the frame and in the matte that belong together.

    The left matte lies across the upper and lower edge: two tiles. The right one lies across all
    four edges: a tile in every corner.
    """
    width = 2 * height
    first, second, whole = slice(0, half), slice(half, 2 * half), slice(0, 2 * half)
    rows = [(slice(height - half, height), first), (slice(0, half), second)]
    middle = [(slice(width // 2 - half, width // 2 + half), whole)]
    edges = [(slice(width - half, width), first), (slice(0, half), second)]
    return tuple(
        [((row, column), (of_row, of_column)) for row, of_row in rows for column, of_column in way]
        for way in (middle, edges)
    )


def _shrink(matte: Tensor, half: int) -> Tensor:
    """``[H, H] -> [2 half, 2 half]`` around its centre, each pixel the mean of what it covers."""
    size = matte.shape[0]
    index, weight = _coverage(size, half, matte.device)
    rows = _sum_taps(matte, index, weight)
    return _sum_taps(rows.T, index, weight).T


def _sum_taps(matte: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """Weighted sums of rows: ``[H, W]``, ``[K, h]``, ``[K, h]`` -> ``[h, W]``."""
    total = matte[index[0]] * weight[0][:, None]
    for rows, share in zip(index[1:], weight[1:], strict=True):
        total.addcmul_(matte[rows], share[:, None])
    return total


def _coverage(size: int, half: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Which pixels of the eye a pixel of its small matte covers, and how much of it each fills.

    Returns:
        int64 and float32 ``[4, 2 half]``: 2.5 pixels touch at most four. What lies beyond the eye
        counts as its outermost pixel.
    """
    step = 1 / SCALE
    offset = torch.arange(-half, half, device=device, dtype=torch.float64)
    begin = offset * step + size / 2
    first = begin.floor()
    tap = first + torch.arange(4, device=device, dtype=torch.float64)[:, None]
    covered = (torch.minimum(tap + 1, begin + step) - torch.maximum(tap, begin)).clamp_min(0)
    return tap.clamp(0, size - 1).long(), (covered / step).float()


def _look_up(plane: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Bilinear texture look-up: ``[T, H, W]`` at pixel coordinates ``[w]``, ``[h]`` -> floats."""
    rows = _between(plane, y, 1)
    return _between(rows, x, 2)


def _between(planes: Tensor, at: Tensor, axis: int) -> Tensor:
    last = planes.shape[axis] - 1
    low = (at - 0.5).floor()
    shape = (1, -1, 1) if axis == 1 else (1, 1, -1)
    share = (at - 0.5 - low).float().view(shape)
    before = planes.index_select(axis, low.clamp(0, last).long()).float()
    after = planes.index_select(axis, (low + 1).clamp(0, last).long()).float()
    return torch.lerp(before, after, share)
