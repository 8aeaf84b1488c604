"""Measures mattes against the truth: of drawn rooms, of a clip, and of what is made from it.

    python benchmarks/subjects.py [--model depth] [--frames N] [--clip VIDEO --alpha TRUTH]
                                  [--behind VIDEO] [--sheets FOLDER] [--anyway] [--only NAME]

Rows: the demo's room, at two speeds of the walk; VIDEO (side by side, its true alpha a grey video
of the same size); and the figure of VIDEO cut out and placed elsewhere (another disparity, size or
place, with noise, or darker in one eye) before the frames of `--behind` (360 degrees with the left
eye on top, of which the front is cut out). Columns: IoU at alpha 0.5, the mean and the least of all
frames and eyes; MAD, mean absolute difference of alpha; dtSSD, root of the mean squared difference
of its change in time (Erofeev et al., "Perceptually Motivated Benchmark for Video Matting", BMVC
2015); frames a second with one thread. A video that is refused has the reason instead; `--anyway`
measures it all the same.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from orchestrator.demo.scene import Scene
from pipeline.contract import MattingSettings, ProcessingSettings
from pipeline.errors import InputError
from pipeline.pixels.batches import EyeBatch
from pipeline.stages.matting.base import MattingModel, load_model
from pipeline.torchcodec_import import decoders


class Clip:
    """Eyes uint8 ``[T, 2, 3, H, W]`` and their true alpha float32 ``[T, 2, H, W]``, in memory."""

    prompts: bytes | None = None
    right_first = False

    def __init__(self, name: str, rgb: Tensor, alpha: Tensor | None) -> None:
        self.name, self.rgb, self.alpha = name, rgb, alpha
        self.num_frames, self.eyes, _, self.height, self.width = rgb.shape

    def sample(self, frames: Sequence[int]) -> EyeBatch:
        return EyeBatch(self.rgb[list(frames)].clone(), 0)


@dataclass(frozen=True)
class Placed:
    """How the figure is placed: disparity in pixels, size, and where to, in shares of the eye."""

    name: str
    disparity: float = 14
    size: float = 1
    right: float = 0
    down: float = 0
    noise: float = 0
    darker: float = 1


PLACED = (
    Placed("as it is"),
    Placed("farther, 9 px", disparity=9),
    Placed("nearer, 24 px", disparity=24),
    Placed("0.6 as large, 10 px", disparity=10, size=0.6, down=0.15),
    Placed("0.4 as large, 10 px, right", disparity=10, size=0.4, right=0.2, down=0.1),
    Placed("1.3 as large, 20 px", disparity=20, size=1.3, down=0.15),
    Placed("left", right=-0.25),
    Placed("noise", noise=5),
    Placed("right eye darker", darker=0.9),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="depth")
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--clip", type=Path)
    parser.add_argument("--alpha", type=Path)
    parser.add_argument("--behind", type=Path)
    parser.add_argument("--sheets", type=Path)
    parser.add_argument("--anyway", action="store_true")
    parser.add_argument("--only", default="", help="rows whose name has this in it")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    model = load_model(
        MattingSettings(model=asked.model), ProcessingSettings(engine="torch"), torch.device("cpu")
    )
    print(f"{'':34} IoU   least     MAD   dtSSD  frames/s", flush=True)
    for clip in clips(asked):
        if asked.only in clip.name:
            measure(model, clip, asked)


def clips(asked: argparse.Namespace) -> Iterator[Clip]:
    for length in (60, 240):
        yield drawn(length, min(length, 2 * asked.frames))
    if asked.clip is None:
        return
    truth = None if asked.alpha is None else side_by_side(asked.alpha)[:, :, 0].float() / 255
    clip = Clip(asked.clip.name, side_by_side(asked.clip), truth)
    yield clip
    if asked.behind is None:
        return
    behind = stereo_half(asked.behind, clip.num_frames, clip.width)
    yield Clip(asked.behind.name, behind[:: clip.num_frames // 7], None)
    for placed in PLACED:
        yield place(clip, behind, placed, asked.frames)


def drawn(length: int, frames: int) -> Clip:
    scene = Scene(length)
    numbers = range(frames)
    rgb = torch.from_numpy(np.stack([scene.picture(n, "room") for n in numbers]))
    alpha = torch.from_numpy(np.stack([scene.alpha(n) for n in numbers]))
    return Clip(f"the demo's room, {length} frames", rgb.permute(0, 1, 4, 2, 3).contiguous(), alpha)


def side_by_side(path: Path) -> Tensor:
    frames = decoders.VideoDecoder(str(path)).get_frames_in_range(0, 100).data
    width = frames.shape[3] // 2
    return torch.stack([frames[..., :width], frames[..., width:]], dim=1)


def stereo_half(path: Path, frames: int, side: int) -> Tensor:
    """The front half of a sphere with the left eye on top, uint8 ``[T, 2, 3, side, side]``."""
    decoder = decoders.VideoDecoder(str(path))
    pictures = []
    for number in range(frames):
        whole = decoder.get_frame_at(min(number, len(decoder) - 1)).data.permute(1, 2, 0).numpy()
        height, width = whole.shape[0] // 2, whole.shape[1]
        eyes = [whole[:height, width // 4 : -width // 4], whole[height:, width // 4 : -width // 4]]
        pictures.append(
            np.stack([cv2.resize(eye, (side, side), interpolation=cv2.INTER_AREA) for eye in eyes])
        )
    return torch.from_numpy(np.stack(pictures)).permute(0, 1, 4, 2, 3).contiguous()


def place(clip: Clip, behind: Tensor, placed: Placed, frames: int) -> Clip:
    """The left eye's figure in both eyes, at another place."""
    assert clip.alpha is not None
    side = clip.width
    generator = np.random.default_rng(1)
    rgb, alpha = np.empty((frames, 2, side, side, 3), np.uint8), []
    for frame in range(frames):
        number = frame + 40
        colour = clip.rgb[number, 0].permute(1, 2, 0).numpy().astype(np.float32)
        own = clip.alpha[number, 0].numpy()
        for eye in (0, 1):
            shift = (0.5 - eye) * placed.disparity + placed.right * side
            move = np.array(
                [
                    [placed.size, 0, (1 - placed.size) * side / 2 + shift],
                    [0, placed.size, (1 - placed.size) * side / 2 + placed.down * side],
                ],
                np.float32,
            )
            flags = cv2.INTER_AREA if placed.size < 1 else cv2.INTER_LINEAR
            layer = cv2.warpAffine(colour * own[..., None], move, (side, side), flags=flags)
            share = cv2.warpAffine(own, move, (side, side), flags=flags)
            back = behind[number, eye].permute(1, 2, 0).numpy()
            picture = layer + back * (1 - share[..., None])
            picture *= placed.darker if eye else 1
            picture += generator.normal(0, placed.noise, picture.shape) if placed.noise else 0
            rgb[frame, eye] = np.clip(picture + 0.5, 0, 255)
            alpha.append(share)
    truth = torch.from_numpy(np.stack(alpha)).view(frames, 2, side, side)
    return Clip(placed.name, torch.from_numpy(rgb).permute(0, 1, 4, 2, 3).contiguous(), truth)


def measure(model: MattingModel, clip: Clip, asked: argparse.Namespace) -> None:
    try:
        prepared = model.prepare(clip)
    except InputError as error:
        print(f"{clip.name:32} {error.message}", flush=True)
        if not asked.anyway:
            return
        prepared = {}
    state = model.start(2, clip.height, clip.width, prepared)
    alphas, began = [], time.perf_counter()
    for frame in range(clip.num_frames):
        alphas.append(
            model.matte(EyeBatch(clip.rgb[frame : frame + 1], frame), state).alpha[0, :, 0]
        )
    rate = clip.num_frames / (time.perf_counter() - began)
    alpha = torch.stack(alphas)
    if asked.sheets is not None:
        asked.sheets.mkdir(parents=True, exist_ok=True)
        draw(clip, alpha, asked.sheets / f"{clip.name.replace(' ', '-')}.png")
    if clip.alpha is None:
        print(f"{clip.name:32} no truth; {float(alpha.mean()):.3f} of it is matte", flush=True)
        return
    inside, truth = alpha > 0.5, clip.alpha > 0.5
    common = (inside & truth).sum(dim=(2, 3)).double()
    iou = common / (inside | truth).sum(dim=(2, 3)).clamp(min=1)
    change = (alpha.diff(dim=0) - clip.alpha.diff(dim=0)).square().mean(dim=(1, 2, 3)).sqrt()
    print(
        f"{clip.name:32} {iou.mean():.3f}  {iou.min():.3f}"
        f"  {(alpha - clip.alpha).abs().mean():.4f}  {change.mean():.4f}  {rate:.2f}",
        flush=True,
    )


def draw(clip: Clip, alpha: Tensor, path: Path) -> None:
    """Five frames, both eyes, over violet."""
    rows = []
    for number in np.linspace(0, clip.num_frames - 1, 5).astype(int):
        a = alpha[number][:, None]
        over = clip.rgb[number] * a + (1 - a) * torch.tensor([150.0, 0, 200]).view(1, 3, 1, 1)
        rows.append(torch.cat([*over, *clip.rgb[number].float()[:1]], dim=2))
    sheet = torch.cat(rows, dim=1).permute(1, 2, 0).numpy().astype(np.uint8)
    sheet = cv2.resize(sheet, None, fx=0.45, fy=0.45, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(path), np.ascontiguousarray(sheet[..., ::-1]))


if __name__ == "__main__":
    main()
