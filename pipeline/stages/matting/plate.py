"""The `plate` model: what differs from a picture of the empty scene is the subject.

Needs no weights and no memory of earlier frames. The plate is a picture that was taken of the
empty scene, or else the median over time of frames from all over the video. A frame is set to the
plate's exposure, the colour distance of each pixel is measured in units of the noise there, the
coarse mask is cleaned, and alpha at its rim is solved from plate and nearby subject and fitted to
the picture by a guided filter.

A median that still holds the subject is refused (`plate_ghosts.py`).

Limits: the camera must stand on a tripod and keep focus and white balance (a slowly changing gain
is found by frame); without a picture the subject must leave every place for more than half of the
time; shadows that are darker than the noise, moving furniture and lamps that go on count as
subject; what has the plate's own colour is lost where it is larger than the closing of the mask.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pipeline.contract import MattingSettings, ProcessingSettings
from pipeline.errors import InputError
from pipeline.pixels.batches import EyeBatch, MatteBatch
from pipeline.pixels.eyes import split
from pipeline.pixels.guided_filter import box_mean, guided_filter
from pipeline.stages.eye_pictures import EyeSize
from pipeline.stages.matting.base import ClipSampler, Prepared
from pipeline.stages.matting.known_background import (
    dilate,
    erode,
    nearby_subject,
    project_alpha,
    unmix,
    window_of,
)
from pipeline.stages.matting.plate_facts import PlateOptions
from pipeline.stages.matting.plate_ghosts import reason_against
from pipeline.stages.matting.plate_picture import fitted, read_plate

#: The median is taken of at most this many frames, and of at most so many bytes of them: 25 frames
#: up to 5120x2560, 9 at 8192x4096. They stay on the model's device.
_SAMPLES, _SAMPLE_BYTES = 25, 1 << 30
_STRIP_BYTES = 64 << 20  # sorted at a time

_NOISE_SHRINK = 8  # the map of the noise is so much smaller than the picture
_LEAST_NOISE = 1.5 / 255  # rounding to 8 bits and a little of the codec's
_MOST_NOISE = 4.0  # times the eye's typical one: more is motion, not noise

#: Colour distance, in standard deviations of the noise, that is nothing, and that is subject.
_NEAR, _FAR = 5.0, 10.0
_MOST_GAIN = 1.2  # of exposure, either way


def load(
    matting: MattingSettings, processing: ProcessingSettings, device: torch.device
) -> PlateModel:
    """Raises: SettingsError: `matting.plate_image` is not a picture."""
    image = matting.of(PlateOptions).image
    picture = None if image is None else read_plate(image)
    return PlateModel(picture, image or "", device)


@dataclass(frozen=True, slots=True)
class _Plate:
    """Of one video: float32 planes on the model's device, read by all lanes.

    Attributes:
        plate: ``[E, 3, H, W]``, 0..1.
        noise: standard deviation of one channel, ``[E, 1, h, w]``, 0..1, on small planes.
    """

    plate: Tensor
    noise: Tensor


class PlateModel:
    """See the module. Changes nothing of itself; may be called from several threads.

    Args:
        picture: of the empty scene, both eyes where they are in the video, RGB uint8
            ``[H, W, 3]``, or None.
        source: what to call it in an error.
    """

    name: ClassVar[str] = "plate"
    warmup_frames = 0

    def __init__(
        self, picture: NDArray[np.uint8] | None, source: str, device: torch.device
    ) -> None:
        self._picture = picture
        self._source = source
        self._device = device

    def prepare(self, clip: ClipSampler) -> Prepared:
        """Find the plate and the noise around it.

        Returns:
            ``plate`` uint8 ``[E, 3, H, W]`` and ``noise`` float32 ``[E, 1, h, w]``, 0..1.

        Raises:
            InputError: the given picture has not the video's size; or none is given, and the median
                still holds the subject.
        """
        given = None if self._picture is None else self._given_plate(self._picture, clip)
        samples = _sample(clip)
        if given is None:
            plate = _median(samples)
            if clip.prompts is None:
                _require_empty(samples, plate)
        else:
            plate = given.to(samples.device)
        return {"plate": plate, "noise": _noise(samples, plate)}

    def start(self, eyes: int, height: int, width: int, prepared: Prepared) -> _Plate:
        plate = prepared["plate"].to(self._device)
        if tuple(plate.shape) != (eyes, 3, height, width):
            raise ValueError(f"plate {list(plate.shape)} for {eyes} eyes of {width}x{height}")
        return _Plate(plate.float() / 255, prepared["noise"].to(self._device))

    def matte(self, eyes: EyeBatch, state: _Plate) -> MatteBatch:
        """float32 alpha, and foreground without the plate; every frame is computed by itself."""
        frames, views, _, height, width = eyes.rgb.shape
        alpha = torch.empty(frames, views, 1, height, width, device=eyes.rgb.device)
        foreground = torch.empty(frames, views, 3, height, width, device=eyes.rgb.device)
        for frame in range(frames):
            # By eye, because at 8K the intermediate planes of one fill a gigabyte.
            for eye in range(views):
                picture = eyes.rgb[frame, eye : eye + 1].float() / 255
                alpha[frame, eye], foreground[frame, eye] = _matte_eye(
                    picture, state.plate[eye : eye + 1], state.noise[eye : eye + 1]
                )
        return MatteBatch(alpha, foreground, eyes.start)

    def _given_plate(self, picture: NDArray[np.uint8], clip: ClipSampler) -> Tensor:
        """The picture cut into eyes, uint8 ``[E, 3, H, W]``."""
        height, width = picture.shape[:2]
        eye = EyeSize(clip.eyes, clip.height, clip.width)
        layout, (down, right) = fitted(self._source, (height, width), eye)
        padded = np.pad(picture, ((0, down), (0, right), (0, 0)), mode="edge")
        whole = torch.from_numpy(padded).permute(2, 0, 1)
        return split(whole[None], layout, clip.right_first and layout != "mono")[0]


def _require_empty(samples: Tensor, plate: Tensor) -> None:
    reason = reason_against(samples, plate)
    if reason is not None:
        raise InputError(
            f"the median of {len(samples)} frames still holds the subject, or the camera moves:"
            f" {reason}",
            "use --model rvm for people, or give a picture of the empty scene"
            " (matting.plate_image)",
        )


def _sample(clip: ClipSampler) -> Tensor:
    """Frames from all over the clip, uint8 ``[N, E, 3, H, W]``, N odd."""
    frame_bytes = 3 * clip.eyes * clip.height * clip.width
    count = max(1, min(_SAMPLES, clip.num_frames, _SAMPLE_BYTES // frame_bytes))
    count -= 1 - count % 2
    numbers = [(2 * n + 1) * clip.num_frames // (2 * count) for n in range(count)]
    first = clip.sample(numbers[:1]).rgb
    samples = first.new_empty((count, *first.shape[1:]))
    samples[0] = first[0]
    for at, number in enumerate(numbers[1:], 1):
        samples[at] = clip.sample([number]).rgb[0]
    return samples


def _median(samples: Tensor) -> Tensor:
    """Median over time, uint8 ``[E, 3, H, W]``, found in strips to bound the memory."""
    count, eyes, channels, height, width = samples.shape
    plate = samples.new_empty((eyes, channels, height, width))
    # Sorting takes the values and as many 8-byte places.
    rows = max(1, _STRIP_BYTES // (10 * count * channels * width))
    for eye in range(eyes):
        for top in range(0, height, rows):
            strip = samples[:, eye, :, top : top + rows]
            plate[eye, :, top : top + rows] = strip.sort(dim=0).values[count // 2]
    return plate


def _noise(samples: Tensor, plate: Tensor) -> Tensor:
    """Standard deviation of a channel around the plate, ``[E, 1, h, w]``, on small planes.

    The median over time of the mean distance in each cell: where the subject passes, it does not
    count; where it stays, the eye's typical noise bounds it.
    """
    count, eyes, _, height, width = samples.shape
    size = (-(-height // _NOISE_SHRINK), -(-width // _NOISE_SHRINK))
    cells = torch.empty(count, eyes, *size, device=samples.device)
    for at in range(count):
        for eye in range(eyes):
            own = samples[at, eye : eye + 1].float() / 255
            back = plate[eye : eye + 1].float() / 255
            distance = (own - _gain(own, back) * back).square().mean(dim=1, keepdim=True)
            cells[at, eye] = F.interpolate(distance, size=size, mode="area")[0, 0].sqrt()
    spread = cells.sort(dim=0).values[count // 2]
    typical = spread.flatten(1).sort(dim=1).values[:, spread[0].numel() // 2]
    typical = typical.clamp(min=_LEAST_NOISE).view(eyes, 1, 1)
    spread = torch.minimum(spread.clamp(min=_LEAST_NOISE), _MOST_NOISE * typical)
    return box_mean(spread.unsqueeze(1), 1)


def _gain(picture: Tensor, plate: Tensor) -> Tensor:
    """Exposure of a frame relative to the plate, by channel ``[1, 3, 1, 1]``.

    The median ratio over small cells that are near enough to the plate to be background.
    """
    size = (max(1, picture.shape[2] // 16), max(1, picture.shape[3] // 16))
    small = F.interpolate(picture, size=size, mode="area")
    back = F.interpolate(plate, size=size, mode="area")
    ratio = small / back.clamp(min=0.02)
    likely = (ratio.log().abs().amax(dim=1, keepdim=True) < np.log(_MOST_GAIN)) & (
        back.amin(dim=1, keepdim=True) > 0.08
    )
    ratio = torch.where(likely, ratio, torch.nan).flatten(2)
    gain = ratio.nanmedian(dim=2).values.nan_to_num(nan=1.0)
    return gain.clamp(1 / _MOST_GAIN, _MOST_GAIN).view(1, 3, 1, 1)


def _matte_eye(picture: Tensor, plate: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Alpha ``[1, 1, H, W]`` and foreground ``[1, 3, H, W]`` of one eye, both 0..1."""
    height, width = picture.shape[2:]
    unit = max(1, round(max(height, width) / 640))  # lengths are in pixels of an eye of 640
    reach = 12 * unit
    back = plate * _gain(picture, plate)
    sigma = F.interpolate(noise, size=(height, width), mode="bilinear", align_corners=False)
    distance = (picture - back).square_().mean(dim=1, keepdim=True)
    # Over 3x3 pixels: a single one that stands out is noise.
    distance = box_mean(distance, 1).sqrt_().div_(sigma)
    coarse = distance.sub_(_NEAR).div_(_FAR - _NEAR).clamp_(0, 1)
    mask = _clean((coarse > 0.5).float(), unit)

    alpha, foreground = torch.zeros_like(mask), picture.clone()
    rows, columns = window_of(mask, 2 * reach)
    own, own_back = picture[..., rows, columns], back[..., rows, columns]
    if own.numel():
        own_alpha = _solve_rim(
            own,
            own_back,
            coarse[..., rows, columns],
            mask[..., rows, columns],
            sigma[..., rows, columns],
            unit,
        )
        alpha[..., rows, columns] = own_alpha
        foreground[..., rows, columns] = unmix(own, own_alpha, own_back, reach)
    return alpha, foreground


def _solve_rim(
    picture: Tensor, back: Tensor, coarse: Tensor, mask: Tensor, sigma: Tensor, unit: int
) -> Tensor:
    """Alpha: 1 well inside the mask, 0 well outside, soft between, ``[1, 1, H, W]``."""
    inside = erode(mask, 3 * unit)
    outside = 1 - dilate(mask, 2 * unit)
    colour, support = nearby_subject(picture, inside, 12 * unit)
    solved, contrast = project_alpha(picture, back, colour)
    belief = support * (contrast / (16 * sigma * sigma + 0.02)).clamp_(max=1)
    rim = torch.lerp(torch.minimum(coarse, mask), solved, belief)
    alpha = torch.where(inside > 0, 1.0, torch.where(outside > 0, 0.0, rim))
    smooth = guided_filter(picture, alpha, 2 * unit, 1e-4, scale=unit)
    smooth = smooth.sub_(0.05).div_(0.9).clamp_(0, 1)
    return torch.where((inside > 0) | (outside > 0), alpha, smooth)


def _clean(mask: Tensor, unit: int) -> Tensor:
    """Drop specks and close gaps, both by size in pixels of an eye of 640.

    Decided on planes half as large; the edge itself stays as it was.
    """
    height, width = mask.shape[2:]
    small = F.max_pool2d(mask, 2, ceil_mode=True)
    closed = erode(dilate(small, unit), unit)
    # A speck has little support in a window much larger than itself.
    support = box_mean(closed, 3 * unit)
    kept = ((support > 0.35) & (closed > 0)).float()
    for _ in range(6):
        kept = torch.minimum(dilate(kept, 2 * unit), closed)
    kept = torch.maximum(kept, (support > 0.8).float())
    doubled = torch.cat([kept, erode(kept, 1)], dim=1).repeat_interleave(2, 2)
    doubled = doubled.repeat_interleave(2, 3)[..., :height, :width]
    at_most, at_least = doubled[:, 0:1], doubled[:, 1:2]
    return torch.maximum(torch.minimum(mask, at_most), at_least)
