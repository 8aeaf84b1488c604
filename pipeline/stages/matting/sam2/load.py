"""`sam2`: follows the subject that prompts, or another model, point out: this person and no other.

Ravi et al., "SAM 2: Segment Anything in Images and Videos", arXiv:2408.00714, 2024. Each eye is a
video of its own to it, see `pipeline/stages/matting/sam2/tracker.py`. Its answer is coarse (a cell
is a 256th of what it sees), so a guided filter takes it to the picture's edges.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.contract import MattingSettings, ProcessingSettings
from pipeline.pixels.batches import EyeBatch, MatteBatch
from pipeline.pixels.guided_filter import guided_filter
from pipeline.stages.matting.base import ClipSampler, MattingModel, Prepared, load_model
from pipeline.stages.matting.sam2.compiled import compile_networks, require_compiler
from pipeline.stages.matting.sam2.facts import Sam2Options
from pipeline.stages.matting.sam2.network import build_network, load_weights, warm_positions
from pipeline.stages.matting.sam2.sight import Subjects
from pipeline.stages.matting.sam2.tracker import SubjectTracker
from pipeline.stages.matting.sam2.weights import fetch_checkpoint

#: Of the guided filter: its radius in cells of the network's answer, the variance of a flat
#: picture, and the radius of its coefficients' planes (see `matting/depth/model.py`). By
#: how much its contrast is raised, and how far it may move the edge, in cells. By the demo's
#: figure, see docs/benchmarks/006-sam2.md.
_RADIUS_CELLS, _EPS, _SMALL_RADIUS = 2, 3e-4, 4
_CONTRAST, _MOST_MOVED = 1.2, 1

#: Prompted frames that are read when another is tracked: the nearest of them. It bounds memory and
#: time however often the subject is pointed out again.
MOST_PROMPTED = 4


def load(
    matting: MattingSettings, processing: ProcessingSettings, device: torch.device
) -> MattingModel:
    """Load weights, from the cache or over the network, and the seed model.

    Raises:
        MachineError: the weights cannot be had, or are not for this size; or as the seed model.
        SettingsError: as the seed model.
    """
    seed = load_helper(matting.of(Sam2Options).seed, matting, processing, device)
    return SegmentAnything(load_tracker(matting, processing, device, seed))


def load_tracker(
    matting: MattingSettings,
    processing: ProcessingSettings,
    device: torch.device,
    seed: MattingModel,
) -> SubjectTracker:
    """SAM 2 itself, around a seed model that is loaded.

    On a GPU the network computes in bfloat16, as it was trained, or as `processing.precision` says.
    A GPU before Ampere only imitates bfloat16, slowly or not at all, and computes in float16.

    Raises:
        MachineError: the weights cannot be had, or are not for this size; or it shall be compiled,
            and that cannot be done here.
    """
    options = matting.of(Sam2Options)
    network_options = {
        "image_size": options.image_size,
        "max_cond_frames_in_attn": MOST_PROMPTED,
        # Otherwise a correction would be forgotten with the next frame.
        "add_all_frames_to_correct_as_cond": True,
    }
    if options.compile:
        require_compiler(device)
    network = build_network(options.size, options=network_options)
    load_weights(network, fetch_checkpoint(options))
    if options.compile:
        compile_networks(network)
    dtype = torch.float32
    if processing.precision == "fp16":
        dtype = torch.float16
    elif processing.precision == "auto" and device.type == "cuda":
        has_bfloat16 = torch.cuda.get_device_capability(device) >= (8, 0)
        dtype = torch.bfloat16 if has_bfloat16 else torch.float16
    network = network.to(device)
    warm_positions(network, device)
    interval = matting.correction_interval if matting.continuous_correction else None
    follow = options.region == "auto"
    return SubjectTracker(network, seed, dtype, interval, follow=follow)


def load_helper(
    name: str, matting: MattingSettings, processing: ProcessingSettings, device: torch.device
) -> MattingModel:
    """Another model of ours; what runs it is not settled before planning, as for `rvm` itself."""
    by_torch = replace(processing, engine="torch")
    return load_model(replace(matting, model=name), by_torch, device)


class SegmentAnything:
    """See `pipeline.stages.matting.base.MattingModel`.

    Frames are computed one by one: how many come at once does not matter.
    """

    name: ClassVar[str] = "sam2"
    # More than the network looks back (15 frames), and as many as RVM.
    warmup_frames = 24

    def __init__(self, tracker: SubjectTracker) -> None:
        self._tracker = tracker

    def prepare(self, clip: ClipSampler) -> Prepared:
        return self._tracker.prepare(clip)

    def start(self, eyes: int, height: int, width: int, prepared: Prepared) -> Subjects:
        """Raises InputError where the seed model does."""
        return self._tracker.start(eyes, height, width, prepared)

    @torch.inference_mode()
    def matte(self, eyes: EyeBatch, state: Subjects) -> MatteBatch:
        """The source's colours stay; where no subject was found yet, alpha is 0."""
        frames, num_eyes, _, height, width = eyes.rgb.shape
        alpha = eyes.rgb.new_zeros((frames, num_eyes, 1, height, width), dtype=torch.float32)
        objects = self._tracker.nowhere(eyes, state)
        for t, answers in enumerate(self._tracker.track(eyes, state)):
            for number, answer in enumerate(answers):
                if answer is not None:
                    objects[t, number] = self._tracker.objects(answer, state)
                    part = number, slice(None), answer.window.rows, answer.window.columns
                    alpha[t][part] = soft_matte(of_any(answer.logits), eyes.rgb[t][part])
        return MatteBatch(alpha, None, eyes.start, objects)


def of_any(logits: Tensor) -> Tensor:
    """Of all objects together: ``[N, h, w]`` -> ``[1, 1, h, w]``."""
    return logits.amax(dim=0)[None, None]


def soft_matte(logits: Tensor, rgb: Tensor) -> Tensor:
    """Alpha at the picture's size, along its edges.

    A window's line is fitted with a ridge, ``a = cov / (var + eps)``, and a pixel has the mean of
    the lines of all windows around it (He et al., "Guided Image Filtering", eq. 5 and 8). Both take
    contrast: beside a textured background alpha is 0.9 a cell inside of the edge and deeper. So
    alpha is stretched about one half, which leaves the edge where it is.

    Where the logits are sure, and so is all around, no edge of the picture says otherwise: hair
    before a dark wall does not become a part of it.

    Args:
        logits: floating ``[1, 1, h, w]``.
        rgb: uint8 ``[3, H, W]``.

    Returns:
        float32 ``[1, H, W]``, 0..1.
    """
    height, width = rgb.shape[1:]
    coarse, least, most = (
        F.interpolate(plane, size=(height, width), mode="bilinear").sigmoid_()
        for plane in (
            logits.float(),
            -dilated(-logits.float(), _MOST_MOVED),
            dilated(logits.float(), _MOST_MOVED),
        )
    )
    radius = max(1, round(_RADIUS_CELLS * max(height, width) / logits.shape[-1]))
    guide = rgb[None].float().div_(255)
    scale = max(1, radius // _SMALL_RADIUS)
    alpha = guided_filter(guide, coarse, radius, _EPS, scale=scale)
    alpha = alpha.sub_(0.5).mul_(_CONTRAST).add_(0.5)
    return torch.minimum(torch.maximum(alpha, least), most)[0]


def dilated(planes: Tensor, radius: int) -> Tensor:
    """The largest value around each, in a square of that radius: ``[N, C, h, w]``."""
    return F.max_pool2d(planes, 2 * radius + 1, stride=1, padding=radius)
