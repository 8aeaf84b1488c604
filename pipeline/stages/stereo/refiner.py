"""`StereoRefiner`: mends in one eye's matte what it lost or wrongly holds, from the other's.

For each frame, all small but the last step:

1. A coarse field of the subject's disparities, from the pictures where either matte holds it, with
   a fading share of the frames before (`pipeline/stages/stereo/disparity.py`).
2. Each eye's matte is carried to the other by it. What one holds and the other does not, farther
   from its edges than they are uncertain, is a disagreement: a band that only one eye can see
   beside the subject is background to both, and none. Agreement is the intersection over union of
   the mattes so compared, 1 where they differ at most by their edges.
3. Under the threshold, each claim is judged (`pipeline/stages/stereo/claims.py`; the master is
   always right): what is true is added to the eye that lacks it, a ghost goes from the eye that has
   it. What cannot be told stays.

Everywhere else both mattes stay as they are, bit for bit. Limits: disparity is searched along rows
(in an equirectangular picture that is true near its middle), and parts thinner than about a
hundredth of the eye are not missed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.contract import StereoSettings
from pipeline.engines.cuda_graph import Capture
from pipeline.flow.device_copies import HostCopy, HostRing
from pipeline.kernels.way import TORCH, Way
from pipeline.pixels.batches import EyeBatch, MatteBatch
from pipeline.stages.stereo.claims import View, truth_of_claims
from pipeline.stages.stereo.disparity import (
    Search,
    carry,
    enlarge_field,
    subject_evidence,
    to_right_eye,
)
from pipeline.stages.stereo.findings import StereoSummary
from pipeline.stages.stereo.mending import Verdict, mend
from pipeline.stages.stereo.observer import (
    Observed,
    Observer,
    PlainObserver,
    Shape,
    compare,
    fields_of,
    graphed_observer,
)

_FIELD_SIDE = 128  # longest side of the field; mattes are compared at twice its size
_RECENT_FADE = 0.85  # what a matte is worth as a witness after each further frame

_LEAST_SUBJECT = 1e-4  # share of an eye; less is no subject


@dataclass(frozen=True, slots=True)
class FrameAgreement:
    """What was found of one frame.

    Attributes:
        frame: its number.
        agreement: 0..1; 1 where neither eye holds a subject.
        disparity: mean over what both eyes hold, in pixels of an eye, corrected; None without it.
        mended: whether either matte was changed.
    """

    frame: int
    agreement: float
    disparity: float | None
    mended: bool


@dataclass(frozen=True, slots=True)
class Observation:
    """What was asked of the device about some frames; see `StereoRefiner.observe`.

    Attributes:
        frames: one of each; none where the eyes are not compared.
        figures: of all frames, on their way to the host.
    """

    eyes: EyeBatch
    matte: MatteBatch
    frames: tuple[Observed, ...] = ()
    figures: HostCopy | None = None


class StereoRefiner:
    """The state of one segment; its frames, those of the warm-up first, pass through in order.

    The result does not depend on how they are cut into batches. Not thread-safe.

    Args:
        eyes: 1 or 2; a single eye passes through untouched.
        height, width: of an eye in pixels.
        field_of_view: of the width of an eye, in degrees; gives the focal length where the
            settings leave it open. None where it is not known; then nor is the depth.
        capture: makes graphs of what is asked for every frame; None: everything is called one by
            one.
        copies: takes figures to the host, of as many batches as are observed and not mended yet.
        way: makes full pictures smaller.
    """

    def __init__(
        self,
        settings: StereoSettings,
        eyes: int,
        height: int,
        width: int,
        *,
        field_of_view: float | None = 180.0,
        capture: Capture | None = None,
        copies: HostRing | None = None,
        way: Way = TORCH,
    ) -> None:
        self._settings = settings
        self._passes = eyes != 2 or settings.mode == "independent"
        # Pixels for a radian: of an equidistant or equirectangular picture the same throughout.
        self._focal_length = settings.focal_length
        if self._focal_length is None and field_of_view is not None:
            self._focal_length = width / math.radians(field_of_view)
        side = _FIELD_SIDE / max(height, width)
        self._size = _eighths(height * side), _eighths(width * side)
        self._scale = width / self._size[1]
        self._least = _LEAST_SUBJECT * 4 * self._size[0] * self._size[1]  # pixels of a matte
        self._search = Search.over(self._size[1], settings.disparity_correction / self._scale)
        self._capture = capture
        self._way = way
        self._copies = HostRing(2) if copies is None else copies
        self._observer: Observer | None = None
        self._recent: Tensor | None = None
        self._mending = False
        self._found: list[FrameAgreement] = []
        self._disagreement: dict[int, float] = {}

    def refine(self, eyes: EyeBatch, matte: MatteBatch) -> MatteBatch:
        """The same mattes, mended where they must be; shapes and dtypes stay.

        Args:
            eyes: the pictures that `matte` was made of.
        """
        return self.mend(self.observe(eyes, matte))

    def observe(self, eyes: EyeBatch, matte: MatteBatch) -> Observation:
        """Ask the device how the eyes agree; nobody waits. To be given to `mend`, in order.

        What is observed does not depend on what was mended before, so it may be asked ahead.
        """
        if self._passes:
            return Observation(eyes, matte)
        frames = tuple(self._observe(rgb, a) for rgb, a in zip(eyes.rgb, matte.alpha, strict=True))
        figures = self._copies.begin(torch.stack([frame.figures for frame in frames]))
        return Observation(eyes, matte, frames, figures)

    def mend(self, observation: Observation) -> MatteBatch:
        """See `refine`. Waits for the figures, and again for frames that may have to change."""
        eyes, matte = observation.eyes, observation.matte
        if observation.figures is None:
            return matte
        with observation.figures.arrived() as arrived:
            figures = arrived.tolist()
        alpha, foreground = matte.alpha, matte.foreground
        mended: dict[int, Tensor] = {}  # disagreement and union after it, in pixels
        for index, (frame, numbers) in enumerate(zip(observation.frames, figures, strict=True)):
            agreement, disparity = self._figures(frame, numbers)
            changed: list[int] = []
            mattes = frame.mattes
            if self._must_mend(agreement):
                verdicts = [self._judge(frame, eye) for eye in (0, 1)]
                changed = _changed_eyes(verdicts)
            if changed:
                if alpha is matte.alpha:
                    alpha = alpha.clone()
                    foreground = None if foreground is None else foreground.clone()
                before = matte.alpha[index]
                colours = None if matte.foreground is None else matte.foreground[index]
                fields = self._bare_fields(frame, verdicts)
                for eye in changed:
                    one = mend(eye, verdicts, fields[eye], eyes.rgb[index, eye], before, colours)
                    alpha[index, eye, :, *one.part] = one.alpha
                    if foreground is not None and one.foreground is not None:
                        foreground[index, eye, :, *one.part] = one.foreground
                height, width = frame.mattes.shape[-2:]
                mattes = self._way.shrink(alpha[index], (height, width))
            self._remember(mattes)
            number = eyes.start + index
            if changed:
                mended[number] = compare(mattes, frame.fields).figures
            self._disagreement[number] = 1 - agreement
            self._found.append(FrameAgreement(number, agreement, disparity, bool(changed)))
        left = torch.stack(list(mended.values())).tolist() if mended else []
        for number, (differing, union) in zip(mended, left, strict=True):
            self._disagreement[number] = 1 - self._agreement(differing, union)
        return MatteBatch(alpha, foreground, matte.start, matte.objects)

    @property
    def found(self) -> tuple[FrameAgreement, ...]:
        """Of every frame that passed through, those of the warm-up among them."""
        return tuple(self._found)

    def disagreement(self) -> dict[int, float] | None:
        """Share of the subject that only one eye holds, after mending, by frame.

        None where the eyes are not compared.
        """
        return None if self._passes else self._disagreement

    def summary(self, start: int = 0, stop: int | None = None) -> StereoSummary:
        """How the eyes agreed in the frames ``start..stop``; None: up to the last one."""
        found = [
            frame
            for frame in self._found
            if frame.frame >= start and (stop is None or frame.frame < stop)
        ]
        near = sorted(frame.disparity for frame in found if frame.disparity is not None)
        middle = near[len(near) // 2] if near else 0.0
        depth = None
        if middle > 0 and self._focal_length is not None:
            depth = self._settings.baseline * self._focal_length / middle
        return StereoSummary(
            num_frames=len(found),
            mended_frames=tuple(frame.frame for frame in found if frame.mended),
            mean_agreement=sum(f.agreement for f in found) / len(found) if found else None,
            subject_depth_m=depth,
        )

    def _figures(self, frame: Observed, figures: list[float]) -> tuple[float, float | None]:
        """Agreement, and the mean disparity in pixels of an eye."""
        differing, union, disparities, weight = figures
        agreement = self._agreement(differing, union)
        if weight <= self._least / 4:
            return agreement, None
        correction = self._settings.disparity_correction
        return agreement, disparities / weight * self._scale + correction

    def _agreement(self, differing: float, union: float) -> float:
        return max(0.0, 1 - differing / union) if union > self._least else 1.0

    def _must_mend(self, agreement: float) -> bool:
        threshold = self._settings.consistency_threshold
        if self._mending:  # what was mended stays so until the eyes agree well: no flicker
            threshold = (1 + threshold) / 2
        self._mending = agreement < threshold
        return self._mending

    def _observe(self, rgb: Tensor, alpha: Tensor) -> Observed:
        """Compare the eyes of one frame: uint8 ``[2, 3, H, W]``, floating ``[2, 1, H, W]``."""
        height, width = self._size
        pictures = self._way.shrink(rgb, self._size) / 255
        mattes = self._way.shrink(alpha, (2 * height, 2 * width))
        if self._observer is None:
            self._observer = self._new_observer(rgb.device)
        return self._observer.observe(pictures, mattes)

    def _new_observer(self, device: torch.device) -> Observer:
        if self._capture is None:
            return PlainObserver(self._search)
        stream = 0
        if device.type == "cuda":
            stream = int(torch.cuda.current_stream(device).cuda_stream)
        shape = Shape(self._size, self._search, device, stream)
        return graphed_observer(shape, self._capture, self)

    def _bare_fields(self, frame: Observed, verdicts: list[Verdict]) -> list[Tensor]:
        """The field anew, without the ghosts: beside them it is the subject's edge that counts."""
        left, right = (
            F.avg_pool2d(own * (1 - verdict.ghost), 2)
            for own, verdict in zip(frame.mattes, verdicts, strict=True)
        )
        return fields_of(subject_evidence(frame.cost, left, right, self._search), self._search)

    def _judge(self, frame: Observed, eye: int) -> Verdict:
        claimed = frame.claimed[eye]
        if self._settings.mode == "master_slave":
            master = (eye == 0) == (self._settings.master_eye == "left")
            return Verdict.of(claimed, claimed.new_full((1, 1, 1), 1.0 if master else -1.0))
        score = truth_of_claims(self._view(frame, eye), frame.subject, self._search)
        return Verdict.of(claimed, score)

    def _view(self, frame: Observed, eye: int) -> View:
        recent = frame.mattes if self._recent is None else self._recent
        fine = enlarge_field(frame.fields[eye], frame.mattes.shape[-2:])
        carried_recent = carry(recent[1 - eye], fine, eye)
        cost = frame.cost if eye == 0 else to_right_eye(frame.cost, self._search, 1.0)
        return View(
            picture=frame.pictures[eye],
            own=F.avg_pool2d(frame.mattes[eye], 2),
            carried=F.avg_pool2d(frame.carried[eye], 2),
            claimed=F.avg_pool2d(frame.claimed[eye], 2),
            recent=F.avg_pool2d(recent[eye], 2),
            carried_recent=F.avg_pool2d(carried_recent, 2),
            colour_cost=cost,
        )

    def _remember(self, mattes: Tensor) -> None:
        # Not widened by how far things move: what is beside the subject was never held.
        if self._recent is not None:
            mattes = torch.maximum(mattes, self._recent * _RECENT_FADE)
        self._recent = mattes


def _changed_eyes(verdicts: list[Verdict]) -> list[int]:
    weights = [verdicts[1 - eye].true.amax() + verdicts[eye].ghost.amax() for eye in (0, 1)]
    return [eye for eye, weight in enumerate(torch.stack(weights).tolist()) if weight > 0]


def _eighths(side: float) -> int:
    return max(16, 8 * round(side / 8))
