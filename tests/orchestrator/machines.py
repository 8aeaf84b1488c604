"""Machines as the doctor and the gates meet them: doubles of all that lies outside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.doctor.clips import Sample
from orchestrator.doctor.doctor import Surroundings
from orchestrator.doctor.room import Limits
from orchestrator.doctor.software import Driver, DriverAsked
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
from orchestrator.doctor.weights_here import look
from orchestrator.gates.clips import FRAMES, RATE
from orchestrator.machine.devices import Gpu
from pipeline.contract.nvenc_ways import NvencWay
from pipeline.encode.nvenc_trial import Asked
from pipeline.errors import EncodeError

L4 = Gpu(0, "GPU-aaaa", "NVIDIA L4", 24 << 30)
GOOD_LIMITS = Limits(8, 8, 32 << 30, 32 << 30, None, 4096, 1 << 30)
VERSIONS = dict.fromkeys(
    ("vrmatte", "torch", "torchcodec", "av", "imageio-ffmpeg", "sam2", "openvino"), "1.0"
)

#: (device, trial) -> what comes of it, or None: as on a good machine.
Answer = Callable[[int | str, Trial], Tried | None]


def good(device: int | str, trial: Trial) -> Tried:
    """What comes of a trial where everything is right."""
    match trial:
        case LibrariesTrial():
            program = "/site-packages/imageio_ffmpeg/binaries/ffmpeg"
            words = {"libavcodec": "/usr/lib/libavcodec.so.62", "ffmpeg": "9.0", "program": program}
            return Tried("works", figures={"ffmpeg": 8}, words=words)
        case KernelsTrial():
            return Tried("works")
        case DecodeTrial():
            return Tried("works", words={"decoder": "CPU" if device == "cpu" else "NVDEC"})
        case DiskTrial():
            speeds = {"write": 500e6, "read": 900e6}
            return Tried("works", figures={"free": 400e9, "total": 500e9, **speeds})
        case ModelTrial():
            figures = {"error": 0.002, "low": 0.0, "high": 1.0, "mean": 0.1}
            there = {"cpu_difference": 0.001} if trial.on_cpu_too else {}
            return Tried("works", figures=figures | there)
        case WeightsTrial():
            return Tried("works", words=look(trial.matting))
        case DriverTrial():
            return Tried("works", words={"gpus": "[]", "driver": "null"})
        case FormatTrial():
            count = trial.num_frames
            return Tried("works", figures={**RIGHT, "frames": count, "decoded": count})
        case ReadTrial():
            return Tried("works", figures=dict(RIGHT))


#: Of the gates' clip, read back.
RIGHT = {
    "frames": FRAMES,
    "decoded": FRAMES,
    "picture_end": FRAMES / RATE,
    "tracks": 1,
    "sound_begin": 0.0,
    "sound_end": FRAMES / RATE,
    "loudness": 0.08,
    "alpha_mean": 0.1,
    "alpha_low": 0.0,
    "alpha_high": 1.0,
    "alpha_error": 0.003,
}


@dataclass
class Machine:
    """A machine without a GPU on which all is right, but for what a test changes.

    Attributes:
        answer: what comes of a trial, where it is not as it should be.
        unmade: codecs that our ffmpeg lacks.
        tried: what was tried, in order.
        nvenc_refuses: why NVENC encodes nothing; nvenc: the same of single ways, by their names.
        nvenc_codecs: what NVENC encodes.
        environment: of the container.
        unreachable: why no weights can be fetched.
        closed: how many children were ended.
    """

    cache: Path
    gpus: Sequence[Gpu] = ()
    answer: Answer = lambda device, trial: None
    unmade: tuple[str, ...] = ()
    nvenc_refuses: str | None = None
    nvenc: dict[str, str | None] = field(default_factory=dict)
    nvenc_codecs: tuple[str, ...] = ("h264", "hevc", "av1")
    environment: dict[str, str] = field(default_factory=dict)
    driver: Driver | None = None
    trouble: str = ""
    torch_cuda: tuple[int, int] | None = (13, 2)
    versions: dict[str, str] = field(default_factory=lambda: dict(VERSIONS))
    limits: Limits = GOOD_LIMITS
    tried: list[tuple[int | str, Trial]] = field(default_factory=list)
    unreachable: str | None = None
    closed: int = 0

    def around(self) -> Surroundings:
        return Surroundings(
            self.gpus,
            DriverAsked(tuple(self.gpus), self.driver, self.trouble),
            self.cache,
            open_trials=lambda device: _Trials(self, device),
            nvenc=self._nvenc,
            needed_driver=lambda way: {"ffmpeg": "610.00"}.get(way.name, "570.0"),
            environment=self.environment,
            make_sample=self._make_sample,
            torch_cuda=lambda: self.torch_cuda,
            versions=lambda: self.versions,
            limits=lambda: self.limits,
            reach=lambda weights, row, matting: self.unreachable,
        )

    def _nvenc(self, way: NvencWay, asked: Asked, number: int) -> str | None:
        if asked.options[1].removesuffix("_nvenc") not in self.nvenc_codecs:
            return "Codec not supported"
        return self.nvenc.get(way.name, self.nvenc_refuses)

    def with_gpu(self) -> Machine:
        self.gpus, self.driver = (L4,), Driver("580.65", (13, 2))
        return self

    def decoded(self) -> list[DecodeTrial]:
        return [trial for _, trial in self.tried if isinstance(trial, DecodeTrial)]

    def _make_sample(self, folder: Path, sample: Sample) -> Path:
        if sample.codec in self.unmade:
            raise EncodeError(f"ffmpeg cannot make {sample.name}: Unknown encoder")
        return folder / sample.file_name


@dataclass
class _Trials:
    machine: Machine
    device: int | str

    def run(self, trial: Trial, deadline_s: float) -> Tried:
        assert deadline_s > 0
        self.machine.tried.append((self.device, trial))
        return self.machine.answer(self.device, trial) or good(self.device, trial)

    def close(self) -> None:
        self.machine.closed += 1
