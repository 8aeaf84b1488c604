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
from pipeline.pixels.batches import EyeBatch, MatteBatch
from pipeline.stages.stereo.claims import View, truth_of_claims
from pipeline.stages.stereo.disparity import (
    Evidence,
    Search,
    best_disparity,
    carry,
    colour_cost,
    enlarge_field,
    mean_cost,
    subject_evidence,
    to_right_eye,
)
from pipeline.stages.stereo.findings import StereoSummary
from pipeline.stages.stereo.mending import Verdict, claims, mend

_FIELD_SIDE = 128  # longest side of the field; mattes are compared at twice its size
_FADE = 0.5  # what a frame weighs in the field after each further one
_RECENT_FADE = 0.85  # and what a matte is worth as a witness
_REFERENCE_FADE = 0.9  # and the distance of what both eyes hold

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
class _Observed:
    """One frame, small; lists are by eye.

    Attributes:
        pictures: float32 ``[3, h, w]`` at the size of the field.
        mattes: alpha ``[1, 2h, 2w]``.
        fields: disparities ``[h, w]`` in pixels of the field.
        carried: the other's alpha, ``[1, 2h, 2w]``.
        claimed: what only this eye holds, ``[1, 2h, 2w]``, 0..1.
        cost: `colour_cost`.
        subject: mean disparity of what both eyes hold, then and in the frames before.
        figures: disagreement and union in pixels, sum of agreed disparities, and of their weights.
    """

    pictures: Tensor
    mattes: Tensor
    fields: list[Tensor]
    carried: list[Tensor]
    claimed: list[Tensor]
    cost: Tensor
    subject: Tensor
    figures: Tensor


class StereoRefiner:
    """The state of one segment; its frames, those of the warm-up first, pass through in order.

    The result does not depend on how they are cut into batches. Not thread-safe.

    Args:
        eyes: 1 or 2; a single eye passes through untouched.
        height, width: of an eye in pixels.
        field_of_view: of the width of an eye, in degrees; gives the focal length where the
            settings leave it open. None where it is not known; then nor is the depth.
    """

    def __init__(
        self,
        settings: StereoSettings,
        eyes: int,
        height: int,
        width: int,
        *,
        field_of_view: float | None = 180.0,
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
        self._evidence: Evidence | None = None
        self._reference: Tensor | None = None  # sum of agreed disparities, and of their weights
        self._recent: Tensor | None = None
        self._mending = False
        self._found: list[FrameAgreement] = []
        self._disagreement: dict[int, float] = {}

    def refine(self, eyes: EyeBatch, matte: MatteBatch) -> MatteBatch:
        """The same mattes, mended where they must be; shapes and dtypes stay.

        Args:
            eyes: the pictures that `matte` was made of.
        """
        if self._passes:
            return matte
        observed = [self._observe(rgb, a) for rgb, a in zip(eyes.rgb, matte.alpha, strict=True)]
        # Wait for the device once a batch; then once more for each frame that may have to change.
        figures = torch.stack([frame.figures for frame in observed]).tolist()
        alpha, foreground = matte.alpha, matte.foreground
        mended: dict[int, Tensor] = {}  # disagreement and union after it, in pixels
        for index, (frame, numbers) in enumerate(zip(observed, figures, strict=True)):
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
                mattes = _shrink(alpha[index], frame.mattes.shape[-2:])
            self._remember(mattes)
            number = eyes.start + index
            if changed:
                mended[number] = _compared(mattes, frame.fields).figures
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

    def _figures(self, frame: _Observed, figures: list[float]) -> tuple[float, float | None]:
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

    def _observe(self, rgb: Tensor, alpha: Tensor) -> _Observed:
        """Compare the eyes of one frame: uint8 ``[2, 3, H, W]``, floating ``[2, 1, H, W]``."""
        height, width = self._size
        pictures = _shrink(rgb, self._size) / 255
        mattes = _shrink(alpha, (2 * height, 2 * width))
        coarse = F.avg_pool2d(mattes, 2)
        cost = colour_cost(pictures[0], pictures[1], self._search)
        evidence = subject_evidence(cost, coarse[0], coarse[1], self._search)
        self._evidence = evidence.after(self._evidence, _FADE)
        fields = self._fields(self._evidence)
        compared = _compared(mattes, fields)
        carried, claimed = compared.carried, compared.claimed
        other = F.avg_pool2d(carried[0], 2)
        agreed = torch.minimum(coarse[0], other)[0]
        # Where the eyes agree on nothing yet, what either holds must do.
        weight = agreed + 1e-3 * torch.maximum(coarse[0], other)[0]
        reference = torch.stack([(weight * fields[0]).sum(), weight.sum()])
        before = self._reference
        self._reference = reference if before is None else reference + _REFERENCE_FADE * before
        subject = self._reference[0] / self._reference[1].clamp(min=1e-6)
        figures = torch.cat([compared.figures, reference])
        return _Observed(pictures, mattes, fields, carried, claimed, cost, subject, figures)

    def _fields(self, evidence: Evidence) -> list[Tensor]:
        left = mean_cost(evidence)
        right = to_right_eye(left, self._search, 1.0)
        return [best_disparity(left, self._search), best_disparity(right, self._search)]

    def _bare_fields(self, frame: _Observed, verdicts: list[Verdict]) -> list[Tensor]:
        """The field anew, without the ghosts: beside them it is the subject's edge that counts."""
        left, right = (
            F.avg_pool2d(own * (1 - verdict.ghost), 2)
            for own, verdict in zip(frame.mattes, verdicts, strict=True)
        )
        return self._fields(subject_evidence(frame.cost, left, right, self._search))

    def _judge(self, frame: _Observed, eye: int) -> Verdict:
        claimed = frame.claimed[eye]
        if self._settings.mode == "master_slave":
            master = (eye == 0) == (self._settings.master_eye == "left")
            return Verdict.of(claimed, claimed.new_full((1, 1, 1), 1.0 if master else -1.0))
        score = truth_of_claims(self._view(frame, eye), frame.subject, self._search)
        return Verdict.of(claimed, score)

    def _view(self, frame: _Observed, eye: int) -> View:
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


@dataclass(frozen=True, slots=True)
class _Compared:
    """The mattes of one frame, each carried to the other eye; see `_Observed`.

    Attributes:
        figures: disagreement and union in pixels.
    """

    carried: list[Tensor]
    claimed: list[Tensor]
    figures: Tensor


def _compared(mattes: Tensor, fields: list[Tensor]) -> _Compared:
    carried, claimed, union = [], [], mattes.new_zeros(())
    for eye in (0, 1):
        fine = enlarge_field(fields[eye], mattes.shape[-2:])
        carried.append(carry(mattes[1 - eye], fine, eye))
        claimed.append(claims(mattes[eye], carried[eye], fine, eye))
        union = union + torch.maximum(mattes[eye], carried[eye]).sum() / 2
    differing = claimed[0].sum() + claimed[1].sum()
    return _Compared(carried, claimed, torch.stack([differing, union]))


def _changed_eyes(verdicts: list[Verdict]) -> list[int]:
    weights = [verdicts[1 - eye].true.amax() + verdicts[eye].ghost.amax() for eye in (0, 1)]
    return [eye for eye, weight in enumerate(torch.stack(weights).tolist()) if weight > 0]


def _eighths(side: float) -> int:
    return max(16, 8 * round(side / 8))


def _shrink(planes: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    height, width = size
    if planes.device.type != "cpu" or planes.dtype == torch.float32:
        return F.interpolate(planes.float(), size=(height, width), mode="area")
    small = torch.empty(*planes.shape[:2], height, width)
    for picture, out in zip(planes, small, strict=True):
        for plane, target in zip(picture, out, strict=True):  # two eyes in floats: 400 MB at 8K
            shrunk = F.interpolate(plane[None, None].float(), size=(height, width), mode="area")
            target.copy_(shrunk[0, 0])
    return small
