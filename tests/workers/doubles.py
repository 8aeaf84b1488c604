"""Work that is not the pipeline: what it does to a video is the video's title.

A segment's file holds its frames as text, so that what was joined can be read off the output.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

from pipeline.contract import Concession, FinishJob, OutputFile, SegmentJob, SegmentResult
from pipeline.errors import (
    DecodeError,
    DeviceError,
    InputError,
    MachineError,
    VrmatteError,
)
from workers.messages import WorkerSetup

ERRORS: dict[str, type[VrmatteError]] = {
    "input": InputError,
    "decode": DecodeError,
    "device": DeviceError,
}


class Double:
    """Obeys the title: an error's kind, "bug", "die", "die once", "hang", "meet"; or does well."""

    def __init__(self, setup: WorkerSetup) -> None:
        self.device = f"double {setup.device}, sees {os.environ.get('CUDA_VISIBLE_DEVICES')!r}"
        self.meeting = threading.Barrier(2, timeout=30)

    def segment(
        self,
        job: SegmentJob,
        *,
        concession: Concession,
        on_progress: Callable[[int], None],
        should_stop: Callable[[], bool],
    ) -> SegmentResult:
        folder = Path(job.work_dir)
        folder.mkdir(parents=True, exist_ok=True)
        self.obey(job.video.title, folder, concession.cpu_decode, on_progress)
        file = folder / f"seg-{job.number:06d}.webm"
        file.write_text(f"{job.start}..{job.stop} ")
        on_progress(job.num_frames)
        return SegmentResult((file.name,), job.num_frames, decoder="a double")

    def obey(
        self, title: str, folder: Path, cpu_decode: bool, on_progress: Callable[[int], None]
    ) -> None:
        if title in ERRORS and not (title == "decode" and cpu_decode):
            raise ERRORS[title](f"trouble of kind {title}")
        if title == "bug":
            raise ZeroDivisionError("nobody foresaw this")
        if title == "die" or (title == "die once" and not (folder / "died").exists()):
            (folder / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if title == "hang":
            child = subprocess.Popen(["sleep", "1000"])
            (folder / "pids").write_text(f"{os.getpid()} {child.pid}")
            on_progress(1)
            threading.Event().wait()
        if title == "meet":
            self.meeting.wait()

    def finish(self, job: FinishJob, *, should_stop: Callable[[], bool]) -> tuple[OutputFile, ...]:
        text = "".join(Path(job.work_dir, s.files[0]).read_text() for s in job.segments)
        Path(job.outputs[0]).write_text(text)
        frames = sum(segment.num_frames for segment in job.segments)
        return (OutputFile("webm", job.outputs[0], len(text), frames),)


class Noisy(Double):
    """Prints and warns by every way there is."""

    def __init__(self, setup: WorkerSetup) -> None:
        super().__init__(setup)
        print("printed by Python", flush=True)  # noqa: T201
        os.write(2, b"printed by a library\n")
        warnings.warn("a Python warning", stacklevel=1)


class NoModel:
    """Cannot be made."""

    def __init__(self, setup: WorkerSetup) -> None:
        raise MachineError("no weights", "fetch them")
