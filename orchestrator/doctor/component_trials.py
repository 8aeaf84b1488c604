"""Models and formats, each alone, on the drawn scene, whose true alpha is known.

Runs in a trial's process.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from orchestrator.demo.scene import Backdrop, Scene
from orchestrator.doctor.read_trial import read_back
from orchestrator.doctor.trials import FormatTrial, ModelTrial, ReadTrial, Tried
from orchestrator.plan.planner import segment_grid
from pipeline.contract import (
    EyeShape,
    FinishJob,
    MattingSettings,
    ProcessingSettings,
    SegmentJob,
    StreamingSettings,
    VideoSettings,
)
from pipeline.deliverables.format import as_in_source
from pipeline.deliverables.formats import FORMATS
from pipeline.finish import finish_video
from pipeline.flow.cuda_streams import segment_stream
from pipeline.pixels.batches import EyeBatch
from pipeline.segment import run_segment
from pipeline.source.video_info import read_video
from pipeline.stages.chain import Chain
from pipeline.stages.matting.catalogue import facts_of
from pipeline.stages.matting.chroma_facts import CHROMA

#: A walk across the room that a clean plate can be found in.
MODEL_FRAMES, MODEL_EYE = 12, 256
_CHUNK = 4


class _SceneClip:
    """The scene as `pipeline.stages.base.ClipSampler`."""

    def __init__(self, scene: Scene, backdrop: Backdrop, device: torch.device) -> None:
        self.num_frames = scene.num_frames
        self.eyes = 2
        self.height = self.width = scene.eye_size
        self.right_first = False
        pictures = np.stack([scene.picture(k, backdrop) for k in range(scene.num_frames)])
        # [T, E, H, W, 3] -> [T, E, 3, H, W]
        self.rgb = torch.from_numpy(pictures).permute(0, 1, 4, 2, 3).contiguous().to(device)

    @property
    def prompts(self) -> bytes | None:
        return None

    def sample(self, frames: Sequence[int]) -> EyeBatch:
        return EyeBatch(self.rgb[list(frames)], 0)


def try_model(trial: ModelTrial, device: torch.device) -> Tried:
    """Figures: error (mean difference to the true alpha, 0..1), low, high, mean; and where it is
    asked for cpu_difference (mean difference between device and CPU).
    """
    scene = Scene(MODEL_FRAMES, eye_size=MODEL_EYE)
    slow = facts_of(trial.matting).slow_on_cpu and device.type == "cpu"
    frames = 2 if slow else MODEL_FRAMES
    alpha = _matte(trial.matting, trial.processing, scene, frames, device)
    if alpha.shape != (frames, 2, 1, MODEL_EYE, MODEL_EYE):
        return Tried("failed", f"its alpha has the shape {list(alpha.shape)}")
    if not bool(torch.isfinite(alpha).all()):
        return Tried("failed", "its alpha is not a number somewhere")
    truth = torch.from_numpy(np.stack([scene.alpha(k) for k in range(frames)]))[:, :, None]
    figures = {
        "error": float((alpha - truth).abs().mean()),
        "low": float(alpha.min()),
        "high": float(alpha.max()),
        "mean": float(alpha.mean()),
    }
    if trial.on_cpu_too:
        here = _matte(trial.matting, trial.processing, scene, frames, torch.device("cpu"))
        figures["cpu_difference"] = float((alpha - here).abs().mean())
    return Tried("works", figures=figures)


def _matte(
    matting: MattingSettings,
    processing: ProcessingSettings,
    scene: Scene,
    frames: int,
    device: torch.device,
) -> Tensor:
    """float32 ``[T, E, 1, H, W]`` on the host."""
    settings = VideoSettings(matting=matting, processing=processing)
    chain = Chain.of(settings, device)
    clip = _SceneClip(scene, facts_of(matting).backdrop, device)
    eye = EyeShape(2, clip.height, clip.width, "equirect180", scene.frame_rate)
    starts = range(0, frames, _CHUNK)
    batches = (EyeBatch(clip.rgb[at : min(frames, at + _CHUNK)], at) for at in starts)
    with segment_stream(device):
        passing = chain.start(eye, chain.prepare(clip))
        parts = [layers.matte.alpha for layers in passing.layers(batches, 0, frames)]
        return torch.cat([part.cpu().float() for part in parts])


def try_format(trial: FormatTrial, device: torch.device) -> Tried:
    """Figures: those of `read_trial`. Words: decoder."""
    folder = Path(trial.folder)
    folder.mkdir(parents=True, exist_ok=True)
    index = folder / "index.json"
    video = read_video(Path(trial.path), index, "sbs")
    matting = MattingSettings(model=CHROMA.name)
    half = trial.num_frames // 2
    settings = VideoSettings(
        deliverables=(trial.name,),
        matting=matting,
        encoding=trial.encoding,
        max_frames=trial.num_frames,
        streaming=StreamingSettings(segment_frames=half),
    )
    chain = Chain.of(settings, device)
    results = tuple(
        run_segment(
            SegmentJob(video, settings, number, start, stop, str(index), str(folder)),
            chain,
            device,
        )
        for number, (start, stop) in enumerate(segment_grid(0, trial.num_frames, half))
    )
    row = FORMATS[trial.name]
    output = folder / f"{trial.name}_LR_180{row.suffix}"
    finish_video(FinishJob(video, settings, results, (str(output),), str(folder)))
    knows_truth = row.picture(video) == as_in_source(video)  # not through another lens
    tried = read_back(
        ReadTrial(
            str(output),
            trial.name,
            whole=True,
            scene_frames=video.num_frames if knows_truth else 0,
            scene_eye=video.height if knows_truth else 0,
        )
    )
    return Tried(tried.outcome, tried.said, tried.figures, {"decoder": results[0].decoder})
