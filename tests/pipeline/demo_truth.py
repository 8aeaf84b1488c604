"""The demo's clips decoded beside their ground truth, and the same scene small and in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from orchestrator.demo.demo import make_demo
from orchestrator.demo.scene import Backdrop, Scene
from pipeline.pixels.batches import EyeBatch
from pipeline.stages.matting.base import MattingModel, Prepared

SECONDS, EYE = 2.0, 640
SMALL_FRAMES, SMALL = 7, 240

_FILES: dict[Backdrop, str] = {"room": "demo_room_LR_180.mp4", "green": "demo_green_LR_180.mp4"}


def make_demo_clips(folder: Path) -> None:
    """Encode the clips of `demo_scene`; the fixture `demo_folder` does it once a session."""
    make_demo(folder, seconds=SECONDS, eye_size=EYE)


@cache
def demo_scene() -> Scene:
    return Scene(round(30 * SECONDS), eye_size=EYE)


class DemoClip:
    """A clip of `demo_folder` by TorchCodec; more than 8 bits are rounded, not truncated."""

    def __init__(self, demo_folder: Path, backdrop: Backdrop) -> None:
        from pipeline.torchcodec_import import decoders

        path = demo_folder / _FILES[backdrop]
        self._decoder = decoders.VideoDecoder(path, output_dtype=torch.float32)
        self.num_frames, self.eyes, self.height, self.width = len(self._decoder), 2, EYE, EYE
        self.prompts: bytes | None = None
        self.right_first = False
        assert self.num_frames == demo_scene().num_frames

    def sample(self, frames: Sequence[int]) -> EyeBatch:
        pictures = self._decoder.get_frames_at(list(frames)).data
        rgb = (pictures * 255).round().clamp(0, 255).to(torch.uint8)
        return EyeBatch(torch.stack([rgb[..., :EYE], rgb[..., EYE:]], dim=1), frames[0])


class Clip:
    """A clip that is held in memory, uint8 ``[T, E, 3, H, W]``."""

    def __init__(self, rgb: Tensor) -> None:
        self.rgb = rgb
        self.num_frames, self.eyes, _, self.height, self.width = rgb.shape
        self.prompts: bytes | None = None
        self.right_first = False

    def sample(self, frames: Sequence[int]) -> EyeBatch:
        assert list(frames) == sorted(frames)
        return EyeBatch(self.rgb[list(frames)].clone(), 0)


@cache
def scene_clip(backdrop: Backdrop) -> Clip:
    """A small clip of the scene that no codec has touched."""
    scene = Scene(SMALL_FRAMES, eye_size=SMALL)
    pictures = [torch.from_numpy(scene.picture(n, backdrop)) for n in range(SMALL_FRAMES)]
    return Clip(torch.stack(pictures).permute(0, 1, 4, 2, 3).contiguous())


@dataclass(frozen=True, slots=True)
class Judged:
    """One frame's matte beside the truth.

    Attributes:
        alpha, truth: float32 ``[E, H, W]``.
        foreground, colour: float32 ``[E, 3, H, W]``, the model's and the figure's own.
    """

    frame: int
    alpha: Tensor
    truth: Tensor
    foreground: Tensor
    colour: Tensor

    @property
    def alpha_error(self) -> float:
        """Mean absolute error over the frame."""
        return float((self.alpha - self.truth).abs().mean())


def judge(
    model: MattingModel, clip: DemoClip, prepared: Prepared, frames: Sequence[int]
) -> list[Judged]:
    scene, judged = demo_scene(), []
    state = model.start(clip.eyes, clip.height, clip.width, prepared)
    for frame in frames:
        batch = clip.sample([frame])
        matte = model.matte(batch, state)
        colour = torch.from_numpy(scene.figure_colour(frame)).permute(0, 3, 1, 2)
        foreground = batch.rgb / 255 if matte.foreground is None else matte.foreground
        truth = torch.from_numpy(scene.alpha(frame))
        judged.append(Judged(frame, matte.alpha[0, :, 0], truth, foreground[0], colour))
    return judged
