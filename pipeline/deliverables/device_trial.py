"""Tries NVENC in this process, by TorchCodec: do its files show what they were given?

TorchCodec converts RGB by itself, and an FFmpeg is used that this program does not bring along: so
a small film is made as segments will be, in a process of its own, and read back as they are.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

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

#: (options of ffmpeg for the encoder, width, height) -> why not, or None.
DeviceTrial = Callable[[tuple[str, ...], int, int], str | None]

#: Python, PyTorch and CUDA begin in some ten seconds, from a slow disk in more.
DEADLINE_S = 120.0

#: TorchCodec asks FFmpeg to share PyTorch's CUDA context from libavutil 58.26.100 on, which is
#: FFmpeg 6.1 (CudaDeviceInterface.cpp); of a version 6 only the first number is known here.
_LEAST_FFMPEG = 7

_FRAMES, _GROUP = 5, 3
_BLOCKS = 8  # along each side

#: Of full scale, for the mean of a block: as coarse as a quality may be set, and less than another
#: matrix or range makes of saturated colours.
_TOLERANCE = 0.03

_found: dict[tuple[tuple[str, ...], int, int], str | None] = {}
_found_lock = threading.Lock()


def device_trial(options: tuple[str, ...], width: int, height: int) -> str | None:
    """Why pictures of that size cannot be encoded so, or None if they can; tried once a process.

    The trial is a child process: the one that asks never touches a GPU.

    Args:
        options: ffmpeg's, as `DeviceEncoder` takes them.
    """
    key = options, width, height
    with _found_lock:
        if key not in _found:
            _found[key] = _try(*key)
        return _found[key]


def _try(options: tuple[str, ...], width: int, height: int) -> str | None:
    asked = json.dumps({"options": options, "width": width, "height": height, "device": "cuda"})
    command, environment = own_module(_MODULE, asked)
    try:
        done = subprocess.run(
            tied(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=environment,
            timeout=DEADLINE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"the trial did not end within {DEADLINE_S:.0f} s"
    except OSError as error:
        return f"the trial cannot be started: {error.strerror or error}"
    if done.returncode != 0:
        failure = ChildFailure.of(command, done.returncode, done.stderr)
        return failure.sentence("the trial failed")
    problem: str | None = json.loads(done.stdout.splitlines()[-1])
    return problem


def _library_problem() -> str | None:
    """Older ones work in a CUDA context of their own: nothing there waits for PyTorch's work."""
    from pipeline.torchcodec_import import torchcodec

    if (found := int(torchcodec.ffmpeg_major_version)) >= _LEAST_FFMPEG:
        return None
    return f"TorchCodec has FFmpeg {found}'s libraries, and {_LEAST_FFMPEG} or newer is needed"


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


def main(asked: str) -> None:
    said = json.loads(asked)
    problem = None if said["device"] == "cpu" else _library_problem()
    with tempfile.TemporaryDirectory() as folder:
        for matrix in MATRICES:
            options = (*said["options"], "-color_range", "tv", "-colorspace", matrix)
            problem = problem or film_problem(
                options, said["width"], said["height"], said["device"], Path(folder)
            )
    sys.stdout.write("\n" + json.dumps(problem) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
