"""The gates: each check with its subject broken on purpose; what a failure closes; what is kept."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

import orchestrator.doctor.doctor
import orchestrator.gates.site
import orchestrator.run.run
from orchestrator.cli import main
from orchestrator.doctor.software import Driver
from orchestrator.doctor.trials import (
    DecodeTrial,
    FormatTrial,
    ModelTrial,
    ReadTrial,
    Trial,
    Tried,
    WeightsTrial,
)
from orchestrator.fleet.journal_entries import Entry, SegmentCommitted, VideoDone
from orchestrator.gates.checks import Check, CheckResult, results
from orchestrator.gates.clips import ClipCodec
from orchestrator.gates.gates import GATES, failed_gate, gates_to_run, keep_results, pass_gates
from orchestrator.gates.production import peak_scratch_bytes
from orchestrator.gates.real_run import RunAsked, RunEnd, real_run
from orchestrator.gates.record import (
    models_passed,
    passed_earlier,
    read_gates,
    require_gates,
)
from orchestrator.gates.screen import show_results, verdict
from orchestrator.gates.site import Site
from orchestrator.report.report import (
    SCHEMA_VERSION,
    Report,
    RunFacts,
    VideoReport,
    WorkerReport,
    write_report,
)
from pipeline.contract import MattingSettings, ModelOptions, OutputFile, SegmentResult
from pipeline.errors import MachineError, SettingsError
from pipeline.stages.matting.rvm.facts import RvmOptions
from pipeline.stages.matting.sam2.facts import Sam2Options
from tests.orchestrator.finished_out import SEGMENT_BYTES, finished_out
from tests.orchestrator.machines import L4, RIGHT, Machine, good
from workers.telemetry import GpuSample

NOW = datetime(2026, 11, 21, tzinfo=UTC)
HUNG = Tried("hung", "it did not end within 120 s")


class RunDouble:
    """`vrmatte run`: leaves a report, logs and outputs as asked, but for what a test changes."""

    def __init__(self) -> None:
        self.asked: list[RunAsked] = []
        self.status: int | None = 0
        self.said = "done"
        self.retries = 0
        self.faults = 0
        self.idle_workers = 0
        self.other_bytes = False
        self.busy_percent = 60

    def __call__(self, asked: RunAsked) -> RunEnd:
        self.asked.append(asked)
        workers = len(asked.gpus.split(",")) if asked.gpus != "none" else asked.cpu_workers
        logs = asked.out / ".vrmatte/logs"
        logs.mkdir(parents=True)
        for worker in range(workers):
            event = "worker_ready" if worker < self.idle_workers else "segment_done"
            kind = "cpu" if asked.gpus == "none" else "gpu"
            (logs / f"{kind}{worker}.jsonl").write_text(json.dumps({"event": event}) + "\n")
        videos = []
        for source in sorted(asked.videos.iterdir()):
            output = asked.out / f"{source.stem}_matte.webm"
            output.write_text(f"{source.name} {workers if self.other_bytes else ''}")
            made = OutputFile("webm", str(output), output.stat().st_size, 24)
            videos.append(
                VideoReport(
                    source.name,
                    str(source),
                    "done",
                    frames_done=24,
                    retries=self.retries,
                    decoders=("CPU",),
                    outputs=(made,),
                )
            )
        one = WorkerReport(0, "cpu", 1, lives=1, faults=self.faults, retired=False, error=None)
        facts = RunFacts("1", (str(asked.videos),), str(asked.out), "f" * 16, NOW, NOW)
        all_workers = tuple(replace(one, id=number) for number in range(workers))
        report = Report(SCHEMA_VERSION, self.status or 0, 5.0, facts, tuple(videos), all_workers)
        write_report(report, asked.out / "report.json")
        sample = GpuSample(0, L4.name, self.busy_percent, 10**9, 24 * 10**9, None)
        return RunEnd(asked.out, self.status, self.said, 5.0, ((sample,),))


def make_clips(folder: Path, codecs: Iterable[ClipCodec]) -> dict[str, Path]:
    made: dict[str, Path] = {codec: folder / f"{codec}.mp4" for codec in codecs}
    for path in made.values():
        path.write_text("clip")
    return made


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "cache")


@pytest.fixture
def run() -> RunDouble:
    return RunDouble()


@pytest.fixture(autouse=True)
def no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


@pytest.fixture
def site(machine: Machine, run: RunDouble, tmp_path: Path) -> Iterator[Site]:
    folder = tmp_path / "scratch"
    folder.mkdir()
    chroma = MattingSettings(model="chroma")
    made = Site(machine.around(), folder, chroma, run=run, make_clips=make_clips)
    yield made
    made.close()


def renewed(site: Site, machine: Machine) -> Site:
    """The same site after the machine was changed."""
    return replace(site, around=machine.around(), _trials={}, _runs={}, _read={})


def found(site: Site, gate: int) -> dict[str, CheckResult]:
    return {result.name: result for result in results(GATES[gate][1](site))}


def answer_to(kind: type[Trial], word: str, tried: Tried, device: int | str = "cpu") -> Any:
    """That comes of trials of a kind in whose text the word is."""

    def answer(where: int | str, trial: Trial) -> Tried | None:
        return (
            tried if isinstance(trial, kind) and word in repr(trial) and where == device else None
        )

    return answer


def figures(**changes: float) -> Tried:
    return Tried("works", figures={**RIGHT, **changes})


def without(*names: str) -> Tried:
    return Tried("works", figures={k: v for k, v in RIGHT.items() if k not in names})


def test_a_machine_without_a_gpu_passes_and_says_what_it_skipped(site: Site) -> None:
    shown = list(pass_gates(site, [1, 2, 3, 4]))
    assert failed_gate(shown) is None
    skipped = [result for result in shown if result.status == "skipped"]
    without_gpu = [result.name for result in skipped if result.said == "no GPU"]
    assert without_gpu == [
        *("decode on a GPU", "models on a GPU", "NVENC", "use of the GPU", "two GPUs")
    ]
    assert {r.name for r in skipped if "weights" in r.said or "code" in r.said} == {
        *("model rvm (CPU)", "model sam2 (CPU)", "model sam2+rvm (CPU)"),
    }
    assert verdict(shown, [1, 2, 3, 4]).startswith("gates 1 to 4 passed (")
    assert f"{len(skipped)} skipped" in verdict(shown, [1, 2, 3, 4])
    assert models_passed(shown) == ["chroma", "depth", "plate"]


def test_with_a_gpu_everything_is_tried_on_it(site: Site, machine: Machine) -> None:
    shown = list(pass_gates(renewed(site, machine.with_gpu()), [1, 2, 3, 4]))
    assert failed_gate(shown) is None
    passed = {result.name for result in shown if result.status == "passed"}
    assert {"decode av1 10 bit (GPU 0)", "model depth (GPU 0)", "use of the GPU"} <= passed
    assert "format greenscreen hevc (GPU 0)" in passed
    assert [r.said for r in shown if r.name == "two GPUs"] == ["one GPU only"]


# -- gate 1 --------------------------------------------------------------------------------------


def test_gate_1_fails_by_what_the_doctor_calls_broken(site: Site, machine: Machine) -> None:
    machine.with_gpu().driver = Driver("550.54", (12, 4))
    result = found(renewed(site, machine), 1)["driver"]
    assert result.status == "failed"
    assert "too old for PyTorch's CUDA 13.2" in result.said
    assert "driver 580" in result.advice


def test_gate_1_fails_where_the_weights_of_the_model_cannot_be_had(
    site: Site, machine: Machine
) -> None:
    machine.unreachable = "hub: no answer in 3 s"
    default = replace(renewed(site, machine), matting=MattingSettings(model="auto"))
    result = found(default, 1)["weights of rvm"]
    assert (result.status, "cannot be fetched" in result.said) == ("failed", True)
    assert found(renewed(site, machine), 1)["weights of rvm"].status == "passed"


# -- gate 2 --------------------------------------------------------------------------------------

ROUGH = {"error": 0.2, "low": 0.0, "high": 1.0, "mean": 0.5}


@pytest.mark.parametrize(
    ("name", "said", "advice", "answer"),
    [
        (
            "decode av1 10 bit (CPU)",
            "hung: it did not end within 120 s",
            "doctor --fresh",
            answer_to(DecodeTrial, "av1-10", HUNG),
        ),
        (
            "decode vp9 8 bit (CPU)",
            "crashed: SIGSEGV",
            "doctor",
            answer_to(DecodeTrial, "vp9-8", Tried("crashed", "SIGSEGV")),
        ),
        (
            "model depth (CPU)",
            "off by 0.200 on average",
            "make setup",
            answer_to(ModelTrial, "model='depth'", Tried("works", figures=ROUGH)),
        ),
        (
            "model plate (CPU)",
            "from 0.000 to 1.500",
            "make setup",
            answer_to(ModelTrial, "model='plate'", Tried("works", figures={**ROUGH, "high": 1.5})),
        ),
        (
            "model chroma (CPU)",
            "is not a number",
            "choose another --model",
            answer_to(ModelTrial, "model='chroma'", Tried("failed", "its alpha is not a number")),
        ),
        (
            "format webm",
            "it has no alpha",
            "IMAGEIO_FFMPEG_EXE",
            answer_to(
                FormatTrial, "name='webm'", Tried("works", figures={"frames": 6, "decoded": 6})
            ),
        ),
        (
            "format prores",
            "alpha is off by 0.300",
            "IMAGEIO_FFMPEG_EXE",
            answer_to(FormatTrial, "name='prores'", figures(frames=6, decoded=6, alpha_error=0.3)),
        ),
        (
            "format tiff",
            "5 frames, of which 5 decode, instead of 6",
            "make setup",
            answer_to(FormatTrial, "name='tiff'", figures(frames=5, decoded=5)),
        ),
        (
            "format greenscreen av1 (CPU)",
            "Unknown encoder 'libsvtav1'",
            "make setup",
            answer_to(FormatTrial, "codec='av1'", Tried("failed", "Unknown encoder 'libsvtav1'")),
        ),
    ],
)
def test_gate_2_fails_by_the_part_that_is_broken(
    site: Site, machine: Machine, name: str, said: str, advice: str, answer: Any
) -> None:
    machine.answer = answer
    failed = {n: r for n, r in found(site, 2).items() if r.status == "failed"}
    assert list(failed) == [name]
    assert said in failed[name].said
    assert advice in failed[name].advice


def test_gate_2_fails_where_our_ffmpeg_lacks_a_codec(site: Site, machine: Machine) -> None:
    machine.unmade = ("vp9",)
    failed = [name for name, r in found(site, 2).items() if r.status == "failed"]
    assert failed == ["decode vp9 8 bit (CPU)", "decode vp9 10 bit (CPU)"]


def test_gate_2_fails_where_a_gpu_computes_something_else(site: Site, machine: Machine) -> None:
    off = Tried("works", figures={**ROUGH, "error": 0.002, "cpu_difference": 0.01})
    machine.with_gpu().answer = answer_to(ModelTrial, "model='chroma'", off, device=0)
    result = found(renewed(site, machine), 2)["model chroma (GPU 0)"]
    assert (result.status, "differs from the CPU's by 0.0100" in result.said) == ("failed", True)


def test_what_a_gpu_refuses_is_skipped_and_what_hangs_there_fails(
    site: Site, machine: Machine
) -> None:
    machine.with_gpu().nvenc_refuses = "no capable devices found"
    refused = Tried("refused", "Video not supported")
    machine.answer = lambda device, trial: (
        answer_to(DecodeTrial, "av1", refused, 0)(device, trial)
        or answer_to(DecodeTrial, "hevc-8", HUNG, 0)(device, trial)
    )
    shown = found(renewed(site, machine), 2)
    assert shown["decode av1 8 bit (GPU 0)"].status == "skipped"
    assert shown["format greenscreen hevc (GPU 0)"].status == "skipped"
    assert [name for name, r in shown.items() if r.status == "failed"] == [
        "decode hevc 8 bit (GPU 0)"
    ]


def test_a_model_that_is_asked_for_must_be_there(site: Site, machine: Machine) -> None:
    lacking = Tried("failed", "RVM's weights cannot be fetched", words={"advice": "models fetch"})
    machine.answer = answer_to(ModelTrial, "model='rvm'", lacking)
    assert found(site, 2)["model rvm (CPU)"].status == "skipped"
    result = found(replace(site, asked_model="rvm", _trials={}), 2)["model rvm (CPU)"]
    assert (result.status, result.advice) == ("failed", "models fetch")


# -- gate 3 --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "said", "tried"),
    [
        ("alpha of the AV1 clip", "it has no alpha", without("alpha_error")),
        ("alpha of the AV1 clip", "no alpha", Tried("failed", "24 of 24 frames have no alpha")),
        ("alpha of the AV1 clip", "alpha is off by 0.100", figures(alpha_error=0.1)),
        ("alpha of the AV1 clip", "14 frames", figures(frames=14, decoded=14)),
        ("sound of the AV1 clip", "0 tracks", figures(tracks=0)),
        ("sound of the AV1 clip", "silence", figures(loudness=0.001)),
        ("sound of the AV1 clip", "sound from 0.200", figures(sound_begin=0.2)),
        ("sound of the AV1 clip", "0.500 s, the picture", figures(sound_end=0.5)),
    ],
)
def test_gate_3_fails_by_what_is_read_off_the_output(
    site: Site, machine: Machine, name: str, said: str, tried: Tried
) -> None:
    machine.answer = answer_to(ReadTrial, "av1", tried)
    failed = {n: r for n, r in found(site, 3).items() if r.status == "failed"}
    assert name in failed
    assert said in failed[name].said
    assert failed[name].advice
    assert all("H.264" not in n for n in failed)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"status": 130, "said": "stopped: no room left for seg-000000"},
            "(exit status 130): stopped: no room",
        ),
        ({"status": None}, "did not end within 5 s"),
        ({"status": 1, "said": "av1.mp4: failed: is damaged"}, "(exit status 1): av1.mp4: failed"),
        ({"retries": 1}, "2 attempts were lost"),
    ],
)
def test_gate_3_fails_by_a_run_that_does_not_end_well(
    site: Site, run: RunDouble, change: dict[str, Any], said: str
) -> None:
    for name, value in change.items():
        setattr(run, name, value)
    result = found(site, 3)["vrmatte run, H.264 and AV1"]
    assert (result.status, said in result.said) == ("failed", True)
    assert len(run.asked) == 1  # whoever looks at its outputs does not run it again


def test_gate_3_fails_by_a_gpu_that_nobody_used(
    site: Site, machine: Machine, run: RunDouble
) -> None:
    machine.with_gpu()
    assert found(renewed(site, machine), 3)["use of the GPU"].status == "passed"
    run.busy_percent = 0
    again = replace(renewed(site, machine), folder=site.folder / "again")
    again.folder.mkdir()
    result = found(again, 3)["use of the GPU"]
    assert (result.status, "never busy in 1 samples" in result.said) == ("failed", True)


# -- gate 4 --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"other_bytes": True}, "two workers make other files than one"),
        ({"faults": 1}, "2 workers with 2 faults"),
        ({"idle_workers": 1}, "one of the workers made no segment"),
        ({"retries": 1}, "attempts were lost"),
        ({"status": 3, "said": "error: no room"}, "(exit status 3): error: no room"),
    ],
)
def test_gate_4_fails_by_workers_that_disturb_each_other(
    site: Site, run: RunDouble, change: dict[str, Any], said: str
) -> None:
    assert found(site, 4)["two workers on the CPU"].status == "passed"
    again = replace(site, folder=site.folder / "again", _runs={})
    again.folder.mkdir()
    for name, value in change.items():
        setattr(run, name, value)
    result = found(again, 4)["two workers on the CPU"]
    assert (result.status, said in result.said) == ("failed", True)


def test_gate_4_takes_two_gpus_where_there_are_two(
    site: Site, machine: Machine, run: RunDouble
) -> None:
    machine.with_gpu().gpus = (L4, replace(L4, number=1, uuid="GPU-bbbb"))
    assert found(renewed(site, machine), 4)["two GPUs"].status == "passed"
    assert [asked.gpus for asked in run.asked] == ["none", "none", "0", "0,1"]
    machine.gpus = (L4, replace(L4, number=1, uuid="GPU-bbbb", name="NVIDIA A100"))
    again = replace(renewed(site, machine), folder=site.folder / "again")
    again.folder.mkdir()
    assert found(again, 4)["two GPUs"].status == "skipped"


# -- gate 5 --------------------------------------------------------------------------------------


def looked_at(site: Site, **changes: float) -> dict[str, CheckResult]:
    """Gate 5, where files are read as having 100 frames, but for `changes`."""
    figures_ = {**RIGHT, "frames": 100.0, "decoded": 3.0, "sound_end": 3.0, **changes}
    machine_answer = Tried("works", figures=figures_)
    around = replace(site.around, open_trials=lambda device: _Fixed(machine_answer))
    return found(replace(site, around=around, _trials={}), 5)


class _Fixed:
    def __init__(self, tried: Tried) -> None:
        self._tried = tried

    def run(self, trial: Trial, deadline_s: float) -> Tried:
        return self._tried

    def close(self) -> None: ...


def test_gate_5_takes_one_missing_of_twenty(site: Site, tmp_path: Path) -> None:
    site.out = finished_out(tmp_path / "out", 20, failed=[3]).path
    shown = looked_at(site)
    assert {result.status for result in shown.values()} == {"passed"}
    assert shown["videos done"].said == "19 of 20 videos done"
    first = shown["spot check of talk00_LR_180_matte.webm"].said
    assert (
        first == "100 frames, 3 decoded, alpha 0.10 on average, 1 track of sound as in the source"
    )
    spots = [name for name in shown if name.startswith("spot check of")]
    assert spots == [f"spot check of talk{number:02}_LR_180_matte.webm" for number in (0, 10, 19)]


def test_gate_5_fails_by_two_missing_of_twenty(site: Site, tmp_path: Path) -> None:
    site.out = finished_out(tmp_path / "out", 20, failed=[3, 4]).path
    result = looked_at(site)["videos done"]
    assert (result.status, result.said) == (
        "failed",
        "18 of 20 videos done, less than 95%: talk03.mp4: is damaged (try to remux it)",
    )
    assert "run again" in result.advice or "run the same" in result.advice


def test_gate_5_fails_by_files_that_are_gone(site: Site, tmp_path: Path) -> None:
    site.out = finished_out(tmp_path / "out").path
    (site.out / "talk03_LR_180_matte.webm").unlink()
    shown = looked_at(site)
    assert "talk03.mp4: output is gone" in shown["videos done"].said
    assert "is not there" in shown["spot check of talk03_LR_180_matte.webm"].said


def test_gate_5_fails_by_one_file_of_many_that_is_cut_off(site: Site, tmp_path: Path) -> None:
    """Also by one that no spot check would look at."""
    site.out = finished_out(tmp_path / "out", 40).path
    path = site.out / "talk03_LR_180_matte.webm"
    path.write_bytes(path.read_bytes()[:50])
    result = looked_at(site)["videos done"]
    assert (result.status, result.said) == (
        *("failed", "the size of an output of talk03.mp4 has changed since it was made"),
    )
    assert "delete it" in result.advice


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"frames": 99.0}, "99 frames instead of 100"),
        ({"decoded": 0.0}, "none of its frames decodes"),
        ({"alpha_low": 1.0}, "is 1 everywhere"),
        ({"sound_end": 2.0}, "its sound ends at 2.000 s instead of 3.000 s"),
        ({"tracks": 0.0}, "0 tracks of sound, the source has 1"),
    ],
)
def test_gate_5_fails_by_what_is_in_a_file(
    site: Site, tmp_path: Path, changes: dict[str, float], said: str
) -> None:
    site.out = finished_out(tmp_path / "out").path
    result = looked_at(site, **changes)["spot check of talk00_LR_180_matte.webm"]
    assert (result.status, said in result.said) == ("failed", True)


def test_gate_5_fails_by_scratch_over_its_limit(site: Site, tmp_path: Path) -> None:
    site.out = finished_out(tmp_path / "out", scratch_gb=1.5e-6).path
    result = looked_at(site)["scratch"]
    assert (result.status, "2.0 kB of 1.5 kB" in result.said) == ("failed", True)


def test_gate_5_fails_while_a_run_goes_on(site: Site, tmp_path: Path) -> None:
    out = finished_out(tmp_path / "out")
    site.out = out.path
    with out.locked():
        assert looked_at(site)["videos done"].said == "a run is going on there"


def test_gate_5_wants_a_finished_folder(site: Site, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="gate 5 checks a finished output folder"):
        gates_to_run(site, 5)
    site.out = tmp_path / "none"
    with pytest.raises(SettingsError, match="no run was started"):
        gates_to_run(site, 5)
    site.out = finished_out(tmp_path / "out", 0).path
    assert looked_at(site)["videos done"].status == "failed"


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 9), st.booleans())))
def test_the_peak_of_scratch_is_what_lay_there_at_a_time(
    steps: list[tuple[int, int, int, bool]],
) -> None:
    """Against files in a dictionary: written, written again, and swept with their video."""
    entries: list[Entry] = []
    files: dict[tuple[str, int], int] = {}
    peak = 0
    for video, segment, size, done in steps:
        if done:
            entries.append(VideoDone(str(video), "s", ()))
            files = {key: held for key, held in files.items() if key[0] != str(video)}
        else:
            result = SegmentResult(("a",), 1)
            entries.append(SegmentCommitted(str(video), "s", segment, 0, 1, result, (size,)))
            files[str(video), segment] = size
        peak = max(peak, sum(files.values()))
    assert peak_scratch_bytes(entries) == peak


def test_finished_outs_hold_two_segments_at_a_time(tmp_path: Path) -> None:
    from orchestrator.out.journal import read_entries

    entries = read_entries(finished_out(tmp_path / "out").journal)
    assert peak_scratch_bytes(entries) == 2 * SEGMENT_BYTES


# -- the real run --------------------------------------------------------------------------------


def test_a_run_is_judged_by_how_it_ends(tmp_path: Path) -> None:
    asked = RunAsked(tmp_path / "none", tmp_path / "out", "none")
    end = real_run(asked)
    assert (end.status, end.samples) == (2, ())
    assert end.said.startswith("error: ")
    assert str(tmp_path / "none") in end.said
    assert real_run(asked, deadline_s=0.01).status is None


# -- one gate after the other --------------------------------------------------------------------


def test_a_gate_that_fails_keeps_the_rest_closed(
    site: Site, machine: Machine, run: RunDouble
) -> None:
    machine.answer = answer_to(DecodeTrial, "av1-10", HUNG)
    shown = list(pass_gates(site, [2, 3, 4]))
    assert failed_gate(shown) == 2
    assert {result.gate for result in shown} == {2}
    assert len(shown) > 10  # the rest of that gate was looked at
    assert run.asked == []
    assert verdict(shown, [2, 3, 4]).endswith("; gates 3 to 4 not tried")
    assert verdict(shown, [1, 2]).startswith("gate 2 failed (")


@pytest.mark.parametrize("width", [80, 200])
def test_no_line_is_wider_than_the_terminal(site: Site, machine: Machine, width: int) -> None:
    machine.with_gpu().answer = answer_to(FormatTrial, "name='tiff'", Tried("failed", "so " * 60))
    stream = io.StringIO()
    shown = pass_gates(renewed(site, machine), [1, 2, 3, 4])
    found = show_results(Console(file=stream, width=width), shown)
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    told = "".join("".join(lines).split())
    for result in found:  # nothing is cut off
        if len(result.name) <= 26:
            assert "".join(result.name.split()) in told
        assert result.status in told
    assert "so" * 20 in told


def test_a_gate_of_which_all_is_skipped_is_not_passed() -> None:
    skipped = [CheckResult(1, "a", "skipped", "no GPU")]
    assert failed_gate(skipped) is None
    from orchestrator.gates.record import gate_status

    assert gate_status(skipped, 1) == "not run"


def test_an_error_that_nobody_foresaw_is_not_a_failed_check() -> None:
    def broken() -> str:
        raise RuntimeError("a mistake of ours")

    with pytest.raises(RuntimeError):
        list(results([Check(1, "x", broken)]))


def using(*names: str, options: tuple[ModelOptions, ...] = ()) -> list[MattingSettings]:
    return [MattingSettings(model=name, options=options) for name in names]


def passed(site: Site) -> dict[str, Any]:
    return keep_results(site, list(pass_gates(site, [1, 2, 3, 4])), NOW)[0]


def test_gated_runs_start_only_where_the_gates_were_passed(site: Site, machine: Machine) -> None:
    around = site.around
    with pytest.raises(MachineError, match="not been passed on this machine") as refused:
        require_gates(around, using("chroma"))
    assert refused.value.advice == "run `vrmatte gates --through 4`"
    record = passed(site)
    assert record["gates"]["4"] == {"status": "passed", "at": "2026-11-21T00:00:00+00:00"}
    require_gates(around, using("chroma", "depth"))
    with pytest.raises(MachineError, match="without the model rvm") as refused:
        require_gates(around, using("chroma", "rvm"))
    assert "--model rvm" in refused.value.advice
    machine.driver = Driver("590.10", (13, 2))
    with pytest.raises(MachineError, match="not been passed"):
        require_gates(machine.around(), using("chroma"))
    machine.driver = None
    machine.gpus = (L4,)
    with pytest.raises(MachineError, match="not been passed"):
        require_gates(machine.around(), using("chroma"))


def test_other_weights_must_pass_anew(site: Site, machine: Machine) -> None:
    finer = (RvmOptions(variant="resnet50"),)
    machine.answer = answer_to(WeightsTrial, "", Tried("works"))  # all of them are here
    assert passed(site)["models"] == ["chroma", "depth", "plate", "rvm", "sam2", "sam2+rvm"]
    require_gates(site.around, using("rvm", "sam2", "sam2+rvm"))
    require_gates(site.around, using("chroma", options=finer))
    with pytest.raises(MachineError, match="with other weights of rvm") as refused:
        require_gates(site.around, using("rvm", options=finer))
    assert "--config FILE" in refused.value.advice
    with pytest.raises(MachineError, match="with other weights of sam2"):
        require_gates(site.around, using("sam2", options=(Sam2Options(checkpoint="mine.pt"),)))


def test_another_version_must_pass_anew(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    passed(site)
    monkeypatch.setattr("orchestrator.doctor.cache._code_digest", lambda: "changed")
    with pytest.raises(MachineError, match="not been passed"):
        require_gates(site.around, using("chroma"))


def test_three_gates_are_not_enough_and_a_failure_revokes(site: Site, machine: Machine) -> None:
    who = site.around.identity()
    keep_results(site, list(pass_gates(site, [1, 2, 3])), NOW)
    with pytest.raises(MachineError):
        require_gates(site.around, using("chroma"))
    keep_results(site, list(pass_gates(site, [4])), NOW)
    require_gates(site.around, using("chroma"))
    keep_results(site, list(pass_gates(site, [1])), NOW)  # again, alone: the others still hold
    require_gates(site.around, using("chroma"))
    machine.answer = answer_to(DecodeTrial, "av1-10", HUNG)
    record, _ = keep_results(site, list(pass_gates(replace(site, fresh=True), [1, 2])), NOW)
    assert [record["gates"][str(gate)]["status"] for gate in (1, 2, 4)] == [
        *("failed", "not run", "not run")
    ]
    assert passed_earlier(read_gates(machine.cache, who)) is None


def test_the_fifth_gate_spares_the_others_where_they_were_passed(
    site: Site, tmp_path: Path
) -> None:
    site.out = finished_out(tmp_path / "out").path
    assert gates_to_run(site, 5) == ([1, 2, 3, 4, 5], None)
    passed(site)
    assert gates_to_run(site, 5) == ([5], "2026-11-21T00:00:00+00:00")
    site.fresh = True
    assert gates_to_run(site, 5)[0] == [1, 2, 3, 4, 5]
    assert gates_to_run(site, 4)[0] == [1, 2, 3, 4]


def test_a_damaged_record_is_no_pass(site: Site, machine: Machine) -> None:
    passed(site)
    who = site.around.identity()
    from orchestrator.gates.record import record_file

    path = record_file(machine.cache, who)
    path.write_text(path.read_text().replace('"passed"', '"perhaps"'))
    with pytest.raises(MachineError):
        require_gates(site.around, using("chroma"))


# -- as typed ------------------------------------------------------------------------------------

Typed = Callable[..., tuple[int, str, str]]


@pytest.fixture
def typed(machine: Machine, run: RunDouble, monkeypatch: pytest.MonkeyPatch) -> Typed:
    monkeypatch.setattr(orchestrator.doctor.doctor, "here", lambda on_step=None: machine.around())
    doubled = partial(Site, run=run, make_clips=make_clips)
    monkeypatch.setattr(orchestrator.gates.site, "Site", doubled)

    def run_command(*words: str) -> tuple[int, str, str]:
        done = CliRunner().invoke(main, words, prog_name="vrmatte")
        return done.exit_code, done.stdout, done.stderr

    return run_command


def test_run_gated_refuses_in_one_line(
    typed: Typed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    began: list[object] = []

    def run(*request: object) -> int:
        began.append(request)
        return 0

    monkeypatch.setattr(orchestrator.run.run, "run", run)
    line = ("run", str(tmp_path), "-o", str(tmp_path / "out"), "--model", "chroma", "--gated")
    status, said, complaint = typed(*line)
    assert (status, said, began) == (3, "", [])
    assert complaint.splitlines() == [
        "error: --gated: the gates have not been passed on this machine with this version",
        "run `vrmatte gates --through 4`",
    ]
    assert typed("gates")[0] == 0
    assert typed(*line)[0] == 0
    assert len(began) == 1
    assert typed(*line[:4], "--gated", "--dry-run")[0] == 0
    status, _, complaint = typed(*line[:4], "--gated")  # rvm
    assert (status, "without the model rvm" in complaint) == (3, True)
    config = tmp_path / "settings.yaml"
    config.write_text("overrides: [{match: '*green*', model: rvm}]\n")
    status, _, complaint = typed(*line, "--config", str(config))
    assert (status, "without the model rvm" in complaint) == (0, False)  # --model overrides it
    status, _, complaint = typed(*line[:4], "--gated", "--config", str(config))
    assert (status, "without the model rvm" in complaint) == (3, True)
    assert len(began) == 3


def test_gates_as_typed(typed: Typed, machine: Machine, tmp_path: Path) -> None:
    status, said, _ = typed("gates", "--through", "4")
    assert status == 0
    assert "gates 1 to 4 passed (" in said
    assert "`vrmatte run --gated` takes: chroma, plate, depth" in said
    out = finished_out(tmp_path / "out", 4, failed=[1]).path
    status, said, _ = typed("gates", "--through", "5", "--out", str(out))
    assert status == 3
    assert "gates 1 to 4 passed here" in said
    assert "gate 5 failed" in said
    status, said, _ = typed("gates", "--through", "1", "--json")
    record = json.loads(said)
    assert (status, record["schema"], record["gates"]["1"]["status"]) == (0, 1, "passed")
    assert record["results"][0].keys() == {"gate", "name", "status", "said", "advice", "seconds"}
    machine.answer = answer_to(ModelTrial, "model='depth'", Tried("failed", "no such kernel"))
    status, said, _ = typed("gates", "--through", "4", "--fresh")
    assert status == 3
    assert "gate 2 failed (" in said
    assert "; gates 3 to 4 not tried" in said
    assert typed("gates", "--through", "5")[0] == 2
    machine.cache = tmp_path / "file"
    machine.cache.touch()
    status, _, complaint = typed("gates", "--through", "1")
    assert (status, "cannot be kept" in complaint) == (0, True)
    assert all(good(device, trial).outcome == "works" for device, trial in machine.tried)
