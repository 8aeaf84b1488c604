"""A clip for `vrmatte bench` where none is given: the demo's scene, enlarged, with fine noise.

A short walk is drawn once and played forth and back. Noise at full size makes the decoder work as
on a camera's picture.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np

from orchestrator.demo.scene import Backdrop, Scene
from pipeline.encode.ffmpeg_pipe import ffmpeg_command
from pipeline.errors import EncodeError
from pipeline.files.child import tied
from pipeline.files.child_failure import ChildFailure

#: Width and height of both eyes side by side, and what encodes: H.264 is not made for 8K.
SIZES = {"1080p": (1920, 960), "4k": (3840, 1920), "8k": (8192, 4096)}
_X264 = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "18", "-threads", "4")
_X265 = (
    *("-c:v", "libx265", "-preset", "ultrafast", "-crf", "20", "-tag:v", "hvc1"),
    *("-x265-params", "log-level=error:pools=4:frame-threads=2"),
)

_DRAWN_EYE = 480
_DRAWN_FRAMES = 32
_RATE = 30


def make_clip(folder: Path, size: tuple[int, int], num_frames: int, backdrop: Backdrop) -> Path:
    """Make a clip of both eyes together of that size, with sound, in `folder`.

    Raises:
        EncodeError: ffmpeg failed.
    """
    width, height = size
    path = folder / f"bench_{backdrop}_{width}x{height}_LR_180.mp4"
    scene = Scene(_DRAWN_FRAMES, eye_size=_DRAWN_EYE)
    drawn = [
        np.concatenate(list(scene.pictures(frame, (backdrop,))[0]), axis=1).tobytes()
        for frame in range(min(num_frames, _DRAWN_FRAMES))
    ]
    there_and_back = [*drawn, *drawn[-2:0:-1]]
    command = ffmpeg_command(
        *("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{2 * _DRAWN_EYE}x{_DRAWN_EYE}"),
        *("-r", str(_RATE), "-i", "pipe:0"),
        *("-f", "lavfi", "-i", f"sine=frequency=330:sample_rate=48000:d={num_frames / _RATE}"),
        *("-vf", f"scale={width}:{height}:out_color_matrix=bt709,noise=alls=5:allf=t"),
        *(_X264 if width <= 1920 else _X265),
        *("-g", "60", "-pix_fmt", "yuv420p", "-colorspace", "bt709", "-c:a", "aac"),
        f"file:{path}",
    )
    child = subprocess.Popen(tied(command), stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    pictures = (there_and_back[frame % len(there_and_back)] for frame in range(num_frames))
    assert child.stdin is not None
    try:
        child.stdin.writelines(pictures)
    except BrokenPipeError:
        pass  # its last words say why
    except BaseException:
        child.kill()
        raise
    _, words = child.communicate()
    if child.returncode != 0:
        failure = ChildFailure.of(command, child.returncode, words)
        event = failure.sentence("ffmpeg cannot make a clip")
        raise failure.noted(EncodeError(event, "is the disk full?"))
    return path
