"""The doctor on doubles of pods: what it says of decoding, encoding, sessions, and what to do.

Each double answers as the libraries do on such a machine: TorchCodec's reasons for the CPU, and
libavcodec's words about NVENC (`tests/nvenc.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.doctor.doctor import examine
from orchestrator.doctor.findings import Finding, Level
from orchestrator.doctor.software import Driver
from orchestrator.doctor.trials import DecodeTrial, Trial, Tried
from orchestrator.machine.devices import Gpu
from pipeline.contract import MattingSettings
from tests.nvenc import NO_LIBRARY, NO_NVENC, NO_SESSION, OLD_FOR_FFMPEG
from tests.orchestrator.machines import Machine

GB = 1_000_000_000
CAPABILITIES = "NVIDIA_DRIVER_CAPABILITIES"
VIDEO = {CAPABILITIES: "compute,utility,video"}


def decodes_not(*parts: str, reason: str) -> Callable[[int | str, Trial], Tried | None]:
    """A GPU whose NVDEC does not decode clips with such names."""

    def answer(device: int | str, trial: Trial) -> Tried | None:
        if device == "cpu" or not isinstance(trial, DecodeTrial):
            return None
        found = any(part in Path(trial.path).name for part in parts)
        return Tried("refused", reason) if found else None

    return answer


def pod(folder: Path, name: str, driver: str, cuda: tuple[int, int], memory: int | None) -> Machine:
    machine = Machine(folder / "cache", environment=dict(VIDEO))
    machine.gpus = (Gpu(0, "GPU-1", name, memory),)
    machine.driver = Driver(driver, cuda)
    return machine


def said(machine: Machine) -> dict[str, Finding]:
    settings = MattingSettings(model="chroma")
    found = list(examine(machine.around(), Path("/out"), settings))
    assert len({finding.name for finding in found}) == len(found)
    return {finding.name: finding for finding in found}


def test_an_rtx_4090_with_driver_580(tmp_path: Path) -> None:
    """Every way but the bundled ffmpeg's works, and eight sessions are all there are."""
    machine = pod(tmp_path, "NVIDIA GeForce RTX 4090", "580.65.06", (13, 0), 24 * GB)
    machine.nvenc = {"ffmpeg": OLD_FOR_FFMPEG}
    machine.answer = decodes_not("h264-8-8K", "h264-10", reason="Video not supported")
    found = said(machine)
    assert found["driver"].level == "ok"
    nvenc = found["NVENC"]
    assert nvenc.level == "ok"
    assert nvenc.said == (
        "driver 580.65.06 here; TorchCodec, from the GPU's memory (needs driver 570.0): works;"
        " PyAV's libraries, by a pipe (needs driver 570.0): works;"
        f" ffmpeg, by a pipe (needs driver 610.00): {OLD_FOR_FFMPEG}"
    )
    assert "8 at once in the whole system" in found["NVENC sessions"].said
    assert found["NVENC av1"].said == "8 bit: 1080p, 4K, 8K"
    assert found["NVDEC av1"].level == "ok"


def test_an_rtx_6000_ada_with_driver_610(tmp_path: Path) -> None:
    machine = pod(tmp_path, "NVIDIA RTX 6000 Ada Generation", "610.43.02", (13, 3), 48 * GB)
    found = said(machine)
    assert found["NVENC"].level == "ok"
    assert found["NVENC"].said.count("works") == 3
    assert "NVENC sessions" not in found
    assert all(finding.level == "ok" for finding in found.values())


def test_an_a100(tmp_path: Path) -> None:
    """It has no NVENC, and no driver or setting would give it one."""
    machine = pod(tmp_path, "NVIDIA A100-SXM4-80GB", "580.65.06", (13, 0), 80 * GB)
    machine.nvenc = {"gpu": NO_NVENC, "pyav": NO_NVENC, "ffmpeg": OLD_FOR_FFMPEG}
    machine.answer = decodes_not("av1", "h264-8-8K", reason="Codec not supported")
    found = said(machine)
    assert found["NVENC"].level == "warning"
    assert found["NVENC"].said == f"this GPU has none ({NO_NVENC})"
    assert "rent more cores" in found["NVENC"].advice
    assert "driver" not in found["NVENC"].advice
    assert {name for name in found if name.startswith("NVENC")} == {"NVENC"}
    assert found["NVDEC av1"].level == "warning"
    assert found["NVDEC hevc"].level == "ok"


def test_a_t4(tmp_path: Path) -> None:
    """Turing: no AV1 either way, and no GeForce."""
    machine = pod(tmp_path, "Tesla T4", "580.65.06", (13, 0), 15 * GB)
    machine.nvenc = {"ffmpeg": OLD_FOR_FFMPEG}
    machine.answer = decodes_not("av1", reason="Codec not supported")
    machine.nvenc_codecs = ("h264", "hevc")
    found = said(machine)
    assert found["NVENC"].level == "ok"
    assert found["NVENC hevc"].level == "ok"
    assert found["NVENC av1"].level == "warning"
    assert "Codec not supported" in found["NVENC av1"].said
    assert "another codec" in found["NVENC av1"].advice
    assert "NVENC sessions" not in found


@pytest.mark.parametrize(
    ("environment", "cause", "cure"),
    [
        ({CAPABILITIES: "compute,utility"}, 'lacks "video"', "compute,utility,video"),
        ({}, "not in this container", "compute,utility,video"),
        ({CAPABILITIES: "all"}, "and yet", "another machine"),
    ],
)
def test_a_pod_without_the_video_capability(
    environment: dict[str, str], cause: str, cure: str, tmp_path: Path
) -> None:
    """It is broken, not slow: nothing that one can rent more of mends it."""
    machine = pod(tmp_path, "NVIDIA L40S", "580.65.06", (13, 0), 48 * GB)
    machine.environment = environment
    machine.nvenc_refuses = NO_LIBRARY
    machine.answer = decodes_not("", reason="NVcuvid unavailable")
    found = said(machine)
    for name, text in (("NVDEC", "NVcuvid unavailable"), ("NVENC", NO_LIBRARY)):
        assert found[name].level == "broken"
        assert found[name].said.startswith(f"{text}: ")
        assert cause in found[name].said
        assert cure in found[name].advice
    assert not [name for name in found if name.startswith(("NVDEC ", "NVENC "))]
    # The pod is started anew with the capability: nothing of this is remembered.
    machine.environment, machine.nvenc_refuses = dict(VIDEO), None
    machine.answer = lambda device, trial: None
    again = said(machine)
    assert again["NVENC"].level == again["NVDEC hevc"].level == "ok"


def test_a_mig_slice(tmp_path: Path) -> None:
    """Its memory may be nobody's business, and it has neither NVENC nor all of NVDEC."""
    machine = pod(tmp_path, "NVIDIA A100-SXM4-80GB MIG 1g.10gb", "580.65.06", (13, 0), None)
    machine.nvenc_refuses = NO_NVENC
    machine.answer = decodes_not("", reason="Video not supported")
    found = said(machine)
    assert found["CUDA"].level == "ok"
    assert "limits.vram_gb" in found["CUDA"].said
    assert found["NVENC"].level == "warning"
    levels: set[Level] = {f.level for name, f in found.items() if name.startswith("NVDEC")}
    assert levels == {"warning"}


def test_a_driver_that_is_too_old_for_every_way(tmp_path: Path) -> None:
    """PyTorch would not run either; the advice names the least driver of all ways."""
    machine = pod(tmp_path, "NVIDIA L4", "560.35", (13, 0), 24 * GB)
    machine.nvenc_refuses = "Driver does not support the required nvenc API version."
    found = said(machine)
    assert found["NVENC"].level == "warning"
    assert "driver 570.0 or newer" in found["NVENC"].advice


def test_sessions_that_others_hold_are_told_and_not_remembered(tmp_path: Path) -> None:
    machine = pod(tmp_path, "NVIDIA GeForce RTX 3090", "580.65.06", (13, 0), 24 * GB)
    machine.nvenc_refuses = NO_SESSION
    found = said(machine)
    assert found["NVENC"].level == "warning"
    assert "end other programs" in found["NVENC"].advice
    machine.nvenc_refuses = None
    assert said(machine)["NVENC"].level == "ok"
