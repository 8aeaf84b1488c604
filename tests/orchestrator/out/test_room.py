"""Room on the disk: estimates, what is refused for want of room, and the watch over OUT."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.fleet.jobs import Plan, VideoJob
from orchestrator.out.folder import OutFolder
from orchestrator.out.room import (
    DiskWatch,
    check_room,
    gigabytes,
    least_bytes,
    output_bytes,
    scratch_bytes,
    within_scratch,
)
from orchestrator.settings.groups import LimitSettings
from pipeline.contract import VideoInfo
from pipeline.deliverables.formats import FORMATS
from pipeline.errors import MachineError
from tests.mounts import small_disk
from tests.orchestrator.worlds import make_job

HOUR = 60 * 60 * 60  # frames


def video_of(
    width: int = 8192, height: int = 4096, frames: int = HOUR, size_bytes: int = 45 * 10**9
) -> VideoInfo:
    info = make_job().info
    return replace(
        info,
        width=width,
        height=height,
        num_frames=frames,
        source_frames=frames,
        size_bytes=size_bytes,
    )


def job_of(info: VideoInfo, name: str = "a") -> VideoJob:
    segments = ((0, info.num_frames),)
    scratch = scratch_bytes(info, info.num_frames)
    return replace(make_job(name), info=info, segments=segments, scratch_bytes=scratch)


@given(
    width=st.integers(2, 8192),
    height=st.integers(2, 8192),
    frames=st.integers(1, HOUR),
    asked=st.integers(1, HOUR),
    size=st.integers(1, 10**12),
    formats=st.lists(st.sampled_from([*FORMATS.built_in]), max_size=4, unique=True),
)
def test_source_output_and_scratch_are_planned_within_four_times_the_source(
    width: int, height: int, frames: int, asked: int, size: int, formats: list[str]
) -> None:
    """A transparent WebM, as measured; each further format takes its share on top."""
    info = video_of(width, height, frames, size)
    asked = min(asked, frames)
    output, scratch = output_bytes(info, asked), scratch_bytes(info, asked)
    assert size + output + scratch <= 4 * size + 2  # each is rounded
    assert output <= output_bytes(info, frames)
    several = ["webm", *(name for name in formats if name != "webm")]
    together = output_bytes(info, asked, several)
    assert together == pytest.approx(sum(output_bytes(info, asked, [n]) for n in several), abs=4)
    assert together >= output


def test_a_run_without_room_is_refused_in_one_line() -> None:
    job = job_of(video_of())
    check_room([job], 10**15, in_flight=2)
    with pytest.raises(MachineError) as caught:
        check_room([job], 10**8, in_flight=2)
    assert caught.value.message.startswith("no room: ")
    assert "\n" not in str(caught.value)


def test_scratch_counts_only_for_videos_in_flight_and_the_reserve_once() -> None:
    jobs = [job_of(video_of(), str(number)) for number in range(10)]
    least = least_bytes(jobs[0])
    check_room(jobs, 11 * least, in_flight=1)
    check_room(jobs, 12 * least + 5, in_flight=2, reserve_bytes=5)
    for free, in_flight, reserve in ((11 * least - 1, 1, 0), (12 * least + 4, 2, 5)):
        with pytest.raises(MachineError):
            check_room(jobs, free, in_flight, reserve)


def test_a_video_whose_scratch_alone_is_too_much_is_set_aside_with_advice() -> None:
    large, small = job_of(video_of(), "large"), job_of(video_of(1920, 960), "small")
    plan = within_scratch(Plan((large, small), ()), gigabytes(3), lambda job: False)
    assert plan.jobs == (small,)
    [aside] = plan.set_aside
    assert aside.name == "large.mp4"
    assert aside.error.kind == "disk"
    assert "limits.scratch_gb allows 3 GB" in aside.error.message
    assert "allow some 45.0 GB" in aside.error.advice


def test_two_hours_of_8k_fit_into_the_default_scratch() -> None:
    job = job_of(video_of(frames=2 * HOUR, size_bytes=90 * 10**9))
    limit = gigabytes(LimitSettings().scratch_gb)
    assert within_scratch(Plan((job,), ()), limit, lambda job: False).jobs == (job,)


def test_what_is_done_needs_no_scratch_any_more() -> None:
    plan = Plan((job_of(video_of()),), ())
    assert within_scratch(plan, gigabytes(3), lambda job: True) == plan


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[DiskWatch]:
    out = OutFolder(tmp_path / "out")
    out.create()
    with out.locked() as held:
        yield DiskWatch(out.path, out.lock, held, 0)


def test_a_folder_as_it_should_be_is_no_trouble(watched: DiskWatch) -> None:
    assert watched.trouble() is None


def test_too_little_room_is_told_with_the_setting(watched: DiskWatch) -> None:
    trouble = replace(watched, reserve_bytes=10**18).trouble()
    assert trouble is not None
    assert trouble.kind == "disk"
    assert "limits.reserve_gb" in trouble.message
    assert "goes on" in trouble.advice


def test_a_folder_that_is_gone_is_trouble(watched: DiskWatch) -> None:
    shutil.rmtree(watched.out)
    trouble = watched.trouble()
    assert trouble is not None
    assert (trouble.kind, "is gone" in trouble.message) == ("disk", True)


def test_a_folder_that_another_run_made_anew_is_trouble(watched: DiskWatch) -> None:
    watched.out.rename(watched.out.with_name("old"))
    out = OutFolder(watched.out)
    out.create()
    with out.locked():
        trouble = watched.trouble()
    assert trouble is not None
    assert (trouble.kind, "was replaced" in trouble.message) == ("disk", True)


WATCHES = """
import sys
from pathlib import Path
from orchestrator.out.room import DiskWatch
from orchestrator.out.folder import OutFolder
out = OutFolder(Path(sys.argv[1]))
out.create()
with out.locked() as held:
    watch = DiskWatch(out.path, out.lock, held, 500_000)
    print(watch.trouble(), flush=True)
    sys.stdin.readline()
    print(watch.trouble(), flush=True)
"""


@pytest.mark.parametrize(
    ("fault", "words"), [("full", "0.00 GB left"), ("read-only", "is read-only now")]
)
def test_a_disk_that_fills_or_is_made_read_only_is_noticed(
    fault: str, words: str, tmp_path: Path
) -> None:
    with small_disk(tmp_path, "1m") as disk:
        process = subprocess.Popen(
            disk.command([sys.executable, "-c", WATCHES, str(tmp_path)]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "None\n"
        if fault == "full":
            (disk.seen / "filler").write_bytes(bytes(800_000))
            said, _ = process.communicate("go on\n")
        else:
            # The run's own open files keep a disk from being made read-only by hand; a disk that
            # fails is made so by the kernel. Bound on top, it looks the same to the run.
            bind = f"mount --bind {tmp_path} {tmp_path} && mount -o remount,bind,ro {tmp_path}"
            subprocess.run(disk.command(["sh", "-c", bind]), check=True)
            said, _ = process.communicate("go on\n")
        assert words in said
        assert process.returncode == 0


def test_two_system_calls_are_no_sync(watched: DiskWatch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", None)
    monkeypatch.setattr(os, "open", None)
    assert watched.trouble() is None
