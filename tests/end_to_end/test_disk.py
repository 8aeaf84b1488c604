"""Runs on disks that fill, are taken away or are small: a clean stop, and then the same command.

Real processes on a real small tmpfs; frames are compared decoded.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
import yaml

from tests.clips import X264, ClipSpec
from tests.mounts import SmallDisk, small_disk
from tests.runs import HereRun, files_left, outputs
from tests.shared_runs import UndisturbedRun, VideosOf

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

CLIPS = (
    ClipSpec("one_LR.mp4", X264, num_frames=24, audio=("aac",)),
    ClipSpec("two_LR.mp4", X264, num_frames=18),
)
SEGMENT = 6
ALL = bool(os.environ.get("VRMATTE_ALL_FAULTS"))
OPTIONS = ("--lanes", "1")


def settings(reserve_gb: float = 0.0, model: str = "chroma") -> str:
    return (
        f"matting: {{model: {model}}}\nstereo: {{mode: independent}}\n"
        f"streaming: {{segment_frames: {SEGMENT}}}\n"
        f"limits: {{reserve_gb: {reserve_gb}}}\n"
    )


@pytest.fixture(scope="module")
def videos(videos_of: VideosOf) -> Path:
    return videos_of(CLIPS)


@dataclass
class Job:
    """One command line, given again and again; `disk` is what it sees.

    Attributes:
        reserve_gb: what must stay free.
    """

    videos: Path
    out: Path
    disk: SmallDisk | None = None
    reserve_gb: float = 0.0
    model: str = "chroma"
    said: str = field(default="", init=False)

    def config(self) -> Path:
        beside = self.out if self.disk is None else self.disk.folder
        config = beside.with_name("settings.yaml")
        config.write_text(settings(self.reserve_gb, self.model))
        return config

    def command(self) -> list[str]:
        plain = [
            *(sys.executable, "-m", "orchestrator.cli", "run", str(self.videos)),
            *("-o", str(self.out), "--config", str(self.config()), "--gpus", "none"),
            *OPTIONS,
        ]
        return plain if self.disk is None else self.disk.command(plain)

    def run(self) -> int:
        done = subprocess.run(
            self.command(), capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
        )
        self.said = done.stdout + done.stderr
        return done.returncode

    def run_until(self, sign: str, then: Callable[[], object]) -> int:
        """Run, and do `then` when a line with `sign` is said."""
        lines = []
        with subprocess.Popen(
            self.command(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line)
                if sign in line:
                    then()
                    sign = "\0"
        self.said = "".join(lines)
        assert sign == "\0", self.said
        return process.returncode

    def goes_on(self, copy: Path) -> dict[str, str]:
        """The outputs, after this process has done the rest with the same settings.

        It does not see a small disk, and works on a copy of OUT.
        """
        if self.seen().exists():
            shutil.copytree(self.seen(), copy, symlinks=True)
        none = {"workers": {"gpus": "none"}}
        here = HereRun(self.videos, copy, none, config=self.config(), threads=True)
        assert here.run() == 0, here.said.getvalue()
        assert files_left(copy) == set()
        return outputs(copy)

    def seen(self) -> Path:
        """OUT, as this process reaches it."""
        if self.disk is None:
            return self.out
        return self.disk.seen / self.out.relative_to(self.disk.folder)

    def reasons(self) -> list[str]:
        """The lines that say why it stopped."""
        assert "Traceback" not in self.said
        lines = self.said.splitlines()
        return [line for line in lines if line.startswith(("stopped: ", "error: "))]


@pytest.fixture(scope="module")
def undisturbed(undisturbed_run: UndisturbedRun) -> dict[str, str]:
    return undisturbed_run(CLIPS, yaml.safe_load(settings())).outputs


@contextmanager
def job_on(disk_of: str, videos: Path, folder: Path, **options: float) -> Iterator[Job]:
    place = folder / "disk"
    place.mkdir()
    with small_disk(place, disk_of) as disk:
        yield Job(videos, place / "out", disk, **options)  # type: ignore[arg-type]


def fill(job: Job, leave_bytes: int) -> Callable[[], None]:
    """Take all the room but so much."""

    def take() -> None:
        free = shutil.disk_usage(job.seen()).free
        (job.seen().parent / "filler").write_bytes(bytes(max(0, free - leave_bytes)))

    return take


def family() -> set[int]:
    """Processes that were started from here, and that their children started."""
    return {process.pid for process in psutil.Process().children(recursive=True)}


def stopped_cleanly(job: Job, undisturbed: dict[str, str]) -> None:
    """What has its name is whole."""
    found = {name: digest for name, digest in outputs(job.seen()).items() if "/" not in name}
    assert found.items() <= undisturbed.items()
    assert files_left(job.seen()) == set()


@pytest.mark.parametrize("leave_bytes", [0, 20_000] if ALL else [0])
def test_a_disk_that_fills_in_the_middle_stops_the_run_and_it_goes_on(
    leave_bytes: int, videos: Path, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    with job_on("20m", videos, tmp_path) as job:
        before = family()
        status = job.run_until("started, 24 frames", fill(job, leave_bytes))
        assert status == 130, job.said
        [reason] = [line for line in job.reasons() if "the same command" not in line]
        assert "no room" in reason
        assert family() == before
        stopped_cleanly(job, undisturbed)
        if leave_bytes:
            assert job.goes_on(tmp_path / "copy") == undisturbed
            return
        (job.seen().parent / "filler").unlink()
        assert job.run() == 0, job.said
        assert outputs(job.seen()) == undisturbed
        assert files_left(job.seen()) == set()


def test_every_size_of_disk_ends_in_a_clean_stop_or_whole(
    videos: Path, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    """The disk is full wherever it is: in a log, the journal, a segment, a report."""
    with job_on("20m", videos, tmp_path) as job:
        filler = job.disk.seen / "filler" if job.disk else tmp_path
        for leave in (8_192, 57_344):
            filler.unlink(missing_ok=True)
            shutil.rmtree(job.seen(), ignore_errors=True)
            filler.write_bytes(bytes(20 * 2**20 - leave))
            status = job.run()
            assert status in (2, 3, 130), (leave, job.said)
            assert job.reasons(), (leave, job.said)
            if job.seen().exists():
                stopped_cleanly(job, undisturbed)
            assert job.goes_on(tmp_path / f"copy-{leave}") == undisturbed


def test_the_reserve_is_kept(videos: Path, undisturbed: dict[str, str], tmp_path: Path) -> None:
    with job_on("20m", videos, tmp_path, reserve_gb=0.002) as job:
        status = job.run_until("started, 24 frames", fill(job, 1_900_000))
        assert status == 130, job.said
        assert any("limits.reserve_gb" in line for line in job.reasons())
        assert shutil.disk_usage(job.seen()).free > 1_000_000
        stopped_cleanly(job, undisturbed)
        assert job.goes_on(tmp_path / "copy") == undisturbed


def test_a_folder_that_is_deleted_in_the_middle_stops_the_run(
    videos: Path, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    job = Job(videos, tmp_path / "out")

    def remove() -> None:
        while job.out.exists():  # a file may come while its folder is emptied
            shutil.rmtree(job.out, ignore_errors=True)

    status = job.run_until("1 of 4 segments done", remove)
    assert status == 130, job.said
    assert any("is gone" in line for line in job.reasons()), job.said
    assert job.goes_on(tmp_path / "copy") == undisturbed


def test_a_disk_that_is_read_only_in_the_middle_stops_the_run(
    videos: Path, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    with job_on("20m", videos, tmp_path) as job:
        assert job.disk is not None
        place = job.disk.folder
        over = f"mount --bind {place} {place} && mount -o remount,bind,ro {place}"

        def make_read_only() -> None:
            assert job.disk is not None
            subprocess.run(job.disk.command(["sh", "-c", over]), check=True)

        status = job.run_until("1 of 4 segments done", make_read_only)
        assert status == 130, job.said
        assert any("read-only" in line for line in job.reasons()), job.said
        subprocess.run(job.disk.command(["umount", str(place)]), check=True)
        assert job.run() == 0, job.said
        assert outputs(job.seen()) == undisturbed


def test_64_mb_of_shared_memory_will_do(
    videos: Path, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    with small_disk(Path("/dev/shm"), "64m") as disk:
        job = Job(videos, tmp_path / "out")
        done = subprocess.run(
            disk.command(job.command()), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert list(disk.seen.iterdir()) == []
    assert outputs(job.out) == undisturbed


def test_a_video_too_large_for_the_scratch_is_set_aside(
    videos: Path, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    job = Job(videos, tmp_path / "out")
    config = tmp_path / "small.yaml"
    config.write_text("matting: {model: chroma}\nlimits: {scratch_gb: 0.00000001, reserve_gb: 0}\n")
    command = [str(config) if word.endswith(".yaml") else word for word in job.command()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    report = json.loads((job.out / "report.json").read_text())
    assert [video["result"] for video in report["videos"]] == ["set aside"] * 2
    assert "limits.scratch_gb" in report["videos"][0]["error"]["message"]
