"""Tries NVENC in this process, by TorchCodec: do its files show what they were given?

TorchCodec converts RGB by itself, and an FFmpeg is used that this program does not bring along: so
a small film is made as segments will be, in a process of its own, and read back as they are.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.contract.nvenc_ways import NvencWay
from pipeline.encode.nvenc_library import nvenc_cause
from pipeline.encode.nvenc_trial import Asked
from pipeline.errors import VrmatteError
from pipeline.files.child import own_module, tied
from pipeline.files.child_failure import ChildFailure

if TYPE_CHECKING:
    from torch import Tensor

_MODULE = "pipeline.deliverables.device_trial"  # this one, as a child runs it

#: Matrices that TorchCodec knows (color_conversion.cpp); it takes every other for BT.601's.
MATRICES = ("bt709", "smpte170m", "bt470bg", "bt2020nc")

#: Of NVENC's quality; with lower quantizers it has crashed on noise in a GPU's memory, and would
#: take the worker with it (github.com/meta-pytorch/torchcodec/issues/1419).
LEAST_CQ = 15

#: Python, PyTorch and CUDA begin in some ten seconds, from a slow disk in more.
DEADLINE_S = 120.0

#: TorchCodec asks FFmpeg to share PyTorch's CUDA context from this libavutil on (FFmpeg 6.1;
#: TorchCodec's CudaDeviceInterface.cpp).
LEAST_LIBAVUTIL = (58, 26, 100)

_LOG_LEVEL = "TORCHCODEC_FFMPEG_LOG_LEVEL"

_FRAMES, _GROUP = 5, 3
_BLOCKS = 8  # along each side

#: Of full scale, for the mean of a block: as coarse as a quality may be set, and less than another
#: matrix or range makes of saturated colours.
_TOLERANCE = 0.03


def device_trial(way: NvencWay, asked: Asked, environment: Mapping[str, str]) -> str | None:
    """See `pipeline.encode.nvenc_trial.TryWay`; `asked.options` as `DeviceEncoder` takes them."""
    wanted = {"options": asked.options, "width": asked.width, "height": asked.height}
    command, own = own_module(_MODULE, json.dumps({**wanted, "device": "cuda"}))
    try:
        done = subprocess.run(
            tied(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            # TorchCodec keeps libavcodec quiet, which alone knows what NVENC said.
            env={**environment, **own, **_seen(environment), _LOG_LEVEL: "ERROR"},
            timeout=DEADLINE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"the trial did not end within {DEADLINE_S:.0f} s"
    except OSError as error:
        return f"the trial cannot be started: {error.strerror or error}"
    failure = ChildFailure.of(command, done.returncode, done.stderr)
    if done.returncode != 0:
        return failure.sentence("the trial failed")
    problem: str | None = json.loads(done.stdout.splitlines()[-1])
    return problem and (nvenc_cause(failure.messages) or problem)


def _seen(environment: Mapping[str, str]) -> dict[str, str]:
    names = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER")
    return {name: environment[name] for name in names if name in environment}


def library_problem(found: tuple[int, int, int] | None) -> str | None:
    """Older ones work in a CUDA context of their own: nothing there waits for PyTorch's work.

    Args:
        found: the version of the libavutil that TorchCodec uses.
    """
    least = ".".join(map(str, LEAST_LIBAVUTIL))
    if found is None:
        return f"no libavutil is loaded, and {least} or newer is needed"
    if found >= LEAST_LIBAVUTIL:
        return None
    has = ".".join(map(str, found))
    return f"TorchCodec has libavutil {has}, and {least} or newer (FFmpeg 6.1) is needed"


def libavutil_version() -> tuple[int, int, int] | None:
    """Of the libavutil that TorchCodec has loaded, by its own word; None without one."""
    import pipeline.torchcodec_import  # noqa: F401

    with Path("/proc/self/maps").open(encoding="utf-8", errors="replace") as maps:
        loaded = {line.split(maxsplit=5)[5].strip() for line in maps if "/libavutil" in line}
    # PyAV's may be loaded beside it; where it is the only one, TorchCodec uses that.
    found = {path for path in loaded if "/av.libs/" not in path} or loaded
    if not found:
        return None
    version: int = ctypes.CDLL(min(found)).avutil_version()  # AV_VERSION_INT
    return version >> 16, version >> 8 & 0xFF, version & 0xFF


def film_problem(
    options: tuple[str, ...], width: int, height: int, device: str, folder: Path
) -> str | None:
    """Make the film and read it back; what is wrong with it, in words.

    Args:
        options: with the tags of its colours.
    """
    import torch

    from pipeline.encode.nvenc import DeviceEncoder
    from pipeline.verify.readback import inspect_file

    shown = colours(width, height)
    path = folder / "trial.mp4"
    own = dict(zip(options[::2], options[1::2], strict=True)) | {"-g": str(_GROUP)}
    try:
        encoder = DeviceEncoder(
            path,
            (width, height),
            Fraction(30),
            [word for pair in own.items() for word in pair],
            device=torch.device(device),
        )
        try:
            for _ in range(_FRAMES):
                encoder.write(shown.to(device).view(1, -1))
            encoder.close()
        except BaseException:
            encoder.abort()
            raise
        facts = inspect_file(path)
    except VrmatteError as error:
        return str(error)
    if facts.num_frames != _FRAMES:
        return f"{facts.num_frames} frames instead of {_FRAMES}"
    if max(abs(pts - k / 30) for k, pts in enumerate(facts.pts_s)) > 1e-3:
        return "time stamps are off"
    return _picture_problem(path, shown, own)


def _picture_problem(path: Path, shown: Tensor, options: dict[str, str]) -> str | None:
    import av
    import torch.nn.functional as F

    from pipeline.source.picture.color_tags import color_tags
    from pipeline.verify.selfcheck import shown_picture

    with av.open(str(path)) as container:
        keys = [p.is_keyframe for p in container.demux(video=0) if p.size]
    if keys != [k % _GROUP == 0 for k in range(_FRAMES)]:
        return "keyframes are not where they were asked for"
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    if len(frames) != _FRAMES:
        return f"{len(frames)} frames that decode instead of {_FRAMES}"
    for frame in frames:
        if frame.format.name not in ("yuv420p", "nv12"):
            return f"{frame.format.name} pictures"
        tags = color_tags(frame)
        if tags.matrix != options.get("-colorspace") or tags.full_range:
            return f"its colours are tagged {tags.matrix}, full range: {tags.full_range}"
        found = shown_picture(frame, "mono", False).rgb
        size = (_BLOCKS, _BLOCKS)
        off = F.adaptive_avg_pool2d(found.float(), size) - F.adaptive_avg_pool2d(
            shown[None].float(), size
        )
        if (worst := float(off.abs().max()) / 255) > _TOLERANCE:
            return f"a colour is off by {worst:.3f}"
    return None


def colours(width: int, height: int) -> Tensor:
    """Uint8 ``[3, H, W]``: blocks of all corners of the RGB cube and colours between."""
    import torch

    levels = torch.tensor([0, 85, 170, 255], dtype=torch.uint8)
    cube = torch.cartesian_prod(levels, levels, levels)  # 64 colours, one a block
    blocks = cube.T.reshape(3, _BLOCKS, _BLOCKS)
    rows = torch.arange(height) * _BLOCKS // height
    columns = torch.arange(width) * _BLOCKS // width
    return blocks[:, rows][:, :, columns].contiguous()


def main(asked: str) -> int:
    """``--libraries``: only whether TorchCodec's FFmpeg is new enough; else what is to be tried."""
    if asked == "--libraries":
        problem = library_problem(libavutil_version())
        sys.stderr.write(f"{problem}\n" if problem else "")
        return int(problem is not None)
    said = json.loads(asked)
    problem = None if said["device"] == "cpu" else library_problem(libavutil_version())
    with tempfile.TemporaryDirectory() as folder:
        for matrix in MATRICES:
            options = (*said["options"], "-color_range", "tv", "-colorspace", matrix)
            problem = problem or film_problem(
                options, said["width"], said["height"], said["device"], Path(folder)
            )
    sys.stdout.write("\n" + json.dumps(problem) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
