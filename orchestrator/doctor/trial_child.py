"""The child process that runs trials: ``python -m orchestrator.doctor.trial_child DEVICE``.

It reads trials from its standard input, a line of JSON each, and writes a line of JSON for each,
until the input ends. What libraries print goes to the standard error.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from orchestrator.doctor.trials import (
    DecodeTrial,
    DiskTrial,
    DriverTrial,
    FormatTrial,
    KernelsTrial,
    LibrariesTrial,
    ModelTrial,
    ReadTrial,
    Trial,
    Tried,
    WeightsTrial,
)
from pipeline.errors import MachineError, SettingsError, VrmatteError
from pipeline.files.child_failure import how_it_ended
from pipeline.stages.matting.catalogue import JSON_CONTEXT

if TYPE_CHECKING:
    import torch

#: Grey levels of 255 by which a frame's mean brightness may differ from what PyAV decodes.
_BRIGHTNESS = 3.0

#: For an ffmpeg on a slow disk.
_VERSION_DEADLINE_S = 30.0


def try_libraries(trial: LibrariesTrial, device: torch.device) -> Tried:
    """Figures: ffmpeg (major version). Words: libavcodec (its path), ffmpeg and program (version
    and path of what encodes), no_ffmpeg (why it says no version), device (its name).
    """
    import torch
    from imageio_ffmpeg import get_ffmpeg_exe

    from pipeline.torchcodec_import import torchcodec

    major = torchcodec.ffmpeg_major_version
    if major is None:
        return Tried("failed", "TorchCodec finds no FFmpeg libraries")
    words = {
        "libavcodec": _loaded_library("libavcodec"),
        "device": "cpu",
        "program": get_ffmpeg_exe(),
    }
    words |= asked_for_its_version(words["program"])
    if device.type == "cuda":
        words["device"] = torch.cuda.get_device_name(device)
        if float(torch.ones(8, device=device).sum()) != 8:
            return Tried("failed", "the GPU cannot add")
    return Tried("works", figures={"ffmpeg": int(major)}, words=words)


def try_kernels(trial: KernelsTrial, device: torch.device) -> Tried:
    """Words: what PyTorch does on the device although there is a kernel for it, and why."""
    from pipeline.kernels.choice import way_on

    notes = way_on(device).notes
    if not notes:
        return Tried("works")
    said = "; ".join(f"{name}: {reason}" for name, reason in notes.items())
    return Tried("refused", said, words=notes)


def asked_for_its_version(program: str) -> dict[str, str]:
    """Ask an ffmpeg, which may not be ours (IMAGEIO_FFMPEG_EXE), or may not exist."""
    try:
        done = subprocess.run(
            [program, "-version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_VERSION_DEADLINE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"no_ffmpeg": f"it did not tell its version within {_VERSION_DEADLINE_S:.0f} s"}
    except OSError as error:
        return {"no_ffmpeg": f"it cannot be started: {error.strerror}"}
    found = re.match(rb"ffmpeg version (\S+)", done.stdout)
    if done.returncode != 0 or found is None:
        return {"no_ffmpeg": f"it did not tell its version ({how_it_ended(done.returncode)})"}
    return {"ffmpeg": found[1].decode(errors="replace")}


def _loaded_library(name: str) -> str:
    """The file of a library that this process has loaded; empty if it has not."""
    with Path("/proc/self/maps").open(encoding="utf-8", errors="replace") as maps:
        paths = {line.split(maxsplit=5)[5].strip() for line in maps if f"/{name}" in line}
    return sorted(paths)[0] if paths else ""


def try_decode(trial: DecodeTrial, device: torch.device) -> Tried:
    """Words: decoder."""
    from pipeline.source.reader import open_reader
    from pipeline.source.timing.frame_index import FrameIndex
    from pipeline.source.video_info import read_video

    with tempfile.TemporaryDirectory(dir=trial.folder) as folder:
        index = Path(folder, "index.json")
        video = read_video(Path(trial.path), index, "mono")
        reader = open_reader(video, FrameIndex.load(index), device)
        words = {"decoder": reader.decoder}
        if device.type == "cuda" and reader.decoder != "NVDEC":
            return Tried("refused", reader.decoder.removeprefix("CPU: "), words=words)
        if video.num_frames != trial.num_frames:
            return Tried("failed", f"{video.num_frames} frames instead of {trial.num_frames}")
        found = [
            float(value)
            for batch in reader.batches(0, video.num_frames, 1)
            for value in _brightness(batch.rgb)
        ]
        if reader.concealed_frames:
            return Tried("failed", f"{len(reader.concealed_frames)} frames do not decode")
    expected = _expected_brightness(Path(trial.path))
    off = max(abs(a - b) for a, b in zip(found, expected, strict=True))
    if off > _BRIGHTNESS:
        return Tried("failed", f"pictures are wrong: brightness is off by {off:.0f} of 255")
    return Tried("works", words=words)


def _brightness(rgb: torch.Tensor) -> list[float]:
    """Mean luma of each picture ``[T, 3, H, W]``, 0..255, by BT.709."""
    red, green, blue = (rgb[:, c].float().mean(dim=(1, 2)) for c in range(3))
    means: list[float] = (0.2126 * red + 0.7152 * green + 0.0722 * blue).tolist()
    return means


def _expected_brightness(path: Path) -> list[float]:
    """The same by another decoder: means of the luma planes, which are of limited range."""
    import av

    from pipeline.pixels.planes import frame_planes

    means = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            scale = 1 << (frame.format.components[0].bits - 8)
            mean = float(frame_planes(frame)[0].float().mean()) / scale
            means.append((mean - 16) / 219 * 255)
    return means


def try_disk(trial: DiskTrial) -> Tried:
    """Figures: free and total (bytes), write and read (bytes a second). Words: folder."""
    folder = Path(trial.folder)
    folder = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
    words = {"folder": str(folder)}
    if not folder.is_dir():
        return Tried("failed", f"{folder} is not a folder", words=words)
    room = os.statvfs(folder)
    figures: dict[str, float] = {
        "free": room.f_bavail * room.f_frsize,
        "total": room.f_blocks * room.f_frsize,
    }
    block = os.urandom(1 << 20)  # nothing on the way can make it smaller
    blocks = max(1, min(trial.size_bytes, room.f_bavail * room.f_frsize // 4) >> 20)
    try:
        with tempfile.TemporaryFile(prefix=".vrmatte-trial-", dir=folder, buffering=0) as file:
            began = time.perf_counter()
            for _ in range(blocks):
                file.write(block)
            os.fsync(file.fileno())
            written = time.perf_counter()
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # not from memory
            file.seek(0)
            again = time.perf_counter()
            while file.read(1 << 20):
                pass
            figures["write"] = blocks * len(block) / (written - began)
            figures["read"] = blocks * len(block) / (time.perf_counter() - again)
    except OSError as error:
        return Tried("failed", f"it cannot be written: {error.strerror or error}", figures, words)
    return Tried("works", figures=figures, words=words)


def try_driver() -> Tried:
    """Words: gpus and driver, as JSON."""
    from orchestrator.doctor.software import Driver, find_driver
    from orchestrator.machine.devices import Gpu, list_gpus

    gpus = TypeAdapter(list[Gpu]).dump_json(list_gpus())
    driver = TypeAdapter(Driver | None).dump_json(find_driver())
    return Tried("works", words={"gpus": gpus.decode(), "driver": driver.decode()})


def try_weights(trial: WeightsTrial) -> Tried:
    """Words: what is not there, by model ("rvm", "sam2")."""
    from orchestrator.doctor.weights_here import look

    return Tried("works", words=look(trial.matting))


def do(trial: Trial, device_name: str) -> Tried:
    """Run one trial; an error becomes its result."""
    try:
        match trial:  # these load nothing that is slow to load
            case DiskTrial():
                return try_disk(trial)
            case DriverTrial():
                return try_driver()
            case WeightsTrial():
                return try_weights(trial)
        import torch

        device = torch.device(device_name)
        torch.set_num_threads(1)
        if device.type == "cuda" and not torch.cuda.is_available():
            return Tried("failed", "PyTorch cannot open CUDA: see the driver")
        return _handler(trial)(trial, device)
    except VrmatteError as error:
        words = {"kind": error.kind, "advice": error.advice}
        lacking = isinstance(error, MachineError | SettingsError)
        return Tried("failed", error.message, words=words | {"lacking": "yes" if lacking else ""})
    except Exception as error:  # the boundary of this process
        first_line = (str(error).splitlines() or [""])[0]
        return Tried("failed", f"{type(error).__name__}: {first_line[:300]}")


def _handler(trial: Trial) -> Callable[[Any, torch.device], Tried]:
    if isinstance(trial, LibrariesTrial):
        return try_libraries
    if isinstance(trial, KernelsTrial):
        return try_kernels
    if isinstance(trial, DecodeTrial):
        return try_decode
    from orchestrator.doctor import component_trials, read_trial

    if isinstance(trial, ModelTrial):
        return component_trials.try_model
    if isinstance(trial, FormatTrial):
        return component_trials.try_format
    assert isinstance(trial, ReadTrial)
    return read_trial.try_read


def main(device_name: str) -> None:
    trials: TypeAdapter[Trial] = TypeAdapter(Trial)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for line in sys.stdin.buffer:
        tried = do(trials.validate_json(line, context=JSON_CONTEXT), device_name)
        answers.write(TypeAdapter(Tried).dump_json(tried) + b"\n")


if __name__ == "__main__":
    main(sys.argv[1])
