"""The end of a run: report, table, exit status."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Literal

import pytest
from rich.console import Console

from orchestrator.exit_status import ALL_DONE, CANNOT, FAILED, STOPPED, USAGE
from orchestrator.fleet.jobs import Plan, SetAside, VideoJob
from orchestrator.fleet.snapshot import VideoState, WorkerState
from orchestrator.report.make_report import make_report
from orchestrator.report.report import SCHEMA_VERSION, Report, RunFacts, write_report
from orchestrator.report.summary_table import remarks, summary_table
from orchestrator.run.said import plan_remarks, run_ended
from pipeline.contract import Finding, MattingSettings, OutputFile, VideoSettings
from pipeline.errors import ErrorRecord
from pipeline.judge.findings import Areas, Judged, MatteFlag
from pipeline.judge.sums import MatteSums
from tests.orchestrator.snapshots import snapshot, video, video_info, worker

BEGIN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=1)))
FACTS = RunFacts("0.1.0", ("/in",), "/out", "f" * 16, BEGIN, BEGIN + timedelta(seconds=90))
BROKEN = SetAside("bad.mp4", "/in/bad.mp4", ErrorRecord("input", "holds no video", "leave it out"))


def job(state: VideoState) -> VideoJob:
    info = replace(video_info(Path(__file__)), notes=("odd size 639x480 is padded to 640x480",))
    segments = tuple((begin, begin + 60) for begin in range(0, 240, 60))
    outputs = (f"/out/{state.name}_matte.webm",)
    return VideoJob(state.id, state.name, info, VideoSettings(), outputs, segments, "i", "w")


def report(
    *states: VideoState,
    aside: tuple[SetAside, ...] = (),
    workers: tuple[WorkerState, ...] = (),
    stopping: bool = False,
    earlier: int = 0,
) -> Report:
    plan = Plan(tuple(job(state) for state in states), aside)
    first = snapshot(0, tuple(replace(state, frames_done=earlier) for state in states))
    return make_report(FACTS, plan, first, snapshot(100, states, *workers, stopping=stopping))


def done(id: str = "v0", name: str = "talk.mp4") -> VideoState:
    state = video(name, id=id, status="done", started_at=10, ended_at=30, frames_done=240)
    output = OutputFile("webm", f"/out/{name}_matte.webm", 1_234_567, 240)
    return replace(
        state,
        outputs=(output,),
        concealed_frames=3,
        decoders=("NVDEC", "CPU: not supported"),
        retries=2,
    )


def test_all_done() -> None:
    made = report(done(), worker_free := video("b", id="b", status="done", earlier=True))
    assert worker_free.earlier
    assert made.exit_status == ALL_DONE
    assert [entry.result for entry in made.videos] == ["done", "done earlier"]
    assert made.videos[0].seconds == 20
    assert made.videos[0].frames_per_second == 12
    assert made.videos[1].seconds is None


def test_what_is_made_and_not_joined_is_told_as_such() -> None:
    made = video("made.mp4", status="finishing", frames_done=240, segments_done=4, started_at=1)
    half = video("half.mp4", id="v1", status="running", frames_done=120, segments_done=2)
    told = list(remarks(report(made, half, stopping=True)))
    assert "made.mp4: all segments made; joining is left" in told
    assert not any(line.startswith("half.mp4: all") for line in told)


def test_a_resumed_video_is_not_praised_for_earlier_work() -> None:
    made = report(done(), earlier=180)
    assert made.videos[0].frames_per_second == 3
    assert made.videos[0].frames_earlier == 180
    assert "180 frames done by an earlier run" in made.videos[0].notes
    assert report(done(), earlier=240).videos[0].frames_per_second is None


def test_what_deserves_a_look_is_said_and_kept_with_its_times() -> None:
    flags = [MatteFlag("empty", 30, 59, None, 1.0), MatteFlag("jump", 120, 120, 1, 0.5)]
    judged = Judged(flags, 2, [Areas(0, 60, (0.1,) * 16)])
    made = report(replace(done(), findings=judged.findings(0, 60)))
    assert made.videos[0].notes[-1] == (
        "deserves a look: 0:01 matte empty, 0:04 matte jumps and 2 more"
    )
    assert [(f.start_s, f.end_s) for f in made.videos[0].flags] == [(1.001, 2.002), (4.004, 4.037)]
    assert made.videos[0].dropped_flags == 2
    assert made.videos[0].area == (0.1,) * 16 + (None,) * 48


def test_findings_of_an_unknown_stage_are_notes_of_the_video() -> None:
    """In `report.json` and the terminal, and so on the page, which shows the report's notes."""
    found = Finding("upscale", "tiled", 30, 30, detail="out of memory")
    made = report(replace(done(), findings=(found,), stage_seconds={"upscale": 3.0}, wall_s=4.0))
    note = "upscale: tiled at 0:01 (out of memory)"
    assert made.videos[0].notes[-1] == note
    assert f"talk.mp4: {note}" in remarks(made)
    assert made.videos[0].stages == {"upscale": 0.75}


@pytest.mark.parametrize(("model", "region", "told"), [
    ("rvm", "whole", True), ("rvm", "auto", False), ("chroma", "whole", False),
])  # fmt: skip
def test_it_is_said_where_no_boxes_were_used(
    model: str, region: Literal["auto", "whole"], told: bool
) -> None:
    one = job(done())
    matting = MattingSettings(model=model, region=region)
    one = replace(one, settings=replace(one.settings, matting=matting))
    made = make_report(FACTS, Plan((one,), ()), snapshot(0, (done(),)), snapshot(9, (done(),)))
    assert any("whole eye" in note for note in made.videos[0].notes) == told


def doubtful(earlier: bool = False) -> VideoState:
    """Done, with nothing in its matte, and the distance of something else."""
    judged = Judged(sums=MatteSums(frames=240, empty=240))
    distance = Finding("stereo", "distance", 0, 239, values=(2.0,))
    findings = (*judged.findings(0, 240), distance)
    return replace(done("v9", "void.mp4"), findings=findings, earlier=earlier)


@pytest.mark.parametrize("earlier", [False, True])
def test_a_useless_matte_is_doubtful_wherever_the_result_is_told(earlier: bool) -> None:
    made = report(done(), doubtful(earlier))
    assert made.exit_status == FAILED
    good, useless = made.videos
    assert (good.result, good.doubts) == ("done", ())
    assert useless.result == "doubtful"
    assert useless.outputs, "its files are there"
    assert useless.subject_depth_m is None
    [doubt] = useless.doubts
    assert doubt.seen == "no person was found in 240 of 240 frames"
    assert f"void.mp4: doubtful: {doubt}" in remarks(made)
    [row] = [line for line in shown(summary_table(made), 80) if "void.mp4" in line]
    assert "doubtful" in row
    told = run_ended(made, None)
    assert told["results"] == {"talk.mp4": "done", "void.mp4": "doubtful"}
    assert [each["kind"] for each in told["doubts"]["void.mp4"]] == ["nothing_found"]


def test_a_video_that_is_not_done_is_not_doubted_yet() -> None:
    running = replace(doubtful(), status="running", outputs=())
    made = report(running, stopping=True)
    assert (made.exit_status, made.videos[0].result) == (STOPPED, "not finished")
    assert made.videos[0].doubts == ()


def test_an_unfinished_video_shows_how_far_it_came() -> None:
    made = report(video("b.mp4", status="running", frames_done=60), stopping=True)
    [line] = [line for line in shown(summary_table(made), 80) if "b.mp4" in line]
    assert "60 of 240" in line


def test_every_remark_is_said() -> None:
    failed = video("b", id="b", status="failed", error=ErrorRecord("decode", "is damaged", ""))
    lost = worker(status="retired", error=ErrorRecord("device", "died", ""))
    assert list(remarks(report(done(), failed, aside=(BROKEN,), workers=(lost,)))) == [
        "talk.mp4: odd size 639x480 is padded to 640x480",
        "talk.mp4: 3 frames could not be decoded: a neighbour is shown",
        "talk.mp4: decoded on the CPU: not supported",
        "talk.mp4: 2 attempts lost and made again",
        "b: odd size 639x480 is padded to 640x480",
        "b: failed: is damaged",
        "bad.mp4: set aside: holds no video (leave it out)",
        "worker 0: given up: died",
    ]


def retired(kind: str) -> WorkerState:
    return worker(status="retired", error=ErrorRecord(kind, "no", ""))


def failed() -> VideoState:
    return video("b", id="b", status="failed", error=ErrorRecord("machine", "no worker", ""))


@pytest.mark.parametrize(
    ("made", "status"),
    [
        (report(done()), ALL_DONE),
        (report(done(), aside=(BROKEN,)), FAILED),
        (report(done(), failed()), FAILED),
        (report(aside=(BROKEN,)), FAILED),
        (report(done(), video(id="b"), stopping=True), STOPPED),
        (report(done(), stopping=True), ALL_DONE),
        (report(done(), failed(), stopping=True), FAILED),
        (report(failed(), workers=(retired("machine"),)), CANNOT),
        (report(failed(), workers=(retired("settings"),)), USAGE),
        (report(failed(), workers=(retired("device"),)), FAILED),
        (report(failed(), workers=(retired("machine"), worker(1))), FAILED),
        (report(done(), workers=(retired("machine"),)), ALL_DONE),
    ],
)
def test_exit_status(made: Report, status: int) -> None:
    assert made.exit_status == status


def test_the_report_is_whole_json_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_report(report(done(), aside=(BROKEN,), workers=(worker(),)), path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.json"]
    read = json.loads(path.read_text())
    assert read["schema_version"] == SCHEMA_VERSION
    assert read["exit_status"] == FAILED
    assert read["seconds"] == 90
    assert read["run"]["started_at"] == "2026-01-02T03:04:05+01:00"
    assert read["videos"][0]["outputs"][0]["size_bytes"] == 1_234_567
    assert read["videos"][1]["error"]["message"] == "holds no video"
    assert read["workers"][0]["device"] == "NVIDIA L4 (cuda:0)"


def shown(table: object, width: int) -> list[str]:
    stream = io.StringIO()
    Console(file=stream, width=width).print(table)
    return stream.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 200])
def test_the_tables_fit_and_names_are_no_markup(width: int) -> None:
    state = done(name="[red]talk_LR_180.mp4")
    lines = shown(summary_table(report(state, aside=(BROKEN,))), width)
    assert all(len(line) <= width for line in lines)
    assert any("[red]talk_LR_180.mp4" in line for line in lines)
    assert any("1.2 MB" in line and "12.0" in line and "0:20" in line for line in lines)
    narrow = shown(summary_table(report(state, aside=(BROKEN,)), 40), 40)
    assert all(len(line) <= 40 for line in narrow)
    assert any(all(word in line for word in ("done", "240", "1.2 MB")) for line in narrow)
    assert "[red]talk_LR_180.mp4" in "".join(line.split()[0] for line in narrow if line.split())
    plan = Plan((job(state),), (BROKEN,))
    assert list(plan_remarks(plan))[-1] == "bad.mp4: set aside: holds no video (leave it out)"
