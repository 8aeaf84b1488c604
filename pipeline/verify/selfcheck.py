"""Checks a segment: decodes sampled frames again and compares them with the stages' own.

It begins at the frames and mattes themselves, not at the planes that were made of them: a wrong
matrix, exchanged eyes and a lost alpha are found, whichever step they happened in. What is found of
a segment holds for the joined file, which has the very same coded pictures (see `movie.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.contract import Layout, VideoInfo, VideoSettings
from pipeline.encode.keyframes import keyframe_interval
from pipeline.pixels.color import YuvFormat, knows_matrix, yuv_to_rgb
from pipeline.pixels.eyes import split
from pipeline.pixels.labels import object_labels
from pipeline.pixels.layers import Layers
from pipeline.pixels.planes import frame_planes
from pipeline.source.picture.color_tags import color_tags

#: One frame out of so many seconds is decoded again; a keyframe, so that no others are.
_SAMPLE_S = 10.0

# Along a side of an eye: cells at most, and pixels of a cell at least. A sample is fine, so that it
# may be projected. Compared are coarser cells: noise of the encoder averages out in them, a wrong
# picture does not.
_FINE, _LEAST_FINE = 128, 2
_COARSE, _LEAST_COARSE = 32, 16


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One frame in few numbers: means over a grid of each eye, float32 on the host.

    Attributes:
        frame: its number in the segment.
        picture: ``[E, 3, h, w]``, 0..1, of the source.
        subject: ``[E, 3, h, w]``, 0..1, the subject's colour times alpha.
        alpha: ``[E, 1, h, w]``, 0..1.
        empty: ``[E]``, the share of pixels that are background and nothing else.
        labels: ``[E, 1, h, w]``, 0..1, means of `pipeline.pixels.labels.object_labels` over
        255.
    """

    frame: int
    picture: Tensor
    subject: Tensor
    alpha: Tensor
    empty: Tensor
    labels: Tensor


def sample_every(video: VideoInfo, settings: VideoSettings) -> int:
    """How many frames lie between two samples of a segment; its first frame is one."""
    interval = keyframe_interval(video, settings)
    return interval * max(1, round(_SAMPLE_S / settings.encoding.keyframe_s))


def take_sample(layers: Layers, t: int, number: int) -> Sample:
    """Of frame `t` of a batch, which is frame `number` of its segment."""
    picture = layers.rgb[t]
    if layers.alpha is None:
        return _opaque(picture, number)
    matte = layers.matte
    alpha = matte.alpha[t]
    subject = picture if matte.foreground is None else matte.foreground[t]
    return Sample(
        number,
        grid(picture).cpu(),
        grid(subject, alpha).cpu(),
        grid(alpha).cpu(),
        # What rounds to 0 of 255 is shown as background.
        (alpha < 0.5 / 255).flatten(1).float().mean(dim=1).cpu(),
        grid(object_labels(matte, t)).cpu(),
    )


def _opaque(picture: Tensor, number: int) -> Sample:
    """Of a frame of which nothing is cut out."""
    whole = grid(picture).cpu()
    one = torch.ones_like(whole[:, :1])
    return Sample(number, whole, whole, one, torch.zeros(len(whole)), one / 255)


def grid(eyes: Tensor, weight: Tensor | None = None, size: tuple[int, int] | None = None) -> Tensor:
    """Means over a grid: ``[E, C, H, W]``, uint8 or 0..1, -> float32 ``[E, C, h, w]``, 0..1.

    Args:
        weight: floating ``[E, 1, H, W]``, multiplied by first.
        size: (h, w); by the eye's size if None.
    """
    size = size or grid_size(eyes.shape[2], eyes.shape[3])
    scale = 1 / 255 if eyes.dtype == torch.uint8 else 1.0
    out = torch.empty(*eyes.shape[:2], *size, device=eyes.device)
    for e, eye in enumerate(eyes):
        for c, channel in enumerate(eye):  # one at a time: at 8K a frame of floats is 400 MB
            values = channel.float() * scale
            if weight is not None:
                values = values * weight[e, 0].float()
            out[e, c] = F.adaptive_avg_pool2d(values[None, None], size)[0, 0]
    return out


def grid_size(height: int, width: int) -> tuple[int, int]:
    """(h, w) of the grid of an eye of that size."""
    rows, columns = (max(1, min(_FINE, side // _LEAST_FINE)) for side in (height, width))
    return rows, columns


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """A picture as a player shows it.

    Attributes:
        rgb: uint8 ``[E, 3, H, W]``, by the tags that the file has, eye by eye.
        alpha: float32 ``[E, 1, H, W]``, 0..1; None where the file has none.
    """

    rgb: Tensor
    alpha: Tensor | None


def shown_picture(frame: Any, layout: Layout, right_first: bool) -> Decoded:
    """A frame that PyAV decoded, planar YUV with or without alpha.

    Raises:
        ValueError: it has no colour matrix that is known, or another form.
    """
    tags = color_tags(frame)
    if not knows_matrix(tags.matrix):
        raise ValueError(f"its colours are tagged {tags.matrix}")
    planes = frame_planes(frame)
    if len(planes) not in (3, 4):
        raise ValueError(f"it has {frame.format.name} pictures")
    depth = frame.format.components[0].bits
    y, u, v, *rest = planes
    picture = torch.empty(1, 3, *y.shape, dtype=torch.uint8)
    yuv_to_rgb((y, u, v), YuvFormat(tags.matrix, tags.full_range, depth), picture[0])
    rgb = split(picture, layout, right_first)[0]
    if not rest:
        return Decoded(rgb, None)
    alpha = rest[0].float() * (1 / (2**depth - 1))
    return Decoded(rgb, split(alpha[None, None], layout, right_first)[0])


#: Mean difference of the cells of a channel of one eye, of full scale. Colours at the worst quality
#: settings come to 0.04, alpha to 0.01; another matrix, range or picture is worse.
_COLOUR_TOLERANCE = 0.05
_ALPHA_TOLERANCE = 0.02

#: Two eyes that differ less than this are the same to everybody.
_SAME = 0.002


def difference(expected: Tensor, found: Tensor, channels: tuple[str, ...]) -> str | None:
    """What of the grids ``[E, C, h, w]`` is too far off, in words; None if nothing is."""
    if expected.shape != found.shape:
        return f"pictures of {list(found.shape)} cells instead of {list(expected.shape)}"
    fine = _LEAST_FINE * expected.shape[2], _LEAST_FINE * expected.shape[3]
    rows, columns = (max(1, min(_COARSE, side // _LEAST_COARSE)) for side in fine)
    off, exchanged = (
        F.adaptive_avg_pool2d(given - found, (rows, columns)).abs().mean(dim=(2, 3))
        for given in (expected, expected.flip(0))
    )
    for eye, channel in (off > tolerance_of(channels)).nonzero().tolist():
        where = "" if len(off) == 1 else f" in the {('left', 'right')[eye]} eye"
        return f"{channels[channel]} off by {float(off[eye, channel]):.3f} on average{where}"
    if float(exchanged.mean()) < float(off.mean()) / 2 and float(off.mean()) > _SAME:
        return "the left eye for the right one"
    return None


def tolerance_of(channels: tuple[str, ...]) -> Tensor:
    """``[C]``: how far each may be off."""
    return torch.tensor([_ALPHA_TOLERANCE if c == "alpha" else _COLOUR_TOLERANCE for c in channels])
