"""The `depth` model: the subject is what stands nearer than the rest, by the parallax of two eyes.

Needs no weights, only a stereo video. For each frame:

1. Both eyes, grey and reduced, are matched left to right and right to left by semi-global
   matching (Hirschmueller, "Stereo Processing by Semiglobal Matching and Mutual Information",
   PAMI 30(2), 2008; OpenCV's StereoSGBM, Birchfield-Tomasi cost). A disparity is known where the
   place has texture along its row and the two directions agree (`matching.py`).
2. A histogram of the known disparities, of this frame and fading ones before it, is split in two
   (Otsu, "A Threshold Selection Method from Gray-Level Histograms", SMC 9(1), 1979), and the split
   is moved to the valley between the layers. Without a valley nothing stands nearer: alpha is 0.
   Ground that comes nearer towards the lower edge is told by its width. What is not known is
   background, unless the layer encloses it (`layers.py`).
3. Of the layer's parts the subject are those that are large, compact, near the middle, and not
   furniture that never moves in the whole video (`subject.py`).
4. A guided filter (He, Sun, Tang, PAMI 35(6), 2013) at full size takes that coarse matte to the
   picture's edges; alpha at the edge itself is solved from the colours on either side of it.

`prepare` does the same with a few frames from all over the video, and refuses it where nothing
stands nearer, or where that is no reliable subject. See docs/decisions/021.

Limits. The eyes must be level and as sharp as each other. Disparity is searched along rows, which
in an equirectangular picture is true near its middle; towards its upper and lower edge and at more
than about 60 degrees to the side the disparity shrinks and turns vertical, and the subject melts
into the background. What touches the subject at the same distance (a chair, a table before it)
belongs to it, and of two people the farther may be cut. A gap without texture, or narrower than its
own parallax, as between arm and body, is filled. A subject without texture before a background
without texture is lost. Where the ground is as near as the subject (around its feet, or beside a
subject that is cut off), the subject is guessed from what is above and below. The subject should
fill some hundredths of the eye, nearer than about 15 times the distance between the lenses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.contract import MattingSettings, ProcessingSettings
from pipeline.errors import InputError
from pipeline.pixels.batches import EyeBatch, MatteBatch
from pipeline.pixels.guided_filter import guided_filter
from pipeline.stages.matting.base import ClipSampler, Prepared
from pipeline.stages.matting.depth.layers import Counts, nearest_layer
from pipeline.stages.matting.depth.matching import Mask, Search, match
from pipeline.stages.matting.depth.subject import chosen, reason_against, standing_still
from pipeline.stages.matting.known_background import erode, nearby_subject, project_alpha, unmix

_SAMPLES = 7  # frames looked at by prepare
_STILL = "depth_still"  # the name of what it prepares

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
        search: how the eyes are matched.
        matcher: OpenCV's, of this state alone.
        counts: of the frames up to now.
        still: bool ``[2, h, w]``, what never moves; None where nobody looked.
    """

    search: Search
    matcher: Any
    counts: Counts
    still: Mask | None


class DepthLayers:
    """See the module. Remembers nothing between frames but what is in the state."""

    name: ClassVar[str] = "depth"
    # The counts then hold 1 % of what was before: 0.75 ** 16.
    warmup_frames = 16

    def __init__(self, scale_factor: float | None = None) -> None:
        self._scale_factor = scale_factor

    def prepare(self, clip: ClipSampler) -> Prepared:
        """Look whether there is a subject, in a few frames, each by itself.

        Returns:
            ``depth_still`` bool ``[2, h, w]``: what is near and never moves.

        Raises:
            InputError: there is only one eye, or no reliable subject. Where a person says who the
                subject is, another model follows that, and nothing is refused.
        """
        _require_two(clip.eyes)
        search = self._search(clip.height, clip.width)
        matcher = search.matcher()
        count = min(_SAMPLES, clip.num_frames)
        greys, layers = [], []
        for number in range(count):
            rgb = clip.sample([(2 * number + 1) * clip.num_frames // (2 * count)]).rgb[0]
            matched = match(rgb, search, matcher)
            greys.append(matched.grey)
            layers.append(nearest_layer(matched, search, Counts.none()))
        still = standing_still(greys, layers)
        subjects = [None if layer is None else chosen(layer, still) for layer in layers]
        reason = reason_against(subjects)
        if reason is not None and clip.prompts is None:
            raise InputError(
                f"the depth model finds {reason}",
                "use --model rvm for people, plate where the camera stands still and the subject"
                " walks, chroma before a green or blue screen",
            )
        return {_STILL: torch.from_numpy(still)}

    def start(self, eyes: int, height: int, width: int, prepared: Prepared) -> DepthState:
        """Raises: InputError: there is only one eye."""
        _require_two(eyes)
        search = self._search(height, width)
        still = prepared[_STILL].cpu().numpy() if _STILL in prepared else None
        return DepthState(search, search.matcher(), Counts.none(), still)

    def matte(self, eyes: EyeBatch, state: DepthState) -> MatteBatch:
        """float32 alpha, and foreground without the background's share at the edges."""
        frames, views, _, height, width = eyes.rgb.shape
        alpha = torch.empty(frames, views, 1, height, width, device=eyes.rgb.device)
        foreground = torch.empty(frames, views, 3, height, width, device=eyes.rgb.device)
        for frame in range(frames):
            near = _subject(eyes.rgb[frame], state).to(eyes.rgb.device)
            # By eye, because at 8K the intermediate planes of one fill a gigabyte.
            for eye in range(views):
                picture = eyes.rgb[frame, eye : eye + 1].float() / 255
                coarse = near[eye : eye + 1]
                alpha[frame, eye], foreground[frame, eye] = _to_edges(picture, coarse)
        return MatteBatch(alpha, foreground, eyes.start)

    def _search(self, height: int, width: int) -> Search:
        return Search.of(height, width, self._scale_factor)


def _require_two(eyes: int) -> None:
    if eyes != 2:
        raise InputError(
            "the depth model compares the two eyes, and this video has only one",
            "use another model, or give the right --layout",
        )


def _subject(rgb: Tensor, state: DepthState) -> Tensor:
    """Which pixels are the subject; changes the state's counts.

    Args:
        rgb: uint8 ``[2, 3, H, W]``.

    Returns:
        float32 ``[2, 1, h, w]`` on the CPU, 0 or 1, of the size of the matching.
    """
    matched = match(rgb, state.search, state.matcher)
    layer = nearest_layer(matched, state.search, state.counts)
    if layer is None:
        return torch.zeros(2, 1, *state.search.size)
    mask = chosen(layer, state.still).mask
    return torch.from_numpy(mask.astype(np.float32)[:, None])


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
