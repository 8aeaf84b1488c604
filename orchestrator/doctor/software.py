"""Findings on versions, and on whether the driver supports PyTorch's CUDA. Loads no torch."""

from __future__ import annotations

import ast
import platform
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from pydantic import TypeAdapter

from orchestrator.doctor.findings import Finding
from orchestrator.doctor.trials import DriverTrial, LibrariesTrial, Trials
from orchestrator.machine.devices import Gpu
from pipeline.deliverables.formats import FORMATS
from pipeline.errors import SettingsError
from pipeline.plugins import package, registered
from pipeline.stages.catalogue import STAGES
from pipeline.stages.matting.catalogue import MODELS

GROUP = "software"

#: PyTorch, TorchCodec and CUDA from a slow network disk.
LIBRARIES_DEADLINE_S = 180.0

#: `nvidia-smi` answers in a second or two; if it does not, nothing else will.
DRIVER_DEADLINE_S = 30.0

#: The first driver of each major version of CUDA; from it on all its minor versions run (NVIDIA,
#: "CUDA Compatibility", minor version compatibility).
_FIRST_DRIVER = {11: 450, 12: 525, 13: 580}


@dataclass(frozen=True, slots=True)
class Driver:
    """NVIDIA's driver: its version, and the newest CUDA that it knows, (major, minor)."""

    version: str
    cuda: tuple[int, int]


def find_driver() -> Driver | None:
    """Ask NVML, which may hang; None without a driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        cuda = int(pynvml.nvmlSystemGetCudaDriverVersion())
        return Driver(str(pynvml.nvmlSystemGetDriverVersion()), (cuda // 1000, cuda % 1000 // 10))
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()


@dataclass(frozen=True, slots=True)
class DriverAsked:
    """The driver's answer.

    Attributes:
        gpus: all of the machine.
        trouble: why there is no answer; empty if there is one.
    """

    gpus: tuple[Gpu, ...] = ()
    driver: Driver | None = None
    trouble: str = ""


def ask_driver(trials: Trials) -> DriverAsked:
    """Ask in the child process of `trials`, with a deadline."""
    tried = trials.run(DriverTrial(), DRIVER_DEADLINE_S)
    if tried.outcome != "works":
        return DriverAsked(trouble=f"{tried.outcome}: {tried.said}")
    return DriverAsked(
        TypeAdapter(tuple[Gpu, ...]).validate_json(tried.words["gpus"]),
        TypeAdapter(Driver | None).validate_json(tried.words["driver"]),
    )


def torch_cuda() -> tuple[int, int] | None:
    """The version of CUDA that the installed PyTorch was built for; None if for none."""
    spec = find_spec("torch")
    places = list(spec.submodule_search_locations or ()) if spec else []
    for place in places:
        text = Path(place, "version.py").read_text(encoding="utf-8")
        found = re.search(r"^cuda(?:: [^=]+)? = (.+)$", text, re.MULTILINE)
        value = ast.literal_eval(found[1]) if found else None
        if isinstance(value, str):
            major, _, minor = value.partition(".")
            return int(major), int(minor.partition(".")[0] or 0)
    return None


def version_findings(
    versions: Mapping[str, str], cuda: tuple[int, int] | None
) -> Iterator[Finding]:
    """One finding for each package; `cuda` is the version that PyTorch was built for."""
    yield Finding(GROUP, "Python", "ok", platform.python_version())
    for name in ("vrmatte", "torch", "torchcodec", "av", "imageio-ffmpeg", "sam2"):
        if name in versions:
            built = "without CUDA" if cuda is None else f"for CUDA {cuda[0]}.{cuda[1]}"
            said = f"{versions[name]}, built {built}" if name == "torch" else versions[name]
            yield Finding(GROUP, name, "ok", said)
        else:
            yield Finding(GROUP, name, "broken", "not installed", "run `make setup`")
    if "openvino" in versions:
        yield Finding(GROUP, "openvino", "ok", versions["openvino"])
    else:
        yield Finding(
            GROUP,
            "openvino",
            "warning",
            "not installed: on a CPU rvm runs in PyTorch, at about half the speed",
            "run `make setup`, or `uv pip install 'vrmatte[cpu]'`",
        )


def plugin_findings() -> Iterator[Finding]:
    """Rows that other packages add; a broken one matters only where it is asked for."""
    for catalogue in (FORMATS, MODELS, STAGES):
        for name, point in {each.name: each for each in registered(catalogue.group)}.items():
            subject = f"{catalogue.kind} {name}"
            try:
                catalogue[name]
                yield Finding(GROUP, subject, "ok", f"of {package(point)}")
            except SettingsError as error:
                yield Finding(GROUP, subject, "warning", error.message, error.advice)


def driver_finding(asked: DriverAsked, needed: tuple[int, int] | None) -> Finding:
    """Whether the driver supports PyTorch's CUDA."""
    name, driver = "driver", asked.driver
    if asked.trouble:
        advice = "see `nvidia-smi`; use another machine, or --gpus none"
        return Finding(GROUP, name, "broken", f"NVIDIA's driver: {asked.trouble}", advice)
    if driver is None:
        return Finding(GROUP, name, "skipped", "no GPU: there is no NVIDIA driver here")
    known = f"{driver.version} supports CUDA {driver.cuda[0]}.{driver.cuda[1]}"
    if needed is None:
        return Finding(
            GROUP,
            name,
            "broken",
            f"{known}, but PyTorch was built without CUDA",
            "run `make setup`: it installs PyTorch's CUDA build",
        )
    torchs = f"PyTorch's CUDA {needed[0]}.{needed[1]}"
    if driver.cuda[0] < needed[0]:
        first = _FIRST_DRIVER.get(needed[0])
        return Finding(
            GROUP,
            name,
            "broken",
            f"{known}: too old for {torchs}",
            "rent a machine with driver "
            f"{first or 'of that CUDA'} or newer, or work on the CPU (--gpus none)",
        )
    if driver.cuda < needed:
        return Finding(GROUP, name, "ok", f"{known}; {torchs} runs on it (same major version)")
    return Finding(GROUP, name, "ok", f"{known}, and so {torchs}")


def library_findings(trials: Trials) -> Iterator[Finding]:
    """Which FFmpeg libraries TorchCodec loads, and which ffmpeg encodes."""
    tried = trials.run(LibrariesTrial(), LIBRARIES_DEADLINE_S)
    name = "FFmpeg libraries"
    if tried.outcome != "works":
        advice = (
            "run `make setup`; docs/decisions/001-ffmpeg-libraries.md says where they come from"
        )
        yield Finding(GROUP, name, "broken", tried.said, advice)
        return
    path = tried.words.get("libavcodec", "")
    said = f"{tried.figures['ffmpeg']:.0f}, {_owner(path)} ({path})"
    yield Finding(GROUP, name, "ok", said)
    version, path = (tried.words.get(name, "") for name in ("ffmpeg", "program"))
    whose = "imageio-ffmpeg's" if "/imageio_ffmpeg/" in path else f"{path}, by IMAGEIO_FFMPEG_EXE"
    if why := tried.words.get("no_ffmpeg"):
        advice = "run `make setup`; if IMAGEIO_FFMPEG_EXE is set, unset it"
        yield Finding(GROUP, "ffmpeg", "broken", f"{path}: {why}", advice)
        return
    yield Finding(GROUP, "ffmpeg", "ok", f"{version}, {whose}")


def _owner(path: str) -> str:
    """Where a library comes from, in words."""
    if "av.libs" in path:
        return "PyAV's"
    if path.startswith(("/usr/local/", "/opt/")):
        return "installed by hand"
    if path.startswith(("/usr/", "/lib")):
        return "the system's"
    return "from elsewhere"
