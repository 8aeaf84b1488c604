"""`sam2+rvm`: SAM 2 says who the subject is, and another model draws its edge.

The edge model (`matting.sam2_edge`) mattes every frame by itself. Of its matte stays what lies in
SAM 2's answer or close to it: other people go. What SAM 2 holds firmly and the edge model lacks, as
things that the subject carries, is taken from SAM 2's own soft matte. Neither decision is a
switch: both are probabilities on SAM 2's cells, mixed with those of the frames before, so that a
region in doubt fades instead of flickering. Where the subject moves to is in no doubt.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.contract import MattingSettings, ProcessingSettings
from pipeline.pixels.batches import EyeBatch, MatteBatch
from pipeline.pixels.guided_filter import box_mean
from pipeline.stages.matting.base import ClipSampler, MattingModel, Prepared
from pipeline.stages.matting.sam2.facts import Sam2Options
from pipeline.stages.matting.sam2.load import dilated, load_helper, load_tracker, of_any, soft_matte
from pipeline.stages.matting.sam2.sight import Answer, Subjects
from pipeline.stages.matting.sam2.tracker import SubjectTracker
from pipeline.stages.matting.sam2.window import Window, carried

#: In cells (a 256th of what SAM 2 sees): how far outside of its answer the edge model is believed,
#: how far inside of it something must be missing to be missed, and how far around that is mended.
_CLOSE, _FIRM, _MENDED = 3, 2, 4

#: What the frames before weigh in both decisions, each a little less than the one after it.
_FADE = 0.5

#: Cells of a whole eye that a limb may go from one frame to the next: 8 degrees of VR180.
_STEP = 12

#: What the edge model prepared, among what the tracker did.
_PREFIX = "edge."


def load(
    matting: MattingSettings, processing: ProcessingSettings, device: torch.device
) -> MattingModel:
    """Load SAM 2, its seed model and the edge model; one and the same is loaded once.

    Raises:
        MachineError, SettingsError: as the models.
    """
    options = matting.of(Sam2Options)
    edge = load_helper(options.edge, matting, processing, device)
    seed = edge
    if options.seed != options.edge:
        seed = load_helper(options.seed, matting, processing, device)
    return SubjectEdges(load_tracker(matting, processing, device, seed), edge)


@dataclass(slots=True)
class _State:
    """Of one segment.

    Attributes:
        decided: of each eye, what was decided before.
    """

    subjects: Subjects
    edge: Any
    decided: dict[int, _Decided] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Decided:
    """Where the edge model is believed and where it lacks something, ``[1, 1, h, w]`` each.

    Attributes:
        window: the part of the eye that SAM 2's cells are of.
    """

    window: Window
    close: Tensor
    lacking: Tensor

    def over(self, window: Window) -> _Decided:
        size = self.close.shape[-2], self.close.shape[-1]
        close, lacking = (
            carried(plane[0], self.window, window, size, 0.0)[None]
            for plane in (self.close, self.lacking)
        )
        return _Decided(window, close, lacking)


class SubjectEdges:
    """See `pipeline.stages.matting.base.MattingModel`.

    Args:
        edge: the model whose alpha and colours are taken.
    """

    name: ClassVar[str] = "sam2+rvm"

    def __init__(self, tracker: SubjectTracker, edge: MattingModel) -> None:
        self._tracker = tracker
        self._edge = edge
        self.warmup_frames = max(24, edge.warmup_frames)  # 24: as `sam2`

    def prepare(self, clip: ClipSampler) -> Prepared:
        edge = self._edge.prepare(clip)
        return {
            **self._tracker.prepare(clip),
            **{_PREFIX + name: tensor for name, tensor in edge.items()},
        }

    def start(self, eyes: int, height: int, width: int, prepared: Prepared) -> _State:
        """Raises InputError where the seed or the edge model does."""
        of_edge = {
            name.removeprefix(_PREFIX): tensor
            for name, tensor in prepared.items()
            if name.startswith(_PREFIX)
        }
        return _State(
            self._tracker.start(eyes, height, width, prepared),
            self._edge.start(eyes, height, width, of_edge),
        )

    @torch.inference_mode()
    def matte(self, eyes: EyeBatch, state: _State) -> MatteBatch:
        """The edge model's colours, where it has some; where no subject was found, alpha is 0."""
        edges = self._edge.matte(eyes, state.edge)
        alpha = torch.zeros_like(edges.alpha)
        foreground = edges.foreground
        if foreground is not None:
            foreground = foreground.clone()
        objects = self._tracker.nowhere(eyes, state.subjects)
        for t, answers in enumerate(self._tracker.track(eyes, state.subjects)):
            for number, answer in enumerate(answers):
                if answer is None:
                    continue
                objects[t, number] = self._tracker.objects(answer, state.subjects)
                part = number, slice(None), answer.window.rows, answer.window.columns
                rgb = eyes.rgb[t][part]
                alpha[t][part], held = self._of_subject(
                    edges.alpha[t][part], answer, rgb, number, state
                )
                if foreground is not None:
                    foreground[t][part].lerp_(rgb.to(foreground.dtype) / 255, held)
        return MatteBatch(alpha, foreground, eyes.start, objects)

    def _of_subject(
        self, edge: Tensor, answer: Answer, rgb: Tensor, number: int, state: _State
    ) -> tuple[Tensor, Tensor]:
        """Alpha ``[1, H, W]`` of the window, and which share of it is SAM 2's own."""
        window, logits = answer.window, of_any(answer.logits).float()
        cells, size = logits.shape[-2:], edge.shape[-2:]
        close = dilated(logits, _CLOSE).sigmoid()
        firm = (-dilated(-logits, _FIRM)).sigmoid()
        coarse = F.interpolate(edge[None].float(), size=cells, mode="area")
        lacking = box_mean(dilated(firm * (1 - coarse), _MENDED), _FIRM)
        before = state.decided.get(number)
        if before is not None:
            before = before.over(window)
            step = round(_STEP * max(state.subjects.size) / max(window.width, window.height))
            close = _faded(close, before.close, step)
            lacking = _faded(lacking, before.lacking, step)
        state.decided[number] = _Decided(window, close, lacking)
        own = edge * _enlarged(close, size).to(edge.dtype)
        share = _enlarged(lacking, size).to(edge.dtype)
        more = (soft_matte(logits, rgb).to(edge.dtype) - own).clamp_(min=0) * share
        alpha = (own + more).clamp_(0, 1)
        return alpha, more / alpha.clamp(min=1e-3)


def _faded(now: Tensor, before: Tensor, step: int) -> Tensor:
    """Taken back by and by. So is what appears farther than `step` cells from all that was there;
    what is near is meant at once, or whatever moves would be half transparent in front."""
    near = torch.minimum(now, dilated(before, step))
    return torch.maximum(torch.lerp(now, before, _FADE), near)


def _enlarged(planes: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(planes, size=size, mode="bilinear")[0]
