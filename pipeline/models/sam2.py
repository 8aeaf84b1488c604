"""`sam2`: follows the subject that another model points out, this person and no other.

Ravi et al., "SAM 2: Segment Anything in Images and Videos", arXiv:2408.00714, 2024. Each eye is a
video of its own to it. In the first frame of a segment in which the seed model finds a subject, its
largest parts are the prompt; from then on SAM 2 tracks them alone. Its answer is coarse (a cell is
a 256th of the eye), so a guided filter takes it to the picture's edges.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from sam2.sam2_video_predictor import SAM2VideoPredictor
from torch import Tensor

from pipeline.frames import EyeBatch, MatteBatch
from pipeline.guided_filter import guided_filter
from pipeline.models.base import ClipSampler, MattingModel, Prepared, load_model
from pipeline.models.sam2_frames import LazyFrames
from pipeline.models.sam2_network import build_network, load_weights
from pipeline.models.sam2_predictor import BoundedPredictor, Tracking
from pipeline.models.sam2_weights import fetch_checkpoint
from pipeline.spec import MattingSettings, ProcessingSettings

#: A segment's length is not known when it starts; nothing depends on it but in its first frames.
_ENDLESS = 1 << 31

#: Of an eye: what is smaller is no subject. Of the largest part: what is smaller is left out.
_LEAST_AREA, _LEAST_SHARE = 0.001, 0.25

#: Of the guided filter: its radius in cells of the network's answer, the variance of a flat
#: picture, and the radius of its coefficients' planes (see `pipeline/models/depth.py`).
_RADIUS_CELLS, _EPS, _SMALL_RADIUS = 1, 1e-3, 4

_OBJECT = 1


def load(
    matting: MattingSettings, processing: ProcessingSettings, device: torch.device
) -> MattingModel:
    """Load weights, from the cache or over the network, and the seed model.

    On a GPU the network computes in bfloat16, as it was trained, or as `processing.precision` says.

    Raises:
        MachineError: the weights cannot be had, or are not for this size; or as the seed model.
        SettingsError: as the seed model.
    """
    network = build_network(matting.sam2_size, options={"image_size": matting.sam2_image_size})
    load_weights(network, fetch_checkpoint(matting))
    # What runs the seed is not settled before planning, as it is for `rvm` itself.
    by_torch = replace(processing, engine="torch")
    seed = load_model(replace(matting, model=matting.sam2_seed), by_torch, device)
    dtype = torch.float32
    if processing.precision == "fp16":
        dtype = torch.float16
    elif processing.precision == "auto" and device.type == "cuda":
        dtype = torch.bfloat16
    return SegmentAnything(network.to(device), seed, dtype)


class _Stream:
    """The frames of one eye, of which the current batch is at hand."""

    def __init__(self) -> None:
        self._pictures = torch.empty(0)
        self._begin = 0

    def feed(self, pictures: Tensor, begin: int) -> None:
        self._pictures, self._begin = pictures, begin

    def __call__(self, start: int, stop: int) -> Iterator[Tensor]:
        yield from self._pictures[start - self._begin : stop - self._begin]


@dataclass(slots=True)
class _Eye:
    stream: _Stream
    tracking: Tracking
    prompted: bool = False


@dataclass(slots=True)
class _State:
    """Of one segment; `num_frames` so far."""

    seed: Any
    eyes: list[_Eye]
    num_frames: int = 0


class SegmentAnything:
    """See `pipeline.models.base.MattingModel`.

    Frames are computed one by one: how many come at once does not matter.

    Args:
        network: on the device, in eval mode.
        seed: the model whose matte says who the subject is.
        dtype: what the network computes in where it may; float32 leaves it as it is.
    """

    name: ClassVar[str] = "sam2"
    # More than the network looks back (15 frames), and as many as RVM.
    warmup_frames = 24

    def __init__(
        self, network: SAM2VideoPredictor, seed: MattingModel, dtype: torch.dtype = torch.float32
    ) -> None:
        self._predictor = BoundedPredictor(network)
        self._seed = seed
        self._dtype = dtype
        self._device: torch.device = network.device
        self._image_size = int(network.image_size)

    def prepare(self, clip: ClipSampler) -> Prepared:
        return self._seed.prepare(clip)

    def start(self, eyes: int, height: int, width: int, prepared: Prepared) -> _State:
        """Raises InputError where the seed model does."""
        return _State(
            self._seed.start(eyes, height, width, prepared), [self._eye() for _ in range(eyes)]
        )

    @torch.inference_mode()
    def matte(self, eyes: EyeBatch, state: _State) -> MatteBatch:
        """The source's colours stay; where no subject was found yet, alpha is 0."""
        frames, num_eyes, _, height, width = eyes.rgb.shape
        alpha = eyes.rgb.new_zeros((frames, num_eyes, 1, height, width), dtype=torch.float32)
        for number, eye in enumerate(state.eyes):
            eye.stream.feed(eyes.rgb[:, number], state.num_frames)
        for t in range(frames):
            if not all(eye.prompted for eye in state.eyes):
                seeds = self._seed.matte(EyeBatch(eyes.rgb[t : t + 1], eyes.start + t), state.seed)
                self._prompt(state, seeds.alpha[0, :, 0])
            for number, eye in enumerate(state.eyes):
                if eye.prompted:
                    logits = self._track(eye.tracking, state.num_frames)
                    alpha[t, number] = soft_matte(logits, eyes.rgb[t, number])
            state.num_frames += 1
        return MatteBatch(alpha, None, eyes.start)

    def _eye(self) -> _Eye:
        stream = _Stream()
        frames = LazyFrames(
            stream, _ENDLESS, self._image_size, kept_frames=1, read_ahead=1, device=self._device
        )
        cells = self._image_size // 4  # of the network's own answer: it need not be enlarged
        return _Eye(stream, self._predictor.start(frames, cells, cells))

    def _prompt(self, state: _State, seeds: Tensor) -> None:
        for eye, seed in zip(state.eyes, seeds, strict=True):
            mask = None if eye.prompted else largest_subjects(seed)
            if mask is not None:
                with self._autocast():
                    self._predictor.add_mask(eye.tracking, state.num_frames, _OBJECT, mask)
                eye.prompted = True

    def _track(self, tracking: Tracking, frame: int) -> Tensor:
        with self._autocast():
            (answer,) = self._predictor.propagate(tracking, frame, 1)
        return answer.logits

    def _autocast(self) -> torch.autocast:
        lower = self._dtype != torch.float32
        return torch.autocast(self._device.type, self._dtype if lower else None, enabled=lower)


def largest_subjects(alpha: Tensor) -> Tensor | None:
    """Where a matte is above one half, without the small parts; None where nothing is left.

    Args:
        alpha: floating ``[H, W]``, 0..1.

    Returns:
        bool ``[H, W]`` on the CPU.
    """
    inside = (alpha > 0.5).to(torch.uint8).cpu().numpy()
    _, labels, stats, _ = cv2.connectedComponentsWithStats(inside)
    areas = stats[1:, cv2.CC_STAT_AREA]
    if not len(areas) or areas.max() < _LEAST_AREA * inside.size:
        return None
    large = 1 + np.flatnonzero(areas >= _LEAST_SHARE * areas.max())
    return torch.from_numpy(np.isin(labels, large))


def soft_matte(logits: Tensor, rgb: Tensor) -> Tensor:
    """Alpha at the picture's size, along its edges.

    Args:
        logits: floating ``[1, 1, h, w]``.
        rgb: uint8 ``[3, H, W]``.

    Returns:
        float32 ``[1, H, W]``, 0..1.
    """
    height, width = rgb.shape[1:]
    coarse = F.interpolate(logits.float(), size=(height, width), mode="bilinear").sigmoid_()
    radius = max(1, round(_RADIUS_CELLS * max(height, width) / logits.shape[-1]))
    guide = rgb[None].float().div_(255)
    scale = max(1, radius // _SMALL_RADIUS)
    return guided_filter(guide, coarse, radius, _EPS, scale=scale)[0].clamp_(0, 1)
