"""`vrmatte bench --quality`: real mattes of a tiny clip beside a truth that is known."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from rich.console import Console

from orchestrator.bench.quality import (
    Quality,
    QualityRequest,
    judge_models,
    quality_table,
    remarks,
    write_quality,
)
from orchestrator.bench.quality_child import true_alpha
from orchestrator.cli import main
from orchestrator.demo.demo import alpha_path, make_demo
from orchestrator.demo.scene import Scene
from orchestrator.settings.settings import load_settings
from pipeline.contract import MattingSettings
from pipeline.errors import MachineError, SettingsError
from tests.clips import BITS, SQUARE, X264, ClipSpec

CLIP = ClipSpec("talk_LR_180.mp4", X264, num_frames=9)
FFV1 = ("-c:v", "ffv1", "-pix_fmt", "gray")


def truth_of(frames: int = 9, width: int = 2 * 192, height: int = 96) -> list[bytes]:
    """The marks of `tests.clips.paint`, which are all that is not green."""
    eye = np.zeros((height, width // 2), np.uint8)
    eye[SQUARE : 3 * SQUARE, SQUARE : SQUARE * (BITS + 1)] = 255
    eye[height - 2 * SQUARE : height - SQUARE, SQUARE : SQUARE * (BITS + 1)] = 255
    return [np.concatenate([eye, eye], axis=1).tobytes()] * frames


def write_truth(
    path: Path, frames: list[bytes], codec: tuple[str, ...] = FFV1, size: str = "384x96"
) -> Path:
    command = [
        *(imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", "-f", "rawvideo"),
        *("-pix_fmt", "gray", "-s", size, "-r", "30", "-i", "-", *codec, str(path)),
    ]
    subprocess.run(command, input=b"".join(frames), check=True)
    return path


def judged(clip: Path, truth: Path, *models: str) -> Quality:
    settings = load_settings(None, {"workers": {"gpus": "none"}})

    def fetch(matting: MattingSettings) -> None:
        if matting.model == "sam2":
            raise MachineError("the weights are not here", "fetch them")

    return judge_models(QualityRequest(settings, clip, truth, models), fetch, gpus=lambda: [])


@pytest.mark.slow
def test_mattes_are_measured_and_models_that_cannot_be_had_are_named(
    clip: Callable[[ClipSpec], Path], tmp_path: Path
) -> None:
    truth = write_truth(tmp_path / "truth.mkv", truth_of())
    found = judged(clip(CLIP), truth, "chroma", "nobody", "sam2")
    [chroma] = found.models
    off = chroma.found.distance
    assert (chroma.model, off.frames, found.layout) == ("chroma", 9, "sbs")
    assert off.iou > 0.9
    assert off.mad < 0.05
    assert off.dtssd is not None
    assert off.dtssd < 0.1
    assert chroma.frames_per_second > 0
    assert chroma.cpu_s_per_frame > 0
    assert [one.model for one in found.not_measured] == ["nobody", "sam2"]
    lines = list(remarks(found))
    assert lines[0].startswith("nobody: there is no model named 'nobody'")
    assert lines[1] == "sam2: the weights are not here (fetch them)"

    console = Console(width=100, record=True)
    console.print(quality_table(found))
    shown = console.export_text()
    assert "talk_LR_180.mp4: 9 frames of 384x96, sbs" in shown
    assert f"{1e3 * off.mad:.2f}" in shown
    write_quality(found, tmp_path / "quality.json")
    said = json.loads((tmp_path / "quality.json").read_text())
    assert said["models"][0]["found"]["distance"]["iou"] == off.iou


@pytest.mark.parametrize(
    ("frames", "size", "told"),
    [
        (truth_of(7), "384x96", "--alpha: the clip has 9 frames, and truth.mkv has 7"),
        (
            truth_of(9, 192, 96),
            "192x96",
            "--alpha: the clip has 384x96 pixels, and truth.mkv has 192x96",
        ),
    ],
)
def test_a_truth_of_other_frames_is_refused_in_one_line(
    frames: list[bytes], size: str, told: str, clip: Callable[[ClipSpec], Path], tmp_path: Path
) -> None:
    truth = write_truth(tmp_path / "truth.mkv", frames, size=size)
    with pytest.raises(SettingsError) as raised:
        judged(clip(CLIP), truth, "chroma")
    assert raised.value.message == told


@pytest.mark.parametrize(
    ("codec", "name", "within"),
    [
        (FFV1, "a.mkv", 0.0),
        (("-c:v", "ffv1", "-pix_fmt", "gray10le"), "a.mkv", 1 / 1023),
        (("-c:v", "libx264", "-qp", "0", "-pix_fmt", "yuv420p"), "a.mp4", 1 / 219),
    ],
)
def test_grey_is_read_as_alpha(
    codec: tuple[str, ...], name: str, within: float, tmp_path: Path
) -> None:
    ramp = np.arange(64 * 32, dtype=np.uint16).reshape(32, 64) // 8
    frames = [ramp.astype(np.uint8), 255 - ramp.astype(np.uint8)]
    path = write_truth(tmp_path / name, [f.tobytes() for f in frames], codec, "64x32")
    read = list(true_alpha(path))
    assert len(read) == 2
    for alpha, frame in zip(read, frames, strict=True):
        assert np.abs(alpha - frame / np.float32(255)).max() <= within + 1e-6


def test_the_alpha_of_a_video_with_alpha_is_read(tmp_path: Path) -> None:
    pixels = np.zeros((2, 32, 64, 4), np.uint8)
    pixels[0, :, :32, 3], pixels[1, :, 32:, 3] = 255, 128
    path = tmp_path / "a.mkv"
    command = [
        *(imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", "-f", "rawvideo"),
        *("-pix_fmt", "rgba", "-s", "64x32", "-r", "30", "-i", "-"),
        *("-c:v", "ffv1", "-pix_fmt", "yuva444p", str(path)),
    ]
    subprocess.run(command, input=pixels.tobytes(), check=True)
    for alpha, frame in zip(true_alpha(path), pixels, strict=True):
        assert np.abs(alpha - frame[..., 3] / np.float32(255)).max() <= 1.01 / 255  # swscale's


def test_the_demo_writes_the_alpha_of_its_scene(tmp_path: Path) -> None:
    made = make_demo(tmp_path, seconds=4 / 30, eye_size=128, alpha=True)
    assert made[3:] == [alpha_path(path) for path in made[:3]]
    assert made[3].name == "demo_room_LR_180.alpha.mkv"
    scene = Scene(4, eye_size=128)
    for path in made[3:]:
        for number, alpha in enumerate(true_alpha(path)):
            both = np.concatenate(list(scene.alpha(number)), axis=1)
            assert np.abs(alpha - both).max() <= 0.5 / 255 + 1e-6
        assert number == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in made)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--alpha", "a.mkv"], "--alpha needs one clip"),
        (["c.mp4", "--quality", "d.mp4", "--alpha", "a.mkv"], "--alpha needs one clip"),
        (["c.mp4", "--alpha", "a.mkv", "--frames", "9"], "--frames is not for --alpha"),
        (["c.mp4", "--alpha", "a.mkv", "--format", "webm"], "--format is not for --alpha"),
        (["c.mp4", "--model", "rvm", "--model", "depth"], "--model is given twice"),
        (["c.mp4", "--quality", "good"], "encoding.quality = 'good'"),
    ],
)
def test_a_wrong_command_is_refused_in_one_line(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["bench", *words])
    assert ended.value.code == 2
    assert told in capsys.readouterr().err.splitlines()[0]
