"""How near `matting.despill` brings the colours of the rim to the demo figure's own.

    vrmatte demo demo-clips
    python benchmarks/despill.py demo-clips/demo_green_LR_180.mp4 chroma
    python benchmarks/despill.py demo-clips/demo_room_LR_180.mp4 rvm

Printed for each strength is the mean absolute error of the foreground's colours within 4 pixels of
what is not opaque, weighted by alpha, in levels of 255, and the mean error of green alone.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F

from orchestrator.demo.scene import Scene
from pipeline.contract import (
    EdgeSettings,
    MattingSettings,
    ProcessingSettings,
    SegmentJob,
    VideoSettings,
)
from pipeline.preview import Shown, preview_frames
from pipeline.source.video_info import read_video

_FRAMES = (20, 40, 70)
_RIM = 4  # pixels


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clip", type=Path)
    parser.add_argument("model")
    asked = parser.parse_args()
    for despill in (0, 0.5, 1):
        found = torch.tensor(errors(asked.clip, asked.model, despill)).mean(dim=0) * 255
        print(f"despill {despill}: error {found[0]:.1f}, of green {found[1]:+.1f}")


def errors(clip: Path, model: str, despill: float) -> list[tuple[float, float]]:
    with tempfile.TemporaryDirectory() as folder:
        index = Path(folder) / "index.json"
        video = read_video(clip, index, layout=None)
        settings = VideoSettings(
            matting=MattingSettings(model=model, edges=EdgeSettings(despill=despill)),
            processing=ProcessingSettings(engine="openvino" if model == "rvm" else "torch"),
        )
        job = SegmentJob(video, settings, 0, 0, video.num_frames, str(index), folder)
        scene = Scene(video.num_frames, eye_size=video.eye_size[1])
        shown = preview_frames(job, _FRAMES, torch.device("cpu"), len(_FRAMES))
        return [of_rim(each, scene) for each in shown]


def of_rim(shown: Shown, scene: Scene) -> tuple[float, float]:
    truth = torch.cat([*torch.from_numpy(scene.alpha(shown.number))], dim=1)
    colour = torch.cat([*torch.from_numpy(scene.figure_colour(shown.number))], dim=1)
    alpha = shown.alpha.float() / 255
    inside = -F.max_pool2d(-(alpha > 0.99).float()[None], 2 * _RIM + 1, 1, _RIM)[0]
    weight = alpha * truth * ((alpha > 0.1) & (inside < 1) & (truth > 0.2))
    off = (shown.foreground.float() / 255 - colour.permute(2, 0, 1)) * weight
    total = weight.sum()
    return float(off.abs().mean(dim=0).sum() / total), float(off[1].sum() / total)


if __name__ == "__main__":
    main()
