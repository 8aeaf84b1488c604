"""NVENC on the GPUs that will work: which are tried, the sessions they give, what its want costs.

Never touches CUDA.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from orchestrator.fleet.jobs import VideoJob
from orchestrator.machine.devices import Devices
from orchestrator.words import counted
from pipeline.contract import EncodingSettings, VideoSettings
from pipeline.deliverables.formats import FORMATS
from pipeline.encode.choice import software_words
from pipeline.encode.nvenc_trial import Nvenc, NvencTrials
from workers.launch import visible_devices

#: Sessions that NVIDIA's driver gives GeForce cards, for the whole system, however many cards there
#: are (NVIDIA, "Video Encode and Decode GPU Support Matrix"); all others have no such limit.
GEFORCE_SESSIONS = 8

#: Frames/s of 1280x720 on 2 cores, by codec and preset (docs/benchmarks/004-speed.md, "Quality
#: points", at the quality's CRF); presets that are not here were not measured.
_MEASURED_PIXELS, _MEASURED_CORES = 1280 * 720, 2
_MEASURED: Mapping[str, Mapping[str, float]] = {
    "hevc": {"ultrafast": 98, "veryfast": 46, "medium": 35},
    "h264": {"ultrafast": 311, "veryfast": 144, "medium": 78},
    "av1": {"ultrafast": 116, "veryfast": 105, "medium": 42},
}

#: Pixels/s of HEVC by one engine of an Ada card at preset P5, by NVIDIA's tables: 25 frames/s of
#: 8192x4096. Not measured here.
_NVENC_PIXELS = 25 * 8192 * 4096


def nvenc_trials(devices: Devices, environment: Mapping[str, str] = os.environ) -> Nvenc:
    """Trials on one GPU of each kind that has a worker, as its worker will see it."""
    names = {gpu.number: gpu.name for gpu in devices.gpus}
    first: dict[str, int] = {}
    for device in devices.devices:
        if isinstance(device, int):
            first.setdefault(names[device], device)
    return NvencTrials([visible_devices(number, environment) for number in first.values()])


def is_geforce(name: str) -> bool:
    """By NVML's name, such as "NVIDIA GeForce RTX 4090"."""
    return "geforce" in name.casefold()


def sessions_of(settings: VideoSettings) -> int:
    """NVENC's sessions of one segment of such a video."""
    if settings.encoding.encoder != "nvenc":
        return 0
    return sum(FORMATS[name].codec is None for name in settings.deliverables)


def most_lanes(devices: Devices, jobs: Sequence[VideoJob]) -> tuple[int, str] | None:
    """Lanes of each worker that NVENC's sessions allow, and why; None: any number.

    With one lane each there may still be more sessions than the driver gives; then segments wait
    for one (`pipeline.errors.SessionRefused`).
    """
    names = {gpu.number: gpu.name for gpu in devices.gpus}
    used = [names[device] for device in devices.devices if isinstance(device, int)]
    workers = sum(map(is_geforce, used))
    formats = max((sessions_of(job.settings) for job in jobs), default=0)
    if not workers or not formats:
        return None
    why = (
        f"GeForce: {GEFORCE_SESSIONS} NVENC sessions in all, for {counted(workers, 'worker')}"
        f" and {counted(formats, 'format')}"
    )
    return max(1, GEFORCE_SESSIONS // (workers * formats)), why


def software_warning(jobs: Sequence[VideoJob], cores: int) -> str | None:
    """What it costs that the CPU encodes videos of a run on GPUs; None where it does not.

    Args:
        cores: for all workers together.
    """
    slow = [job for job in jobs if job.software_why]
    if not slow:
        return None
    job = max(slow, key=lambda job: job.shown.even_width * job.shown.even_height)
    width, height = job.shown.even_width, job.shown.even_height
    encoding = job.settings.encoding
    said = (
        f"warning: no NVENC for {counted(len(slow), 'video')}:"
        f" {software_words(encoding)} encodes on the CPU"
    )
    rate = _frames_per_second(encoding, width * height, cores)
    if rate is None:
        return f"{said}; its speed at this preset was not measured"
    said += (
        f", about {_rounded(rate)} frames/s of {width}x{height} if {counted(cores, 'core')} did"
        " nothing else (docs/benchmarks/004-speed.md)"
    )
    if encoding.codec == "hevc":
        nvenc = _NVENC_PIXELS / (width * height)
        said += f"; one NVENC engine of an Ada card: about {_rounded(nvenc)} (NVIDIA's table)"
        if nvenc > rate:
            said += f", {_rounded(nvenc / rate)} times as fast"
    return said


def _rounded(figure: float) -> str:
    """Two digits that count: 2.5, 10, 460."""
    return f"{float(f'{figure:.1e}'):g}"


def _frames_per_second(encoding: EncodingSettings, pixels: int, cores: int) -> float | None:
    point = encoding.point()
    presets = {"hevc": point.hevc_preset, "h264": point.h264_preset, "av1": point.av1_preset}
    measured = _MEASURED[encoding.codec].get(presets[encoding.codec])
    if measured is None:
        return None
    return measured * _MEASURED_PIXELS / pixels * cores / _MEASURED_CORES
