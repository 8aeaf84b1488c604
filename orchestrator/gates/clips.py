"""Make the clips that the gates run on: the drawn figure before a green screen, with a tone.

The true alpha of every frame is known (`orchestrator/demo/scene.py`), and `chroma` finds it without
weights, so that outputs can be compared with it on any machine.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Literal

import numpy as np

from orchestrator.demo.scene import Scene
from pipeline.encode.ffmpeg_pipe import ffmpeg_command
from pipeline.errors import EncodeError
from pipeline.files.child import tied
from pipeline.files.child_failure import ChildFailure

ClipCodec = Literal["h264", "av1"]

FRAMES, EYE, RATE = 16, 256, 24

_DEADLINE_S = 120.0

_NAMES = {"h264": "gate_h264_LR_180.mp4", "av1": "gate_av1_LR_180.mkv"}
_OPTIONS = {
    "h264": ("-c:v", "libx264", "-preset", "veryfast", "-crf", "14", "-threads", "2"),
    "av1": ("-c:v", "libsvtav1", "-preset", "10", "-crf", "16", "-svtav1-params", "lp=2"),
}
_SOUND = {"h264": ("-c:a", "aac"), "av1": ("-c:a", "libopus")}


def make_clips(folder: Path, codecs: tuple[ClipCodec, ...] = ("h264", "av1")) -> dict[str, Path]:
    """One clip of each codec, both eyes side by side, by codec.

    Raises:
        EncodeError: our ffmpeg cannot.
    """
    scene = Scene(FRAMES, eye_size=EYE)
    pictures = b"".join(
        np.concatenate(list(scene.picture(frame, "green")), axis=1).tobytes()
        for frame in range(FRAMES)
    )
    return {codec: _encode(folder / _NAMES[codec], codec, pictures) for codec in codecs}


def _encode(path: Path, codec: str, pictures: bytes) -> Path:
    tone = f"sine=frequency=440:sample_rate=48000:duration={FRAMES / RATE}"
    command = ffmpeg_command(
        *("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{2 * EYE}x{EYE}", "-r", str(RATE)),
        *("-i", "pipe:0", "-f", "lavfi", "-i", tone, "-map", "0:v", "-map", "1:a"),
        *("-vf", "scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd"),
        *(*_OPTIONS[codec], "-g", "8", "-pix_fmt", "yuv420p"),
        *("-colorspace", "bt709", "-color_range", "tv", *_SOUND[codec], f"file:{path}"),
    )
    try:
        done = subprocess.run(
            tied(command),
            input=pictures,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=_DEADLINE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise EncodeError(f"ffmpeg did not make {path.name} in {_DEADLINE_S:.0f} s") from None
    if done.returncode != 0:
        failure = ChildFailure.of(command, done.returncode, done.stderr)
        event = failure.sentence(f"ffmpeg cannot make {path.name}")
        raise failure.noted(EncodeError(event, "see `vrmatte doctor`"))
    return path
