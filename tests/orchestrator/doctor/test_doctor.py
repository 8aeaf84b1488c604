"""The doctor: every line of a good machine, and each of them when its subject is broken."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import TypeAdapter
from rich.console import Console

import orchestrator.doctor.doctor
from orchestrator.cli import main
from orchestrator.doctor.clips import CODECS, EncodeHung, Sample, make_sample, samples
from orchestrator.doctor.doctor import examine, here, trials_file
from orchestrator.doctor.findings import Finding, as_record, worst
from orchestrator.doctor.nvenc_findings import nvenc_on
from orchestrator.doctor.room import find_limits
from orchestrator.doctor.screen import show_findings
from orchestrator.doctor.software import Driver, torch_cuda
from orchestrator.doctor.trials import (
    DecodeTrial,
    DiskTrial,
    DriverTrial,
    KernelsTrial,
    LibrariesTrial,
    Trial,
    Tried,
    WeightsTrial,
)
from orchestrator.estimate.choose_lanes import choose_lanes
from orchestrator.machine.devices import Gpu
from orchestrator.words import counted
from pipeline.contract import MattingSettings
from pipeline.contract.nvenc_ways import nvenc_way
from pipeline.encode.nvenc_trial import Asked
from pipeline.errors import EncodeError
from pipeline.stages.matting.rvm.facts import RvmOptions
from pipeline.stages.matting.sam2.facts import Sam2Options
from tests.nvenc import NO_NVENC
from tests.orchestrator.machines import GOOD_LIMITS, L4, Answer, Machine, good

CHROMA = MattingSettings(model="chroma")
NEW_DRIVER = Driver("580.65", (13, 2))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "cache")


def findings(machine: Machine, matting: MattingSettings = CHROMA, **options: bool) -> list[Finding]:
    return list(examine(machine.around(), Path("/out"), matting, **options))


def the(found: list[Finding], name: str) -> Finding:
    [finding] = [finding for finding in found if finding.name == name]
    return finding


def test_a_good_machine_without_a_gpu_says_so_aloud(machine: Machine) -> None:
    found = findings(machine)
    assert worst(found) == "ok"
    skipped = {finding.name: finding.said for finding in found if finding.level == "skipped"}
    assert set(skipped) == {"driver", "NVDEC and NVENC"}
    assert all("no GPU" in said for said in skipped.values())
    assert the(found, "torch").said == "1.0, built for CUDA 13.2"
    assert the(found, "FFmpeg libraries").said.startswith("8, the system's (")
    assert the(found, "ffmpeg").said == "9.0, imageio-ffmpeg's"
    for codec in CODECS:
        for way in ("encode", "decode"):
            assert the(found, f"{way} {codec}").said == "8 and 10 bit"


def test_a_good_machine_with_a_gpu(machine: Machine) -> None:
    found = findings(machine.with_gpu())
    assert worst(found) == "ok"
    assert not [finding for finding in found if finding.level == "skipped"]
    assert the(found, "NVDEC av1").said == "8 bit: 1080p, 4K, 8K; 10 bit: 1080p, 4K, 8K"
    assert the(found, "NVENC hevc").said == "8 bit: 1080p, 4K, 8K"
    assert "at most 4096x4096" in the(found, "NVENC h264").said
    on_gpu = [trial for device, trial in machine.tried if device == 0]
    assert sum(isinstance(trial, DecodeTrial) for trial in on_gpu) == 4 * 2 * 3


def breaks(kind: type[Trial], tried: Tried, device: int | str = "cpu") -> Answer:
    def answer(where: int | str, trial: Trial) -> Tried | None:
        return tried if isinstance(trial, kind) and where == device else None

    return answer


@pytest.mark.parametrize(
    ("tried", "level", "said", "advice"),
    [
        (Tried("works"), "ok", "PyTorch's bits", ""),
        (Tried("refused", "draw: no compiler"), "warning", "slower: draw: no compiler", "gcc"),
        (Tried("crashed", "SIGSEGV"), "broken", "crashed: SIGSEGV", "processing.kernels: torch"),
    ],
)
def test_kernels_that_a_gpu_cannot_have_are_told(
    machine: Machine, tried: Tried, level: str, said: str, advice: str
) -> None:
    machine = replace(machine.with_gpu(), answer=breaks(KernelsTrial, tried, 0))
    found = the(findings(machine), "kernels")
    assert found.level == level
    assert said in found.said
    assert advice in found.advice


def clip_breaks(part: str, tried: Tried, device: int | str) -> Callable[..., object]:
    def answer(where: int | str, trial: Trial) -> Tried | None:
        is_it = isinstance(trial, DecodeTrial) and part in trial.path and where == device
        return tried if is_it else None

    return answer


HUNG = Tried("hung", "it did not end within 120 s")
FULL = Tried("works", figures={"free": 1e9, "total": 9e9, "write": 5e8, "read": 5e8})
MUTE = Tried(
    "works", figures={"ffmpeg": 8}, words={"program": "/x/ffmpeg", "no_ffmpeg": "it did not end"}
)
SLOW = Tried("works", figures={"free": 1e12, "total": 9e12, "write": 9e6, "read": 5e8})


@pytest.mark.parametrize(
    ("name", "said", "advice", "changes"),
    [
        ("torch", "not installed", "make setup", {"versions": {"vrmatte": "1"}}),
        (
            "driver",
            "550.54 supports CUDA 12.4: too old for PyTorch's CUDA 13.2",
            "driver 580 or newer",
            {"driver": Driver("550.54", (12, 4)), "gpus": (L4,)},
        ),
        (
            "driver",
            "PyTorch was built without CUDA",
            "make setup",
            {"driver": NEW_DRIVER, "torch_cuda": None, "gpus": (L4,)},
        ),
        ("driver", "did not end within 30 s", "nvidia-smi", {"trouble": "did not end within 30 s"}),
        (
            "weights",
            "hung: it did not end",
            "TORCH_HOME",
            {"answer": breaks(WeightsTrial, HUNG)},
        ),
        (
            "FFmpeg libraries",
            "TorchCodec finds no FFmpeg",
            "001-ffmpeg-libraries",
            {"answer": breaks(LibrariesTrial, Tried("failed", "TorchCodec finds no FFmpeg"))},
        ),
        ("ffmpeg", "/x/ffmpeg: it did not", "unset it", {"answer": breaks(LibrariesTrial, MUTE)}),
        ("encode av1", "cannot make av1 8 bit", "IMAGEIO_FFMPEG_EXE", {"unmade": ("av1",)}),
        (
            "decode vp9",
            "10 bit: hung: it did not end within 120 s",
            "make setup",
            {"answer": clip_breaks("vp9-10", HUNG, "cpu")},
        ),
        (
            "decode hevc",
            "8 bit: failed: pictures are wrong",
            "make setup",
            {"answer": clip_breaks("hevc-8", Tried("failed", "pictures are wrong"), "cpu")},
        ),
        ("disk", "1.0 GB of 9.0 GB free", "make room", {"answer": breaks(DiskTrial, FULL)}),
        ("disk", "did not end", "another folder", {"answer": breaks(DiskTrial, HUNG)}),
        (
            "memory",
            "1.0 GB (the container's limit; the machine has 34.4 GB)",
            "rent 8.5 GB",
            {"limits": replace(GOOD_LIMITS, memory=10**9)},
        ),
        (
            "CUDA",
            "failed: PyTorch cannot open CUDA",
            "nvidia-smi",
            {
                "gpus": (L4,),
                "driver": NEW_DRIVER,
                "answer": breaks(LibrariesTrial, Tried("failed", "PyTorch cannot open CUDA"), 0),
            },
        ),
        (
            "NVDEC av1",
            "10 bit 8K: hung",
            "another driver",
            {
                "gpus": (L4,),
                "driver": NEW_DRIVER,
                "answer": clip_breaks("av1-10-8K", HUNG, 0),
            },
        ),
    ],
)
def test_what_is_broken_is_called_broken_with_what_to_do(
    machine: Machine, name: str, said: str, advice: str, changes: dict[str, object]
) -> None:
    for attribute, value in changes.items():
        setattr(machine, attribute, value)
    found = findings(machine)
    finding = the(found, name)
    assert (finding.level, worst(found)) == ("broken", "broken")
    assert said in finding.said
    assert advice in finding.advice


@pytest.mark.parametrize(
    ("name", "said", "changes"),
    [
        ("openvino", "half the speed", {"versions": {"torch": "1"}}),
        ("cores", "1 of the machine's 8", {"limits": replace(GOOD_LIMITS, cores=1)}),
        ("memory", "6.0 GB", {"limits": replace(GOOD_LIMITS, memory=6 * 10**9)}),
        ("/dev/shm", "cannot be written", {"limits": replace(GOOD_LIMITS, shm=None)}),
        ("limits", "100 processes", {"limits": replace(GOOD_LIMITS, processes=100)}),
        ("disk", "slow", {"answer": breaks(DiskTrial, SLOW)}),
    ],
)
def test_what_costs_speed_is_a_warning(
    machine: Machine, name: str, said: str, changes: dict[str, object]
) -> None:
    for attribute, value in changes.items():
        setattr(machine, attribute, value)
    finding = the(findings(machine), name)
    assert finding.level == "warning"
    assert said in finding.said


def test_what_a_gpu_refuses_the_cpu_does(machine: Machine) -> None:
    """H.264 of more than 4096 pixels, AV1 on older cards: no fault, but it is told."""
    machine.with_gpu().nvenc_refuses = NO_NVENC

    def answer(device: int | str, trial: Trial) -> Tried | None:
        if device != 0 or not isinstance(trial, DecodeTrial):
            return None
        refused = "av1" in trial.path or "h264-8-8K" in trial.path
        return Tried("refused", "Video not supported") if refused else None

    machine.answer = answer
    found = findings(machine)
    assert worst(found) == "warning"
    assert (the(found, "NVDEC h264").level, the(found, "NVDEC av1").level) == ("ok", "warning")
    assert "the CPU decodes 8 bit 8K" in the(found, "NVDEC h264").said
    assert "Video not supported" in the(found, "NVDEC av1").said
    assert the(found, "NVENC").level == "warning"
    assert NO_NVENC in the(found, "NVENC").said


def test_a_driver_that_does_not_answer_holds_nobody(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    hung = Tried("hung", "it did not end within 30 s")
    machine.answer = breaks(DriverTrial, hung)
    around = here(open_trials=machine.around().open_trials)
    assert (around.gpus, around.asked.trouble) == ([], "hung: it did not end within 30 s")
    told = {"gpus": TypeAdapter(list[Gpu]).dump_json([L4]).decode()}
    told["driver"] = TypeAdapter(Driver).dump_json(NEW_DRIVER).decode()
    machine.answer = breaks(DriverTrial, Tried("works", words=told))
    around = here(open_trials=machine.around().open_trials)
    assert (around.gpus, around.asked.driver) == ([L4], NEW_DRIVER)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    hidden = here(open_trials=machine.around().open_trials)
    around = replace(machine.around(), gpus=hidden.gpus, asked=hidden.asked)
    finding = the(list(examine(around, None, CHROMA)), "NVDEC and NVENC")
    assert (finding.level, "hides 1 GPU" in finding.said) == ("warning", True)


def test_trials_are_made_once_a_machine(machine: Machine) -> None:
    first = findings(machine)
    assert len(machine.decoded()) == 8
    machine.tried.clear()
    assert findings(machine) == first
    assert machine.decoded() == []
    findings(machine, fresh=True)
    assert len(machine.decoded()) == 8


def test_what_hung_is_tried_again(machine: Machine) -> None:
    machine.answer = clip_breaks("vp9", HUNG, "cpu")  # type: ignore[assignment]
    assert worst(findings(machine)) == "broken"
    machine.answer = lambda device, trial: None
    assert worst(findings(machine)) == "ok"


@pytest.mark.parametrize("change", ["gpu", "driver"])
def test_another_card_or_driver_is_another_machine(machine: Machine, change: str) -> None:
    before = findings(machine.with_gpu())
    machine.tried.clear()
    if change == "gpu":
        machine.gpus = (replace(L4, uuid="GPU-bbbb"),)
    else:
        machine.driver = Driver("590.10", (13, 2))
    assert len(findings(machine)) == len(before)
    assert len(machine.decoded()) == 8 + 24


def test_a_damaged_or_unwritable_cache_costs_only_time(machine: Machine) -> None:
    findings(machine)
    trials_file(machine.cache, machine.around().identity()).write_text("{cut off")
    machine.tried.clear()
    assert worst(findings(machine)) == "ok"
    assert len(machine.decoded()) == 8
    machine.cache = machine.cache / "file"
    machine.cache.write_text("no folder")
    assert the(findings(machine), "cache").level == "warning"


def test_every_child_is_ended(machine: Machine) -> None:
    opened = 0

    def answer(device: int | str, trial: Trial) -> Tried | None:
        nonlocal opened
        opened += isinstance(trial, LibrariesTrial)
        return None

    machine.with_gpu().answer = answer
    findings(machine)
    assert (opened, machine.closed) == (2, 2)


@pytest.fixture
def torch_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path / "hub"


def test_weights_that_can_be_fetched_are_a_warning(machine: Machine, torch_home: Path) -> None:
    from pipeline.stages.matting.rvm.weights import _source, fetch
    from pipeline.stages.matting.weights import _kept_file

    matting = MattingSettings()
    assert the(findings(machine, matting), "weights of rvm").level == "warning"
    assert the(findings(machine, matting), "weights of sam2").level == "ok"
    assert "not needed" in the(findings(machine), "weights of rvm").said
    code = torch_home / RvmOptions().repo.replace("/", "_").replace(":", "_")
    code.mkdir(parents=True)
    (code / "hubconf.py").touch()
    weights = _kept_file(_source(RvmOptions()), ())
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"weights")
    assert the(findings(machine, matting), "weights of rvm").level == "ok"
    assert fetch(matting) == [code, weights]  # which is where a run looks
    weights.write_bytes(b"others")
    finding = the(findings(machine, matting), "weights of rvm")
    assert (finding.level, "sha256 has changed" in finding.said) == ("broken", True)


@pytest.mark.usefixtures("torch_home")
@pytest.mark.parametrize("model", ["auto", "rvm"])
def test_weights_that_nobody_gives_are_broken(machine: Machine, model: str) -> None:
    machine.unreachable = "hub: no answer in 3 s; registry: no answer in 3 s"
    found = findings(machine, MattingSettings(model=model))
    finding = the(found, "weights of rvm")
    assert (finding.level, worst(found)) == ("broken", "broken")
    assert "cannot be fetched (hub: no answer in 3 s; registry" in finding.said
    assert "models fetch" in finding.advice
    assert "depth" in finding.advice
    # Nobody is asked for what no model needs.
    assert worst(findings(machine)) == "ok"


@pytest.mark.parametrize("cores", [2, 3, 4, 16, 64])
@pytest.mark.parametrize("gpus", [0, 1, 2])
def test_it_foretells_the_lanes_of_a_run(machine: Machine, cores: int, gpus: int) -> None:
    machine.limits = replace(GOOD_LIMITS, cores=cores, cores_of_machine=cores)
    if gpus:
        machine.driver = NEW_DRIVER
        machine.gpus = tuple(replace(L4, number=number) for number in range(gpus))
    lanes = choose_lanes(None, [], max(1, gpus), cores, gpus > 0, measure=None)  # type: ignore[arg-type]
    said = the(findings(machine), "cores").said
    assert f"enough for {counted(lanes.count, 'segment')} at once" in said


@pytest.mark.usefixtures("torch_home")
def test_weights_that_are_named_must_be_there(machine: Machine) -> None:
    options = Sam2Options(seed="depth", checkpoint="/none/sam2.pt")
    matting = MattingSettings(model="sam2", options=(options,))
    finding = the(findings(machine, matting), "weights of sam2")
    assert (finding.level, finding.said) == ("broken", "SAM 2's weights are not at /none/sam2.pt")
    of_seed = MattingSettings(model="sam2", options=(Sam2Options(seed="rvm"),))
    assert the(findings(machine, of_seed), "weights of rvm").level == "warning"


@pytest.fixture
def typed(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    monkeypatch.setattr(orchestrator.doctor.doctor, "here", lambda on_step: machine.around())

    def run(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(main, ["doctor", "--model", "chroma", *words])
        return done.exit_code, done.stdout

    return run


def test_the_exit_status_is_3_only_where_something_is_broken(
    machine: Machine, typed: Callable[..., tuple[int, str]]
) -> None:
    assert typed()[0] == 0
    machine.limits = replace(GOOD_LIMITS, cores=1)
    assert typed()[0] == 0
    machine.unmade = ("hevc",)
    status, said = typed("--fresh")
    assert status == 3
    assert "not ready: 1 thing to repair (1 broken, 1 warning" in said
    status, said = typed("--json")
    record = json.loads(said)
    assert (status, record["level"], record["schema"]) == (3, "broken", 2)
    [broken] = [finding for finding in record["findings"] if finding["level"] == "broken"]
    assert broken["name"] == "encode hevc"


@pytest.mark.parametrize("width", [80, 200])
def test_no_line_is_wider_than_the_terminal(machine: Machine, width: int) -> None:
    machine.with_gpu().unmade = ("av1",)
    stream = io.StringIO()
    found = show_findings(Console(file=stream, width=width), findings(machine))
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    told = " ".join(" ".join(lines).split())
    for finding in found:  # nothing is cut off
        assert finding.level in told
        for part in (finding.name, finding.said, finding.advice):
            assert "".join(part.split()) in "".join(told.split())
    assert as_record(found)["level"] == "broken"


def test_limits_of_a_container_are_read(tmp_path: Path) -> None:
    (tmp_path / "pids.max").write_text("512\n")
    limits = find_limits(tmp_path, tmp_path / "no-shm")
    assert (limits.processes, limits.shm) == (512, None)
    (tmp_path / "pids.max").write_text("max\n")
    assert find_limits(tmp_path, tmp_path).processes is None


def test_the_cuda_of_the_installed_pytorch_is_read_without_loading_it() -> None:
    import torch

    found = torch_cuda()
    assert torch.version.cuda == (None if found is None else f"{found[0]}.{found[1]}")


def lacking_ffmpeg(folder: Path, word: str, instead: str = "exit 1") -> Path:
    """A program like our ffmpeg that does something else where `word` is among its arguments."""
    import imageio_ffmpeg

    path = folder / "ffmpeg"
    real = imageio_ffmpeg.get_ffmpeg_exe()
    path.write_text(
        f'#!/bin/sh\ncase " $* " in *"{word}"*) echo "no {word}" >&2; {instead};; esac\n'
        f'exec "{real}" "$@"\n'
    )
    path.chmod(0o755)
    return path


def test_an_ffmpeg_that_lacks_a_codec_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ffmpeg = lacking_ffmpeg(tmp_path, "libsvtav1")
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(ffmpeg))
    assert make_sample(tmp_path, Sample("h264", 8, "small")).stat().st_size > 0
    with pytest.raises(EncodeError, match=r"cannot make av1 8 bit small .*: no libsvtav1"):
        make_sample(tmp_path, Sample("av1", 8, "small"))
    asked = Asked(("-c:v", "av1_nvenc", "-pix_fmt", "yuv420p"), 640, 320)
    assert nvenc_on(nvenc_way("ffmpeg"), asked, 0) is not None


def test_good_answers_are_those_that_the_doubles_give(machine: Machine) -> None:
    """The doubles answer every trial that the doctor makes."""
    findings(machine.with_gpu())
    assert all(good(device, trial).outcome == "works" for device, trial in machine.tried)
    assert len(list(samples({"small": (640, 320)}))) == 8


def test_an_ffmpeg_that_hangs_is_waited_for_once(machine: Machine, tmp_path: Path) -> None:
    asked = []

    def hang(folder: Path, sample: Sample) -> Path:
        asked.append(sample)
        raise EncodeHung(f"ffmpeg did not make {sample.name} in 40 s")

    around = replace(machine.around(), make_sample=hang)
    found = {f.name: f for f in examine(around, tmp_path, MattingSettings(), fresh=True)}
    for codec in ("h264", "hevc", "av1", "vp9"):
        assert found[f"encode {codec}"].level == "broken"
        assert "did not make h264 8 bit" in found[f"encode {codec}"].said
    assert len(asked) == 1
