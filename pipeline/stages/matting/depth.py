"""The `depth` model: whatever stands nearer than the rest, by the parallax of the two eyes.

Needs no weights, only a stereo video. For each frame:

1. Both eyes, grey and reduced, are matched left to right and right to left by semi-global
   matching (Hirschmueller, "Stereo Processing by Semiglobal Matching and Mutual Information",
   PAMI 30(2), 2008; OpenCV's StereoSGBM, Birchfield-Tomasi cost). Where the two do not agree,
   one eye sees what the other does not: that is background, and takes the farther neighbour's.
2. A histogram of the disparities, of this frame and fading ones before it, is split in two (Otsu,
   "A Threshold Selection Method from Gray-Level Histograms", SMC 9(1), 1979), and the split is
   moved to the valley between the layers. Without a valley nothing stands nearer: alpha is 0.
3. A guided filter (He, Sun, Tang, PAMI 35(6), 2013) at full size takes that coarse matte to the
   picture's edges; alpha at the edge itself is solved from the colours on either side of it.

Limits. The eyes must be level and as sharp and bright as each other. Disparity is searched along
rows, which in an equirectangular picture is true near its middle; towards its upper and lower edge
and at more than about 60 degrees to the side the disparity shrinks and turns vertical, and the
subject melts into the background. What touches the subject at the same distance (the floor at its
feet, a chair, a table before it) belongs to it, and of two people the farther may be cut. A gap
that is narrower than its own parallax, as between arm and body, is filled. Smooth walls
and mirrors have no disparity: a plain backdrop that fills half of the picture counts as far, but
not where the subject encloses it. The subject should fill some hundredths of the eye, nearer than
about 15 times the distance between the lenses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pipeline.contract import MattingSettings, ProcessingSettings
from pipeline.errors import InputError
from pipeline.pixels.batches import EyeBatch, MatteBatch
from pipeline.pixels.guided_filter import guided_filter
from pipeline.stages.matting.base import ClipSampler, Prepared
from pipeline.stages.matting.known_background import erode, nearby_subject, project_alpha, unmix

Fixed = NDArray[np.int16]  # disparities in sixteenths of a pixel
Mask = NDArray[np.bool_]

_MATCH_SIDE = 512  # eyes are matched at this size
#: Disparities searched, in pixels of a picture that is _MATCH_SIDE wide. Over 180 degrees, 56 is
#: 20 degrees: 0.2 m away for eyes 63 mm apart. Some files place the horizon below 0.
_LEAST, _RANGE = -8, 64
_BLOCK = 3  # side of the matched block
_TEXTURE_WINDOW, _LEAST_TEXTURE = 7, 5  # pixels; grey levels between its darkest and brightest
_BACKDROP = 0.5  # share of the picture from which on what has no texture is a backdrop
_AGREE = 24  # sixteenths of a pixel by which the two directions may differ

_BINS = 128  # of the histogram, over the whole search
#: What a frame weighs in the histogram after each further one.
_FADE = 0.75
#: Layers must be this many bins apart on average (0.7 degrees at 180), and the valley between them
#: this much lower than the lower of their peaks.
_MIN_GAP, _MAX_VALLEY = 4.0, 0.5

#: Radii in 640ths of an eye: of the guided filter, of the strip along its edge in which alpha is
#: solved, and from how far colours are taken. Tuned on the demo's rooms.
_GUIDE, _STRIP, _REACH = 12, 1, 12
_GUIDE_EPS = 1e-3
_CONTRAST = 3.0  # the filter's edge is made steeper by this; the strip's alpha replaces it
#: The filter's coefficients are found on planes shrunk to this radius, as its authors advise: on
#: the demo's rooms mean alpha errors are 0.0048 so and 0.0049 at full size, in a fifth of the time.
_SMALL_RADIUS = 4
_NOISE = 0.02  # squared colour difference at which solved and filtered alpha count alike


def load(
    matting: MattingSettings, processing: ProcessingSettings, device: torch.device
) -> DepthLayers:
    """`processing.scale_factor` sets the size at which the eyes are matched."""
    return DepthLayers(processing.scale_factor)


@dataclass(slots=True)
class DepthState:
    """Of one segment.

    Attributes:
        matcher: OpenCV's; it has buffers of its own, so it is not shared between threads.
        size: height and width at which the eyes are matched.
        least: smallest disparity searched, in pixels of that size.
        search: number of disparities searched.
        histogram: fading counts of disparities, from `least` on, in _BINS bins.
        plain, pixels: fading counts of pixels without texture, and of all.
    """

    matcher: Any
    size: tuple[int, int]
    least: int
    search: int
    histogram: NDArray[np.float64]
    plain: float = 0.0
    pixels: float = 0.0


class DepthLayers:
    """See the module. Remembers nothing between frames but what is in the state."""

    name: ClassVar[str] = "depth"
    # The histogram then holds 1 % of what was before: 0.75 ** 16.
    warmup_frames = 16

    def __init__(self, scale_factor: float | None = None) -> None:
        self._scale_factor = scale_factor

    def prepare(self, clip: ClipSampler) -> Prepared:
        return {}

    def start(self, eyes: int, height: int, width: int, prepared: Prepared) -> DepthState:
        """Raises: InputError: there is only one eye."""
        if eyes != 2:
            raise InputError(
                "the depth model compares the two eyes, and this video has only one",
                "use another model, or give the right --layout",
            )
        scale = self._scale_factor or min(1.0, _MATCH_SIDE / max(height, width))
        size = (max(1, round(height * scale)), max(1, round(width * scale)))
        least = round(_LEAST * size[1] / _MATCH_SIDE)
        search = 16 * max(1, round(_RANGE * size[1] / _MATCH_SIDE / 16))
        matcher = cv2.StereoSGBM.create(
            minDisparity=least,
            numDisparities=search,
            blockSize=_BLOCK,
            # Hirschmueller's two penalties, by OpenCV's rule for one channel.
            P1=8 * _BLOCK * _BLOCK,
            P2=32 * _BLOCK * _BLOCK,
            preFilterCap=31,
            # A match must be better than all others by so many per cent.
            uniquenessRatio=10,
            # Five directions in one thread: the result cannot depend on their number.
            mode=cv2.StereoSGBM_MODE_SGBM,
        )
        return DepthState(matcher, size, least, search, np.zeros(_BINS))

    def matte(self, eyes: EyeBatch, state: DepthState) -> MatteBatch:
        """float32 alpha, and foreground without the background's share at the edges."""
        frames, views, _, height, width = eyes.rgb.shape
        alpha = torch.empty(frames, views, 1, height, width, device=eyes.rgb.device)
        foreground = torch.empty(frames, views, 3, height, width, device=eyes.rgb.device)
        for frame in range(frames):
            near = _near_layer(eyes.rgb[frame], state).to(eyes.rgb.device)
            # By eye, because at 8K the intermediate planes of one fill a gigabyte.
            for eye in range(views):
                picture = eyes.rgb[frame, eye : eye + 1].float() / 255
                coarse = near[eye : eye + 1]
                alpha[frame, eye], foreground[frame, eye] = _to_edges(picture, coarse)
        return MatteBatch(alpha, foreground, eyes.start)


def _near_layer(rgb: Tensor, state: DepthState) -> Tensor:
    """Which pixels are of the nearest layer; changes the state's histogram.

    Args:
        rgb: uint8 ``[2, 3, H, W]``.

    Returns:
        float32 ``[2, 1, h, w]`` on the CPU, 0 or 1, of the state's size.
    """
    left, right = _small_grey(rgb, state.size)
    from_left = _match(left, right, state)
    # Mirrored, the right eye is the left one.
    from_right = _match(right[:, ::-1], left[:, ::-1], state)[:, ::-1]
    textured = _textured(left), _textured(right)
    seen_left = _agreement(from_left, from_right, 1, state.least) & textured[0]
    seen_right = _agreement(from_right, from_left, -1, state.least) & textured[1]

    both = np.concatenate([from_left[seen_left], from_right[seen_right]])
    state.histogram = _FADE * state.histogram + _count(both, state)
    state.plain = _FADE * state.plain + sum(int(np.count_nonzero(~eye)) for eye in textured)
    state.pixels = _FADE * state.pixels + 2 * left.size
    split = layer_split(state.histogram)
    if split is None and state.plain > _BACKDROP * state.pixels:
        # The subject alone is matched, before a backdrop without texture: that counts as far.
        split = layer_split(np.r_[state.plain, state.histogram[1:]])
    if split is None:
        return torch.zeros(2, 1, *state.size)
    threshold = 16 * (state.least + split * state.search / _BINS)
    layers = [
        cv2.medianBlur((_fill(disparity, seen) >= threshold).astype(np.uint8), 5)
        for disparity, seen in ((from_left, seen_left), (from_right, seen_right))
    ]
    return torch.from_numpy(np.stack(layers)[:, None]).float()


def _small_grey(rgb: Tensor, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Luma of both eyes (BT.601, as good as any for matching): uint8 ``[2, h, w]``."""
    planes = rgb.float()
    grey = 0.299 * planes[:, 0:1] + 0.587 * planes[:, 1:2] + 0.114 * planes[:, 2:3]
    small = F.interpolate(grey, size=size, mode="bilinear", antialias=True, align_corners=False)
    bytes_: NDArray[np.uint8] = small[:, 0].round().clamp(0, 255).byte().cpu().numpy()
    return bytes_


def _textured(grey: NDArray[np.uint8]) -> Mask:
    """Where there is something to match: on a plain wall the matcher spreads what is beside it."""
    window = np.ones((_TEXTURE_WINDOW, _TEXTURE_WINDOW), np.uint8)
    span = cv2.morphologyEx(grey, cv2.MORPH_GRADIENT, window)
    textured: Mask = np.asarray(span) >= _LEAST_TEXTURE
    return textured


def _match(eye: NDArray[np.uint8], other: NDArray[np.uint8], state: DepthState) -> Fixed:
    """How far to the left in `other` each pixel of `eye` is found, ``[h, w]``.

    Unmatched pixels are less than ``16 * least``.
    """
    # The matcher leaves out columns whose search would leave the picture: give it a margin.
    left, right = state.least + state.search, max(0, -state.least)
    padded = [
        cv2.copyMakeBorder(np.ascontiguousarray(one), 0, 0, left, right, cv2.BORDER_REPLICATE)
        for one in (eye, other)
    ]
    disparity: Fixed = state.matcher.compute(*padded)
    return disparity[:, left : left + eye.shape[1]]


def _agreement(disparity: Fixed, other: Fixed, direction: int, least: int) -> Mask:
    """Where the other eye's disparity leads back to the same place."""
    width = disparity.shape[1]
    # Rounded sixteenths; int32, because columns times sixteen leave int16.
    steps = (disparity.astype(np.int32) + 8) >> 4
    there = np.clip(np.arange(width) - direction * steps, 0, width - 1)
    back = np.take_along_axis(other, there, axis=1).astype(np.int32)
    agrees: Mask = (np.abs(back - disparity) <= _AGREE) & (disparity >= 16 * least)
    return agrees


def _fill(disparity: Fixed, seen: Mask) -> Fixed:
    """Give what has no disparity the lesser one of its nearest neighbours in the row.

    That is right for what only one eye sees. Where a row ends without a neighbour it counts as far.
    """
    width = disparity.shape[1]
    columns = np.arange(width)
    before = np.maximum.accumulate(np.where(seen, columns, -1), axis=1)
    after = np.minimum.accumulate(np.where(seen, columns, width)[:, ::-1], axis=1)[:, ::-1]
    padded = np.pad(disparity, ((0, 0), (1, 1)), constant_values=np.iinfo(np.int16).min)
    filled: Fixed = np.minimum(
        np.take_along_axis(padded, before + 1, axis=1),
        np.take_along_axis(padded, after + 1, axis=1),
    )
    return filled


def _count(disparities: Fixed, state: DepthState) -> NDArray[np.float64]:
    bins = (disparities.astype(np.int32) - 16 * state.least) * _BINS // (16 * state.search)
    return np.bincount(np.clip(bins, 0, _BINS - 1), minlength=_BINS).astype(np.float64)


def layer_split(histogram: NDArray[np.float64]) -> float | None:
    """Where the nearest layer begins in a histogram of disparities.

    Args:
        histogram: counts by disparity, far to near; at least 5 bins.

    Returns:
        A position in bins (the lower edge of bin 0 is 0), or None where no layer stands out.
    """
    total = histogram.sum()
    if total == 0:
        return None
    position = np.arange(len(histogram)) + 0.5
    far_weight = np.cumsum(histogram)[:-1] / total
    far_sum = np.cumsum(histogram * position)[:-1] / total
    mean = float((histogram * position).sum() / total)
    # Otsu's variance between the classes, for a split after each bin.
    spread = far_weight * (1 - far_weight)
    between = np.zeros_like(spread)
    np.divide((mean * far_weight - far_sum) ** 2, spread, out=between, where=spread > 1e-9)
    cut = int(np.argmax(between)) + 1
    if between[cut - 1] == 0:
        return None
    far_mean = float(np.average(position[:cut], weights=histogram[:cut]))
    near_mean = float(np.average(position[cut:], weights=histogram[cut:]))
    if near_mean - far_mean < _MIN_GAP:
        return None

    # The layers' peaks and the valley between them, on a histogram smoothed over 5 bins.
    smooth = np.convolve(histogram, np.ones(5) / 5, mode="same")
    lower, upper = int(far_mean), int(near_mean)
    peak = min(smooth[:cut].max(), smooth[cut:].max())
    valley = smooth[lower : upper + 1]
    if valley.min() > _MAX_VALLEY * peak:
        return None
    # The middle of the valley's floor, so that it does not jump about on an empty one.
    lowest = lower + int(np.argmin(valley))
    floor = smooth <= valley.min() + 0.02 * peak
    first = last = lowest
    while first > lower and floor[first - 1]:
        first -= 1
    while last < upper and floor[last + 1]:
        last += 1
    return (first + last + 1) / 2


def _to_edges(picture: Tensor, near: Tensor) -> tuple[Tensor, Tensor]:
    """Take a coarse layer to the picture's edges.

    Args:
        picture: float32 ``[1, 3, H, W]``, 0..1.
        near: float32 ``[1, 1, h, w]``, 0 or 1.

    Returns:
        Alpha ``[1, H, W]`` and foreground ``[3, H, W]``, 0..1.
    """
    height, width = picture.shape[2:]
    longest = max(height, width)
    unit = longest / 640
    coarse = F.interpolate(near, size=(height, width), mode="bilinear", align_corners=False)
    radius = max(1, round(_GUIDE * unit))
    scale = max(1, radius // _SMALL_RADIUS)
    alpha = guided_filter(picture, coarse, radius, _GUIDE_EPS, scale=scale)
    alpha = alpha.sub_(0.5).mul_(_CONTRAST).add_(0.5).clamp_(0, 1)

    strip, reach = max(1, round(_STRIP * unit)), max(4, round(_REACH * unit))
    inside = (alpha > 0.5).float()
    subject, rest = erode(inside, strip), erode(1 - inside, strip)
    subject_colour, subject_support = nearby_subject(picture, subject, reach)
    rest_colour, rest_support = nearby_subject(picture, rest, reach)
    solved, contrast = project_alpha(picture, rest_colour, subject_colour)
    trust = contrast / (contrast + _NOISE) * subject_support * rest_support
    alpha = torch.where(subject + rest > 0, subject, torch.lerp(alpha, solved, trust))
    return alpha[0], unmix(picture, alpha, rest_colour, reach)[0]
