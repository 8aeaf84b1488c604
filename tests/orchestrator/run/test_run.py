"""The way of a job with its neighbours doubled: what is refused, kept, resumed and reported."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from orchestrator.backends.base import Backend
from orchestrator.estimate.model_trial import ModelTrial, Tried
from orchestrator.estimate.trial import Stage, StageRequest, Stages
from orchestrator.fleet.events_actions import Rules, WorkerSpec
from orchestrator.fleet.jobs import VideoJob
from orchestrator.fleet.journal_entries import RunEnded, RunStarted, SegmentCommitted, VideoDone
from orchestrator.fleet.snapshot import Snapshot, VideoState
from orchestrator.machine.devices import Gpu
from orchestrator.out.folder import OutFolder
from orchestrator.out.journal import Journal, measure
from orchestrator.report.run_page import NoPage
from orchestrator.run.request import Request, Surroundings
from orchestrator.run.run import run
from orchestrator.run.supervisor import Outcome
from orchestrator.settings.settings import Settings, load_settings
from orchestrator.watch.status import show_status
from pipeline.contract import MattingSettings, OutputFile, SegmentResult
from pipeline.errors import ErrorRecord, MachineError, SettingsError
from tests.nvenc import NO_NVENC, Ways, no_way
from tests.orchestrator.snapshots import ProbeDouble, snapshot, video, worker


@dataclass
class SupervisorDouble:
    """Finishes videos, fails those named in `fail`, and stops before those named in `leave`."""

    fail: tuple[str, ...] = ()
    leave: tuple[str, ...] = ()
    worked_on: list[str] = field(default_factory=list)
    workers: Sequence[WorkerSpec] = ()
    rules: Rules | None = None
    trouble: ErrorRecord | None = None

    def __call__(
        self,
        jobs: Sequence[VideoJob],
        backend: Backend,
        workers: Sequence[WorkerSpec],
        journal: Journal,
        *,
        rules: Rules | None,
        on_change: Callable[[Snapshot], None],
        disk_trouble: Callable[[], ErrorRecord | None],
        arrivals: object = None,
        further: object = None,
    ) -> Outcome:
        self.workers, self.rules = workers, rules
        self.trouble = disk_trouble()
        journal.append(RunStarted(len(jobs), len(workers)))
        states = tuple(self._work(job, journal) for job in jobs)
        last = snapshot(9, states, worker(), stopping=bool(self.leave))
        on_change(last)
        journal.append(RunEnded(len(jobs), 0, bool(self.leave)))
        return Outcome(last, bool(self.leave))

    def _work(self, job: VideoJob, journal: Journal) -> VideoState:
        state = video(job.name, id=job.id)
        published = journal.published(job)
        if published is not None:
            return replace(state, status="done", earlier=True, outputs=published)
        if job.name in self.fail:
            return replace(state, status="failed", error=ErrorRecord("decode", "is damaged"))
        self.worked_on.append(job.name)
        segment = Path(job.work_dir) / "seg-000000.webm"
        segment.parent.mkdir(parents=True, exist_ok=True)
        segment.write_bytes(b"segment")
        begin, end = job.segments[0]
        result = SegmentResult((segment.name,), end - begin)
        settings = job.settings.fingerprint()
        journal.append(SegmentCommitted(job.id, settings, 0, begin, end, result, (7,)))
        if job.name in self.leave:
            return replace(state, status="running", frames_done=100, started_at=1.0)
        for path in map(Path, job.outputs):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"webm")
        pairs = zip(job.settings.deliverables, job.outputs, strict=True)
        outputs = tuple(OutputFile(name, path, 4, job.num_frames) for name, path in pairs)
        journal.append(VideoDone(job.id, settings, outputs))
        return replace(state, status="done", outputs=outputs, started_at=1.0, ended_at=4.0)


@dataclass
class Place:
    """Two sources, an OUT, and everything that a run says."""

    folder: Path
    out: Path
    probe: ProbeDouble = field(default_factory=ProbeDouble)
    fetched: list[str] = field(default_factory=list)
    answers: io.StringIO = field(default_factory=io.StringIO)
    told: io.StringIO = field(default_factory=io.StringIO)
    gpus: tuple[Gpu, ...] = ()
    nvenc: Ways = field(default_factory=no_way)
    network_ms: float = 10.0
    trials: list[StageRequest] = field(default_factory=list)
    suited: str = "rvm"
    models_tried: list[str] = field(default_factory=list)

    def run(
        self,
        supervise: SupervisorDouble | None = None,
        *,
        fresh: bool = False,
        dry_run: bool = False,
        settings: Settings | None = None,
        **groups: dict[str, object],
    ) -> int:
        groups["matting"] = {"model": "rvm"} | groups.get("matting", {})
        settings = settings or load_settings(None, groups)
        around = Surroundings(
            answers=Console(file=self.answers, width=100),
            progress=Console(file=self.told, width=100),
            fetch_model=self.fetch,
            supervise=supervise or SupervisorDouble(),
            probe=self.probe,
            gpus=lambda: list(self.gpus),
            nvenc=lambda devices: self.nvenc,
            stages=self.stages,
            try_models=self.try_models,
            page=NoPage,
        )
        return run(Request((self.folder,), self.out, settings, fresh, dry_run), around)

    def fetch(self, matting: MattingSettings) -> None:
        self.fetched.append(matting.model)

    def try_models(self, trial: ModelTrial, device: int | str) -> list[Tried]:
        """Nothing but `suited` suits."""
        self.models_tried.append(Path(trial.info.path).name)
        names = [each.matting.model for each in trial.candidates]
        return [Tried(name == self.suited, f"as {name} would be") for name in names]

    def stages(self, request: StageRequest, device: int | str) -> Stages:
        """Like the real one: the network takes `network_ms`, all else 10 ms, of one core."""
        self.trials.append(request)
        found = (Stage("decode", 1, 0.01, 0.01), Stage("matting", 1, 1.0, self.network_ms / 1000))
        return Stages(str(device), "CPU", 1, 24, 1.0, 1.0, 0.0, found)

    def report(self) -> dict[str, object]:
        read: dict[str, object] = json.loads((self.out / "report.json").read_text())
        return read

    def status(self) -> str:
        stream = io.StringIO()
        show_status(self.out, Console(file=stream, width=100))
        return stream.getvalue()

    def work(self) -> list[Path]:
        return [path for path in (self.out / ".vrmatte/work").rglob("*") if path.is_file()]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.mp4").write_bytes(b"a")
    (folder / "sub" / "b.mp4").write_bytes(b"b")
    return Place(folder, tmp_path / "out")


def test_a_run_from_start_to_end(place: Place) -> None:
    supervise = SupervisorDouble()
    assert place.run(supervise) == 0
    assert supervise.worked_on == ["a.mp4", "sub/b.mp4"]
    assert place.fetched == ["rvm"]
    assert (place.out / "sub/b_LR_180_matte.webm").read_bytes() == b"webm"
    said = place.answers.getvalue()
    assert str(place.out / "sub/b_LR_180_matte.webm") in said.splitlines()
    assert f"report: {place.out / 'report.json'}" in said.splitlines()
    assert "no GPU found: 1 worker on the CPU" in place.told.getvalue()
    assert [v["result"] for v in place.report()["videos"]] == ["done", "done"]  # type: ignore[attr-defined]


def test_the_work_folder_of_a_video_that_is_done_is_gone(place: Place) -> None:
    place.run(SupervisorDouble(leave=("sub/b.mp4",)))
    assert {path.name for path in place.work()} == {"index.json", "seg-000000.webm"}
    place.run()
    assert place.work() == []


def test_a_second_run_goes_on_where_the_first_stopped(place: Place) -> None:
    assert place.run(SupervisorDouble(leave=("sub/b.mp4",))) == 130
    assert "the same command resumes the run" in place.answers.getvalue()
    again = SupervisorDouble()
    assert place.run(again) == 0
    assert again.worked_on == ["sub/b.mp4"]
    assert len(place.probe.probed) == 2
    assert [v["result"] for v in place.report()["videos"]] == ["done earlier", "done"]  # type: ignore[attr-defined]


def test_a_run_that_is_done_needs_neither_model_nor_probe(place: Place) -> None:
    place.run()
    place.fetched.clear()
    place.probe.probed.clear()
    supervise = SupervisorDouble()
    assert place.run(supervise) == 0
    assert (supervise.worked_on, place.fetched, place.probe.probed) == ([], [], [])


def test_fresh_forgets_the_journal_and_the_work_but_nothing_foreign(place: Place) -> None:
    place.run(SupervisorDouble(leave=("sub/b.mp4",)))
    foreign = place.out / ".vrmatte/work/notes.txt"
    foreign.write_text("mine")
    (place.out / "mine.txt").write_text("mine")
    again = SupervisorDouble()
    assert place.run(again, fresh=True) == 0
    assert again.worked_on == ["a.mp4", "sub/b.mp4"]
    assert foreign.exists()
    assert (place.out / "mine.txt").exists()
    assert (place.folder / "a.mp4").read_bytes() == b"a"


def test_an_unfinished_run_is_refused_where_resuming_is_off(place: Place) -> None:
    off: dict[str, object] = {"auto_resume": False}
    assert place.run(recovery=off) == 0
    assert place.run(recovery=off) == 0
    place.run(SupervisorDouble(leave=("a.mp4",)), fresh=True)
    with pytest.raises(SettingsError, match="holds an unfinished run"):
        place.run(recovery=off)
    assert place.run(recovery=off, fresh=True) == 0


def test_a_dry_run_shows_the_plan_and_works_on_nothing(place: Place) -> None:
    supervise = SupervisorDouble()
    assert place.run(supervise, dry_run=True) == 0
    assert supervise.worked_on == []
    assert place.fetched == []
    assert "a_LR_180_matte.webm" in place.answers.getvalue()
    assert not (place.out / "report.json").exists()
    place.run(supervise)
    assert len(place.probe.probed) == 2  # what the dry run learnt was kept


@pytest.mark.parametrize("dry_run", [True, False])
def test_prompts_beside_a_video_whose_model_follows_none_are_told(
    place: Place, dry_run: bool
) -> None:
    (place.folder / "a.prompts.yaml").write_text("objects: []\n")
    place.run(dry_run=dry_run)
    told = " ".join(place.told.getvalue().split())
    note = "a.prompts.yaml is not used: the model rvm follows no prompts (models that do: sam2,"
    assert f"a.mp4: {note}" in told
    if not dry_run:
        assert note in str(place.report()["videos"])
    assert told.count("is not used") == 1, "and nothing of the other video"


def test_a_dry_run_ends_with_what_will_fail(place: Place) -> None:
    place.probe.broken = ("a.mp4",)
    assert place.run(dry_run=True) == 1
    assert place.answers.getvalue().splitlines()[-1] == "1 of 2 will fail: a.mp4"
    assert "time  about" in place.answers.getvalue()


def test_a_dry_run_of_which_every_trial_fails(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(request: StageRequest, device: int | str) -> Stages:
        raise MachineError("no weights", "fetch them")

    monkeypatch.setattr(place, "stages", fails)
    assert place.run(dry_run=True) == 1
    said = place.answers.getvalue()
    assert said.splitlines()[-1] == "2 of 2 will fail: a.mp4, sub/b.mp4"
    assert said.count("  will fail: no weights (fetch them)") == 2
    assert "time  " not in said


def test_a_broken_file_costs_only_itself(place: Place) -> None:
    place.probe.broken = ("a.mp4",)
    assert place.run() == 1
    assert (place.out / "sub/b_LR_180_matte.webm").exists()
    assert "a.mp4: set aside: " in place.answers.getvalue()


def test_only_broken_files(place: Place) -> None:
    place.probe.broken = ("a.mp4", "b.mp4")
    assert place.run() == 1
    assert place.fetched == []


def test_a_failed_video(place: Place) -> None:
    assert place.run(SupervisorDouble(fail=("a.mp4",))) == 1
    assert "a.mp4: failed: is damaged" in place.answers.getvalue()


def test_settings_reach_the_fleet(place: Place) -> None:
    place.gpus = (Gpu(0, "GPU-a", "NVIDIA L4", 24 << 30), Gpu(1, "GPU-b", "NVIDIA L4", 24 << 30))
    supervise = SupervisorDouble()
    place.run(
        supervise,
        streaming={"lanes": 3},
        limits={
            "stall_s": 7.0,
            "start_s": 8.0,
            "finish_s": 9.0,
            "grace_s": 10.0,
            "join_s": 11.0,
            "scratch_gb": 2.0,
        },
        recovery={"attempts": 2},
    )
    # No worker can join a run on one machine.
    assert supervise.rules == Rules(
        attempts=2, stall_s=7, start_s=8, finish_s=9, grace_s=10, scratch_bytes=2 * 10**9
    )
    assert [(spec.id, spec.lanes) for spec in supervise.workers] == [(0, 3), (1, 3)]
    assert "GPU 0: NVIDIA L4, GPU 1: NVIDIA L4, 3 lanes each" in place.told.getvalue()


def test_a_run_on_a_gpu_without_nvenc_says_so_and_what_it_costs(place: Place) -> None:
    """As a note on each video, and once as a warning; where NVENC works nothing is said."""
    place.gpus = (Gpu(0, "GPU-a", "NVIDIA A100-SXM4-80GB", 80 << 30),)
    green: dict[str, object] = {"formats": ["greenscreen"]}
    place.run(output=green)
    told = place.told.getvalue()
    assert "x265 encodes on the CPU: NVENC does not encode hevc pictures of " in told
    assert NO_NVENC in told
    assert told.count("warning: no NVENC for 2 videos: x265 encodes on the CPU, about") == 1
    report = (place.out / "report.json").read_text()
    assert NO_NVENC in report


def test_where_nvenc_works_or_nobody_has_a_gpu_nothing_is_said_of_it(place: Place) -> None:
    green: dict[str, object] = {"formats": ["greenscreen"]}
    place.run(output=green)
    place.gpus = (Gpu(0, "GPU-a", "NVIDIA GeForce RTX 4090", 24 << 30),)
    place.nvenc = Ways()
    place.run(output=green, streaming={"lanes": 20})
    told = place.told.getvalue()
    assert "NVENC does not" not in told
    assert "warning" not in told
    assert "8 lanes each (20 as asked, but GeForce: 8 NVENC sessions" in told


def test_nvenc_that_is_insisted_on_is_refused_in_one_line(place: Place) -> None:
    place.gpus = (Gpu(0, "GPU-a", "NVIDIA A100-SXM4-80GB", 80 << 30),)
    place.nvenc = Ways("a", "b", "c")
    wanted: dict[str, object] = {"encoder": "nvenc"}
    assert place.run(output={"formats": ["greenscreen"]}, encoding=wanted) == 1
    told = place.told.getvalue()
    line = next(line for line in told.splitlines() if "set aside" in line)
    for reason in ("memory: a;", "libraries, by a pipe: b;", "ffmpeg, by a pipe: c"):
        assert reason in line


def test_two_runs_never_share_a_folder(place: Place) -> None:
    place.run(dry_run=True)
    out = OutFolder(place.out)
    with out.locked():
        assert out.in_use()
        with pytest.raises(SettingsError, match=rf"another run \(process {os.getpid()}\)"):
            place.run()
        assert "a run is going on" not in place.told.getvalue()
    assert not out.in_use()
    assert place.run() == 0


def test_a_folder_that_cannot_be_written(place: Place) -> None:
    place.out.write_text("a file")
    with pytest.raises(SettingsError, match="cannot write to the output folder"):
        place.run()


def test_an_error_leaves_its_traceback_in_the_log_only(place: Place) -> None:
    def no_network(matting: MattingSettings) -> None:
        raise MachineError("RVM's weights cannot be fetched", "run `vrmatte models fetch`")

    place.fetch = no_network  # type: ignore[method-assign]
    with pytest.raises(MachineError):
        place.run()
    log = (place.out / ".vrmatte/logs/orchestrator.jsonl").read_text()
    [line] = [json.loads(line) for line in log.splitlines() if "run_failed" in line]
    assert "Traceback" in line["exception"]
    assert "Traceback" not in place.told.getvalue() + place.answers.getvalue()


@pytest.mark.parametrize("layout", ["mono", "sbs"])
@pytest.mark.parametrize(
    ("model", "place_of_others"),
    [
        ("rvm", "fetch nothing: "),
        ("sam2", "fetch nothing, instead of it or as matting.sam2_seed: "),
        ("sam2+rvm", " as matting.sam2_seed and matting.sam2_edge: "),
    ],
)
def test_where_a_model_cannot_be_had_those_are_named_that_the_video_has_eyes_for(
    place: Place, layout: str, model: str, place_of_others: str
) -> None:
    def no_network(matting: MattingSettings) -> None:
        raise MachineError("the weights cannot be fetched", "run `vrmatte models fetch`")

    place.fetch = no_network  # type: ignore[method-assign]
    with pytest.raises(MachineError, match="the weights cannot be fetched") as caught:
        place.run(matting={"model": model}, input={"layout": layout})
    advice = caught.value.advice
    assert advice.startswith("run `vrmatte models fetch`; models that fetch nothing")
    assert f"{place_of_others}chroma (green or blue screen), plate (tripod shots" in advice
    assert ("depth" in advice) == (layout == "sbs")


def test_what_a_run_was_is_recorded(place: Place) -> None:
    place.run(matting={"model": "depth"}, input={"start_frame": 30}, encoding={"quality": "best"})
    record = yaml.safe_load((place.out / ".vrmatte/run.yaml").read_text())
    assert record["inputs"] == [str(place.folder)]
    assert record["settings"]["matting"]["model"] == "depth"
    assert record["settings"]["input"]["start_frame"] == 30
    assert record["settings"]["encoding"]["quality"] == "best"
    assert record["settings"]["encoding"]["vp9_crf"] == 24
    assert [entry["name"] for entry in record["videos"]] == ["a.mp4", "sub/b.mp4"]
    assert record["videos"][0]["segments"] == [[30, 120], [120, 240]]


def test_the_networks_size_is_chosen_once_and_kept_until_fresh(place: Place) -> None:
    adaptive: dict[str, object] = {"adaptive_scaling": {"target_gpu_usage": 0.5, "max_scale": 0.8}}

    def chosen() -> set[float]:
        record = yaml.safe_load((place.out / ".vrmatte/run.yaml").read_text())
        return {video["scale_factor"] for video in record["videos"]}

    assert place.run(SupervisorDouble(leave=("a.mp4",)), processing=adaptive) == 130
    assert len(place.trials) == 1
    assert chosen() == {0.8}
    place.network_ms = 1000  # a slower machine
    double = SupervisorDouble()
    assert place.run(double, processing=adaptive) == 0
    assert double.worked_on == ["a.mp4"]
    assert len(place.trials) == 1
    assert chosen() == {0.8}
    assert place.run(processing=adaptive, fresh=True) == 0
    assert chosen() == {0.125}


def test_status_tells_what_is_done_and_what_remains(place: Place) -> None:
    with pytest.raises(SettingsError, match="no run was started"):
        place.status()
    place.run(SupervisorDouble(leave=("sub/b.mp4",)), streaming={"segment_frames": 60})
    shown = place.status()
    [done] = [line for line in shown.splitlines() if "a.mp4" in line]
    assert done.split() == ["a.mp4", "done", "4", "of", "4", "240", "of", "240"]
    [begun] = [line for line in shown.splitlines() if "b.mp4" in line]
    assert begun.split() == ["sub/b.mp4", "begun", "1", "of", "4", "60", "of", "240"]
    assert "1 of 2 videos done" in shown
    assert "no run is going on" in shown
    (place.out / "a_LR_180_matte.webm").unlink()
    assert "output is gone" in place.status()


def test_status_changes_nothing(place: Place) -> None:
    place.run()
    journal = place.out / ".vrmatte/journal.jsonl"
    with journal.open("ab") as file:
        file.write(b'{"v":1,"cut off')
    before = journal.read_bytes()
    place.status()
    assert journal.read_bytes() == before
    assert measure((str(journal),)) == (len(before),)


def test_the_segments_of_a_file_that_was_replaced_are_dropped(place: Place) -> None:
    place.run(SupervisorDouble(leave=("a.mp4", "sub/b.mp4")))
    before = {path.parent.parent.name for path in place.work() if path.suffix == ".webm"}
    (place.folder / "a.mp4").write_bytes(b"another one")
    place.run(SupervisorDouble(leave=("a.mp4", "sub/b.mp4")), dry_run=True)
    assert {path.parent.parent.name for path in place.work() if path.suffix == ".webm"} == before
    place.run(SupervisorDouble(leave=("a.mp4", "sub/b.mp4")))
    after = {path.parent.parent.name for path in place.work() if path.suffix == ".webm"}
    assert len(before & after) == 1  # that of b.mp4
    assert len(after) == 2


def test_another_layout_of_the_same_file_drops_nothing(place: Place) -> None:
    place.run(SupervisorDouble(leave=("a.mp4", "sub/b.mp4")))
    before = set(place.work())
    place.run(SupervisorDouble(leave=("a.mp4", "sub/b.mp4")), input={"layout": "mono"})
    assert before <= set(place.work())
