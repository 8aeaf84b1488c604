"""Nothing in OUT is replaced but what this program made, and nothing is written outside of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.fleet.jobs import Plan, VideoJob
from orchestrator.fleet.journal_entries import SegmentCommitted, VideoDone
from orchestrator.out.ownership import Ownership
from orchestrator.plan.discover import discover
from orchestrator.plan.places import Places
from orchestrator.plan.planner import Planner
from pipeline.contract import OutputFile, SegmentResult
from pipeline.errors import SettingsError
from pipeline.files.publish import file_digest
from pipeline.files.receipts import leave_receipt
from tests.orchestrator.run.test_run import Place, SupervisorDouble, place
from tests.orchestrator.snapshots import ProbeDouble

__all__ = ["place"]

MakePlan = Callable[[Ownership], Plan]


@pytest.fixture
def make_plan(tmp_path: Path) -> MakePlan:
    folder, out = tmp_path / "in", tmp_path / "out"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.mp4", "sub/b.mp4"):
        (folder / name).write_bytes(name.encode())

    def make(ownership: Ownership) -> Plan:
        planner = Planner(Places(out, ownership), probe=ProbeDouble())
        return planner.plan(discover([folder], out))

    return make


def reasons(plan: Plan) -> dict[str, str]:
    return {aside.name: str(aside.error) for aside in plan.set_aside}


def committed(job: VideoJob) -> SegmentCommitted:
    result = SegmentResult(("webm-000000.webm",), 240)
    return SegmentCommitted(job.id, job.settings.fingerprint(), 0, 0, 240, result, (1,))


def test_a_file_that_nobody_here_made_is_not_replaced(make_plan: MakePlan, tmp_path: Path) -> None:
    (job, other) = make_plan(Ownership()).jobs
    output = Path(job.outputs[0])
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_bytes(b"mine")
    plan = make_plan(Ownership())
    assert [job.name for job in plan.jobs] == ["sub/b.mp4"]
    assert reasons(plan) == {
        "a.mp4": "a_LR_180_matte.webm exists and was not made by vrmatte"
        " (move it away, or let it be replaced with --fresh)"
    }
    assert output.read_bytes() == b"mine"
    output.unlink()
    output.symlink_to(tmp_path / "gone")
    assert reasons(make_plan(Ownership())).keys() == {"a.mp4"}
    # The line of a video that is done, a receipt or a person's word makes it ours.
    of_other = VideoDone(other.id, "", (OutputFile("webm", str(output), 4, 240),))
    assert not reasons(make_plan(Ownership.of([of_other])))
    assert not reasons(make_plan(Ownership.of([], [str(output)])))
    assert reasons(make_plan(Ownership.of([committed(job)]))).keys() == {"a.mp4"}


def test_what_a_worker_named_before_a_crash_is_ours_and_what_came_instead_is_not(
    make_plan: MakePlan,
) -> None:
    (job, _) = make_plan(Ownership()).jobs
    output = Path(job.outputs[0])
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_bytes(b"made here")
    Path(job.work_dir).mkdir(parents=True)
    leave_receipt(Path(job.work_dir), "webm", output, file_digest(output))
    assert make_plan(Ownership()).jobs[0].replaceable == (str(output),)
    output.write_bytes(b"made else")
    assert reasons(make_plan(Ownership())).keys() == {"a.mp4"}


@pytest.mark.parametrize("target", ["elsewhere", "gone"])
def test_a_link_out_of_the_output_folder_is_not_followed(
    target: str, make_plan: MakePlan, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/sub").symlink_to(tmp_path / target)
    plan = make_plan(Ownership())
    assert [job.name for job in plan.jobs] == ["a.mp4"]
    assert "sub leads out of the output folder by a link" in reasons(plan)["sub/b.mp4"]
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_link_inside_of_the_output_folder_is_no_harm(make_plan: MakePlan, tmp_path: Path) -> None:
    (tmp_path / "out/real").mkdir(parents=True)
    (tmp_path / "out/sub").symlink_to("real")
    assert len(make_plan(Ownership()).jobs) == 2


def test_what_is_in_the_way_is_named(make_plan: MakePlan, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "a_LR_180_matte.webm").mkdir(parents=True)
    (out / "sub").write_bytes(b"a file")
    said = reasons(make_plan(Ownership()))
    assert (
        said["a.mp4"] == "a_LR_180_matte.webm is a folder with the name of an output (move it away)"
    )
    assert said["sub/b.mp4"] == "sub is in the way of a folder of that name (move it away)"


def test_places_that_no_file_can_have_are_named_when_planning(
    make_plan: MakePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each costs its own video, and the work of the others is planned."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "sub").symlink_to("sub")
    said = reasons(make_plan(Ownership()))
    assert said == {"sub/b.mp4": "sub is in the way of a folder of that name (move it away)"}
    (out / "sub").unlink()
    (out / "sub").mkdir()
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != out / "sub" and access(path, mode))
    [reason] = reasons(make_plan(Ownership())).values()
    assert reason.startswith("no file can be made in the folder sub (")
    monkeypatch.undo()
    (out / "a_LR_180_matte.webm").symlink_to("a_LR_180_matte.webm")
    assert reasons(make_plan(Ownership())).keys() == {"a.mp4"}


def test_a_path_that_is_too_long_costs_its_own_video(tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "o"
    deep = folder
    while len(str(deep)) < 3700:
        deep /= "d" * 200
    # One step at a time: no call takes so long a path at once below here.
    deep.mkdir(parents=True)
    (deep / "b.mp4").write_bytes(b"b")
    (folder / "a.mp4").write_bytes(b"a")
    while len(str(out)) < 500:
        out /= "o" * 200
    sources = discover([folder], out)
    plan = Planner(Places(out, Ownership()), probe=ProbeDouble()).plan(sources)
    assert [job.name for job in plan.jobs] == ["a.mp4"]
    [reason] = reasons(plan).values()
    assert "cannot be written: File name too long" in reason


def test_a_file_in_the_place_of_a_work_folder_costs_its_own_video(
    make_plan: MakePlan, tmp_path: Path
) -> None:
    (job, _) = make_plan(Ownership()).jobs
    folder = Path(job.work_dir).parent
    shutil.rmtree(folder)
    folder.write_bytes(b"in the way")
    plan = make_plan(Ownership())
    assert [job.name for job in plan.jobs] == ["sub/b.mp4"]
    assert f"cannot write {folder}" in reasons(plan)["a.mp4"]


def test_a_work_folder_that_is_a_link_is_not_used(make_plan: MakePlan, tmp_path: Path) -> None:
    (job, _) = make_plan(Ownership()).jobs
    folder, elsewhere = Path(job.work_dir).parent, tmp_path / "elsewhere"
    folder.replace(elsewhere)
    folder.symlink_to(elsewhere)
    before = sorted(elsewhere.iterdir())
    assert "the work folder of a.mp4 is a link" in reasons(make_plan(Ownership()))["a.mp4"]
    assert sorted(elsewhere.iterdir()) == before


def test_a_log_that_is_a_link_is_not_written(place: Place, tmp_path: Path) -> None:
    logs = place.out / ".vrmatte/logs"
    logs.mkdir(parents=True)
    (logs / "orchestrator.jsonl").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SettingsError, match="is a symbolic link"):
        place.run()
    assert not (tmp_path / "elsewhere").exists()


def test_a_fresh_run_may_replace_and_so_may_the_one_that_goes_on(place: Place) -> None:
    place.run(dry_run=True)
    output = place.out / "sub/b_LR_180_matte.webm"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_bytes(b"mine")
    assert place.run(SupervisorDouble()) == 1
    assert output.read_bytes() == b"mine"
    name = "sub/b.mp4"
    stopped = SupervisorDouble(leave=("a.mp4", name))
    place.run(stopped, fresh=True)
    (place.out / ".vrmatte/journal.jsonl").write_bytes(b"")  # a crash before the first segment
    again = SupervisorDouble()
    assert place.run(again) == 0
    assert name in again.worked_on
    assert output.read_bytes() == b"webm"
    output.write_bytes(b"other")
    assert place.run(SupervisorDouble()) == 0
    assert output.read_bytes() == b"webm"
