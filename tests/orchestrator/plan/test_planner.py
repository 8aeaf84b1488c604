"""Planning: sources become jobs on a fixed grid of segments, or are set aside with a reason."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, Protocol

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.fleet.jobs import Plan, VideoJob
from orchestrator.plan.discover import discover
from orchestrator.plan.places import Places
from orchestrator.plan.planner import Planner, Probe, Wanted, segment_grid, source_id
from pipeline.contract import Layout, StreamingSettings, VideoInfo, VideoSettings, segment_frames
from pipeline.errors import DiskError
from pipeline.source.timing.frame_index import FrameIndex
from tests.orchestrator.snapshots import ProbeDouble, video_info


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a_LR_180.mp4", "sub/b.mkv", "c.mov"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / "in"


class Make(Protocol):
    def __call__(
        self,
        probe: Probe,
        settings: VideoSettings | None = None,
        layout: Layout | None = None,
        on_probed: Callable[[str], None] = ...,
        is_done: Callable[[VideoJob], bool] = ...,
    ) -> Plan: ...


@pytest.fixture
def make_plan(folder: Path) -> Make:
    out = folder.parent / "out"

    def make(
        probe: Probe,
        settings: VideoSettings | None = None,
        layout: Layout | None = None,
        on_probed: Callable[[str], None] = lambda name: None,
        is_done: Callable[[VideoJob], bool] = lambda job: False,
    ) -> Plan:
        planner = Planner(
            Places(out),
            wanted=lambda source: Wanted(settings or VideoSettings(), layout),
            probe=probe,
            is_done=is_done,
            on_probed=on_probed,
        )
        return planner.plan(discover([folder], out))

    return make


def test_jobs_keep_the_order_and_the_folders_of_their_sources(
    folder: Path, make_plan: Make
) -> None:
    told: list[str] = []
    plan = make_plan(ProbeDouble(), on_probed=told.append)
    out = folder.parent / "out"
    assert [job.name for job in plan.jobs] == ["a_LR_180.mp4", "c.mov", "sub/b.mkv"]
    assert [job.outputs for job in plan.jobs] == [
        (str(out / "a_LR_180_matte.webm"),),
        (str(out / "c_LR_180_matte.webm"),),
        (str(out / "sub/b_LR_180_matte.webm"),),
    ]
    assert sorted(told) == sorted(job.name for job in plan.jobs)
    for job in plan.jobs:
        work = out / ".vrmatte/work" / job.id
        assert Path(job.index_path) == work / "index.json"
        assert Path(job.work_dir).parent == work
        assert Path(job.work_dir).name == job.settings.fingerprint()


def test_a_broken_file_is_set_aside_and_costs_only_itself(make_plan: Make) -> None:
    plan = make_plan(ProbeDouble(broken=("c.mov",)))
    assert [job.name for job in plan.jobs] == ["a_LR_180.mp4", "sub/b.mkv"]
    [aside] = plan.set_aside
    assert aside.name == "c.mov"
    assert aside.error.kind == "input"
    assert aside.error.advice == "leave it out of the input"


def test_a_file_that_vanished_is_set_aside(folder: Path) -> None:
    out = folder.parent / "out"
    sources = discover([folder], out)
    (folder / "c.mov").unlink()
    plan = Planner(Places(out), probe=ProbeDouble()).plan(sources)
    assert [aside.name for aside in plan.set_aside] == ["c.mov"]
    assert plan.set_aside[0].error.message == "cannot read c.mov: No such file or directory"


def test_what_nobody_foresaw_is_not_hidden(make_plan: Make) -> None:
    def probe(path: Path, index_path: Path, **options: Any) -> VideoInfo:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        make_plan(probe)


def test_a_second_plan_probes_nothing_again(folder: Path, make_plan: Make) -> None:
    first, again = ProbeDouble(), ProbeDouble()
    plan = make_plan(first)
    assert len(first.probed) == 3
    assert make_plan(again) == plan
    assert again.probed == []


def test_a_video_that_is_done_needs_no_index(make_plan: Make) -> None:
    plan = make_plan(ProbeDouble())
    for job in plan.jobs:
        shutil.rmtree(Path(job.index_path).parent)
    probe = ProbeDouble()
    assert make_plan(probe, is_done=lambda job: job.name != "c.mov") == plan
    assert probe.probed == ["c.mov"]


def test_a_changed_file_is_another_video(folder: Path, make_plan: Make) -> None:
    before = make_plan(ProbeDouble())
    path = folder / "c.mov"
    status = path.stat()
    path.write_bytes(b"other")  # of the same length
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    probe = ProbeDouble()
    after = make_plan(probe)
    assert probe.probed == ["c.mov"]
    assert [job.id for job in before.jobs][1] != [job.id for job in after.jobs][1]


@pytest.mark.parametrize("damage", ["gone", "cut", "other"])
def test_an_index_that_is_not_the_video_s_is_made_anew(damage: str, make_plan: Make) -> None:
    plan = make_plan(ProbeDouble())
    path = Path(plan.jobs[0].index_path)
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        ProbeDouble(num_frames=7)(Path(plan.jobs[0].info.path), path, layout=None, deadline_s=None)
    probe = ProbeDouble()
    assert make_plan(probe) == plan
    assert probe.probed == ["a_LR_180.mp4"]
    FrameIndex.load(path)


@pytest.mark.parametrize("part", ["notes", "index"])
def test_notes_of_an_earlier_probe_that_are_damaged_anywhere_are_made_anew(
    part: str, folder: Path, make_plan: Make
) -> None:
    plan = make_plan(ProbeDouble())
    [kept] = (folder.parent / "out/.vrmatte/probed").glob(f"{plan.jobs[0].id}*")
    path = kept if part == "notes" else Path(plan.jobs[0].index_path)
    whole = path.read_bytes()
    random = Random(1)
    damaged = [whole[: len(whole) // 2], b"", whole + b"x", b"[" * 100_000]
    for _ in range(40):
        flipped = bytearray(whole)
        flipped[random.randrange(len(whole) - 1)] ^= 1 << random.randrange(8)
        damaged.append(bytes(flipped))
    for content in damaged:
        path.write_bytes(content)
        probe = ProbeDouble()
        assert make_plan(probe) == plan
        assert probe.probed == ["a_LR_180.mp4"], content
        assert path.read_bytes() == whole


@pytest.mark.parametrize("step", ["the folder", "the notes"])
def test_a_full_disk_is_no_fault_of_the_files(
    step: str, make_plan: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if step == "the folder":
        monkeypatch.setattr(os, "mkdir", full)
        with pytest.raises(DiskError, match="no room left"):
            make_plan(ProbeDouble())
        return

    class NoRoomAfterwards(ProbeDouble):
        def __call__(self, *arguments: Any, **options: Any) -> VideoInfo:
            info = super().__call__(*arguments, **options)
            monkeypatch.setattr(os, "fsync", full)
            return info

    with pytest.raises(DiskError, match="no room left"):
        make_plan(NoRoomAfterwards())


def test_another_layout_is_another_video(make_plan: Make) -> None:
    auto = make_plan(ProbeDouble())
    probe = ProbeDouble()
    forced = make_plan(probe, layout="tb")
    assert len(probe.probed) == 3
    assert {job.info.layout for job in forced.jobs} == {"tb"}
    assert not {job.id for job in auto.jobs} & {job.id for job in forced.jobs}


def test_the_range_is_cut_on_the_grid_of_the_whole_video(make_plan: Make) -> None:
    settings = VideoSettings(
        start_frame=100, max_frames=1100, streaming=StreamingSettings(segment_frames=600)
    )
    plan = make_plan(ProbeDouble(num_frames=5000), settings)
    assert plan.jobs[0].segments == ((100, 600), (600, 1200))
    assert plan.jobs[0].num_frames == 1100


def test_a_range_beyond_the_end_sets_the_video_aside(make_plan: Make) -> None:
    plan = make_plan(ProbeDouble(num_frames=240), VideoSettings(start_frame=240))
    assert not plan.jobs
    assert len(plan.set_aside) == 3
    assert "has 240 frames; the range begins at frame 240" in plan.set_aside[0].error.message


def test_a_range_longer_than_the_video_ends_with_it(make_plan: Make) -> None:
    plan = make_plan(ProbeDouble(num_frames=240), VideoSettings(start_frame=200, max_frames=999))
    assert plan.jobs[0].segments == ((200, 240),)


def test_a_path_that_is_not_utf8_is_probed_through_a_link(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    path = folder / os.fsdecode(b"caf\xe9_LR_180.mp4")
    path.write_bytes(b"x")
    out = tmp_path / "out"
    planner = Planner(Places(out), probe=ProbeDouble())
    [job] = planner.plan(discover([folder], out)).jobs
    job.info.path.encode()
    assert Path(job.info.path).samefile(path)
    assert Path(job.info.path).stem.endswith("_LR_180")
    assert Path(job.outputs[0]).name == "caf_LR_180_matte.webm"


def test_an_output_never_replaces_a_source(folder: Path, make_plan: Make) -> None:
    out = folder.parent / "out"
    out.mkdir()
    (out / "c_LR_180_matte.webm").hardlink_to(folder / "c.mov")
    plan = make_plan(ProbeDouble())
    assert [aside.name for aside in plan.set_aside] == ["c.mov"]
    assert "would replace the source" in plan.set_aside[0].error.message


def test_the_id_names_path_time_and_content(folder: Path) -> None:
    path = folder / "c.mov"
    first = source_id(path)
    assert len(first) == 16
    assert source_id(path) == first
    os.utime(path, ns=(0, 12345))
    assert source_id(path) != first


@given(st.integers(1, 5000))
def test_a_short_video_is_halved_where_nothing_is_said(num_frames: int) -> None:
    info = replace(video_info(Path(__file__)), num_frames=num_frames)
    step = segment_frames(info, StreamingSettings())
    segments = segment_grid(0, num_frames, step)
    assert step <= 600
    assert len(segments) >= 2 or num_frames < 200
    assert all(end - start >= 99 for start, end in segments[:-1])
    assert segment_frames(info, StreamingSettings(segment_frames=7)) == 7


@given(st.integers(0, 5000), st.integers(1, 5000), st.integers(1, 700))
def test_segments_cover_the_range_once_and_lie_on_the_grid(
    start: int, length: int, longest: int
) -> None:
    stop = start + length
    segments = segment_grid(start, stop, longest)
    assert segments[0][0] == start
    assert segments[-1][1] == stop
    for (_, end), (begin, _) in itertools.pairwise(segments):
        assert end == begin
        assert end % longest == 0
    assert all(0 < end - begin <= longest for begin, end in segments)
