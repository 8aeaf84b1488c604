"""How good enlarged pictures are: a clip is made smaller, enlarged again, and compared with itself.

    python benchmarks/enhance.py CLIP... [--frames 30] [--crop 384x216] [--scale 2] [--crf 30]

For each clip: PSNR; E_warp (Lai et al., "Learning Blind Video Temporal Consistency", ECCV 2018),
the mean squared difference of a frame to the one before, moved to it by the motion of the true
frames where that can be followed, times 1000; tOF, the mean difference of the motion of the result
to the true one, in pixels; and the PSNR of the result made small again against what it was made of.
Beside them are bicubic's. With ``--crf`` the small clip is coded by x264 first, as phones do.
Side-by-side clips (``_LR`` in their names) are enlarged as two eyes; their stereo residual is the
mean difference of the left eye to the right one moved onto it by the true frames' disparity,
against that of the true frames.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.contract import EnhanceSettings, EyeShape, VideoSettings
from pipeline.pixels.batches import EyeBatch
from pipeline.stages.catalogue import StageChoice, make_stage
from pipeline.stages.chain import Chain
from pipeline.stages.enhance.choice import denoise_for, settled_enhancement
from pipeline.stages.enhance.motion import Follower, grey


def frames_of(path: Path, count: int) -> Iterator[np.ndarray]:
    with av.open(str(path)) as file:
        for number, frame in enumerate(file.decode(video=0)):
            if number == count:
                return
            yield frame.to_ndarray(format="rgb24")


def true_frames(path: Path, count: int, crop: tuple[int, int]) -> Tensor:
    """uint8 ``[T, E, 3, h, w]`` out of the middle of each eye."""
    width, height = crop
    pictures = torch.from_numpy(np.stack(list(frames_of(path, count)))).permute(0, 3, 1, 2)
    eyes = pictures.chunk(2, -1) if "_LR" in path.name else (pictures,)
    top = (eyes[0].shape[2] - height) // 2
    left = (eyes[0].shape[3] - width) // 2
    return torch.stack([eye[..., top : top + height, left : left + width] for eye in eyes], 1)


def made_small(true: Tensor, scale: int) -> Tensor:
    small = F.avg_pool2d(true.flatten(0, 1).float(), scale)
    return small.round_().clamp_(0, 255).to(torch.uint8).unflatten(0, true.shape[:2])


def coded(pictures: Tensor, crf: int) -> tuple[Tensor, float]:
    """What comes back of x264, eyes side by side, and its bits a pixel."""
    joined = torch.cat(list(pictures.unbind(1)), -1)
    height, width = joined.shape[2:]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "small.mp4"
        with av.open(str(path), "w") as file:
            stream = file.add_stream("libx264", Fraction(30), options={"crf": str(crf)})
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for picture in joined:
                frame = av.VideoFrame.from_ndarray(
                    picture.permute(1, 2, 0).contiguous().numpy(), format="rgb24"
                )
                file.mux(stream.encode(frame))
            file.mux(stream.encode())
        bits = 8 * path.stat().st_size / joined[:, 0].numel()
        back = torch.from_numpy(np.stack(list(frames_of(path, len(joined))))).permute(0, 3, 1, 2)
    return torch.stack(back.chunk(pictures.shape[1], -1), 1), bits


def enhanced(small: Tensor, settings: EnhanceSettings) -> Tensor:
    """By the chain of stages that the settings ask for."""
    video = VideoSettings(enhance=settled_enhancement(settings, "cpu"))
    names = {
        "denoise": settings.calms != 0,
        "super_resolution": settings.scale > 1,
        "stabilise": settings.history > 0,
    }
    device = torch.device("cpu")
    chain = Chain([make_stage(StageChoice(n, video), device) for n, on in names.items() if on])
    count, eyes, _, height, width = small.shape
    shape = EyeShape(eyes, height, width, "flat", Fraction(30))
    running = chain.start(shape, {})
    batches = (EyeBatch(small[t : t + 1], t) for t in range(count))
    return torch.cat([layers.rgb for layers in running.layers(batches, 0, count)])


def bicubic(small: Tensor, scale: int) -> Tensor:
    large = F.interpolate(
        small.flatten(0, 1).float(), scale_factor=scale, mode="bicubic", align_corners=False
    )
    return large.round_().clamp_(0, 255).to(torch.uint8).unflatten(0, small.shape[:2])


def psnr(a: Tensor, b: Tensor) -> float:
    return float(10 * torch.log10(255**2 / (a.float() - b.float()).square().mean()))


def temporal(made: Tensor, true: Tensor) -> tuple[float, float]:
    """E_warp times 1000, and tOF."""
    follower, device = Follower(), torch.device("cpu")
    errors, off = [], []
    size = (true.shape[3], true.shape[4])
    for t in range(1, len(true)):
        for eye in range(true.shape[1]):
            now, before = grey(true[t, eye]), grey(true[t - 1, eye])
            motion = follower.motion(now, before, size, device)
            if motion is None:
                continue
            last = made[t - 1, eye][None].float()
            moved = F.grid_sample(last, motion.grid, padding_mode="border", align_corners=False)[0]
            mask = motion.followed[0].bool().expand(3, -1, -1)
            wrong = (made[t, eye].float() - moved).div_(255).square_()
            errors.append(float(wrong[mask].mean()) * 1000)
            theirs = follower.between(grey(made[t, eye]), grey(made[t - 1, eye]))
            off.append(float((theirs - follower.between(now, before)).norm(dim=1).mean()))
    return float(np.mean(errors)), float(np.mean(off))


def stereo_residual(made: Tensor, true: Tensor) -> float:
    """Mean difference of the left eye to the right one moved onto it."""
    follower, device = Follower(), torch.device("cpu")
    found = []
    for t in range(len(true)):
        size = (true.shape[3], true.shape[4])
        motion = follower.motion(grey(true[t, 0]), grey(true[t, 1]), size, device)
        if motion is None:
            continue
        moved = F.grid_sample(made[t, 1][None].float(), motion.grid, align_corners=False)[0]
        mask = motion.followed[0].bool().expand(3, -1, -1)
        found.append(float((made[t, 0].float() - moved).abs()[mask].mean()))
    return float(np.mean(found))


def report(name: str, made: Tensor, true: Tensor, small: Tensor, scale: int) -> None:
    warp, flow = temporal(made, true)
    line = f"  {name:22} PSNR {psnr(made, true):6.2f}  E_warp {warp:6.3f}  tOF {flow:5.3f}"
    line += f"  back {psnr(made_small(made, scale), small):5.1f}"
    if true.shape[1] == 2:
        line += f"  stereo {stereo_residual(made, true) / stereo_residual(true, true):.2f}"
    print(line, flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--frames", type=int, default=30)
    parser.add_argument("--crop", default="384x216")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--crf", type=int)
    parser.add_argument("--upscaler", default="span")
    parser.add_argument("--also", nargs="*", default=[], metavar="KEY=VALUE,...")
    asked = parser.parse_args(arguments)
    width, height = map(int, asked.crop.split("x"))
    for clip in asked.clips:
        true = true_frames(clip, asked.frames, (width, height))
        small = made_small(true, asked.scale)
        given, calm, source = small, 0.0, "clean"
        if asked.crf is not None:
            given, bits = coded(small, asked.crf)
            calm = denoise_for(bits, given[0, :, 0].numel())
            source = f"x264 crf {asked.crf}, {bits:.3f} bits a pixel: denoise {calm}"
        print(f"{clip.name}, {len(true)} frames, {asked.crop}, x{asked.scale}, {source}")
        report("true", true, true, small, asked.scale)
        report("bicubic", bicubic(given, asked.scale), true, given, asked.scale)
        base = EnhanceSettings(scale=asked.scale, model=asked.upscaler)
        rows: dict[str, dict[str, Any]] = {k: {"quality": k} for k in ("fast", "balanced", "best")}
        for text in asked.also:
            pairs = (each.split("=") for each in text.split(","))
            rows[text] = {key: float(v) if key != "stabilise" else int(v) for key, v in pairs}
        for name, values in rows.items():
            settings = replace(base, **values)
            if settings.calms == "auto":
                settings = replace(settings, denoise=calm)
            made = enhanced(given, settings)
            report(name, made, true, given, asked.scale)


if __name__ == "__main__":
    main()
