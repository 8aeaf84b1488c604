"""The real work, but something in it never ends, or wants more memory than there is.

Orders come by the environment, which reaches workers that are processes.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import imageio_ffmpeg
import torch

import pipeline.source.reader
from pipeline.contract import Concession, SegmentJob, SegmentResult
from pipeline.encode import vp9_alpha
from pipeline.errors import SessionRefused
from pipeline.pixels.batches import FrameBatch
from pipeline.pixels.layers import Layers
from pipeline.segment import run_segment
from pipeline.source.decode import FrameReader
from pipeline.stages.base import Stage
from pipeline.stages.chain import Chain
from workers.messages import WorkerSetup
from workers.work import Pipeline, _named_errors

#: A folder for marks; the name of the video that is struck, or nothing for any; "always" or "once".
FOLDER, VIDEO, WHEN = "VRMATTE_TEST_FOLDER", "VRMATTE_TEST_VIDEO", "VRMATTE_TEST_WHEN"

#: Frames for which the memory reaches, and segments at once.
FRAMES, SEGMENTS = "VRMATTE_TEST_FRAMES", "VRMATTE_TEST_SEGMENTS"


def is_struck(video: str) -> bool:
    """Whether it is the turn of that video, by its path; and if once only, it was."""
    name = os.environ.get(VIDEO, "")
    if name and Path(video).name != name:
        return False
    if os.environ[WHEN] == "always":
        return True
    try:
        (Path(os.environ[FOLDER]) / "struck").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


HANGING_COMMAND = [
    *(sys.executable, "-c"),
    "import signal, sys; sys.stdin.buffer.raw.read(1000)\nwhile True: signal.pause()",
    "file:/none",
]


def hang() -> NoReturn:
    while True:
        threading.Event().wait()


class _Before(Stage):
    """A stage in front of the chain that changes nothing."""

    name: ClassVar[str] = "before"

    def __init__(self, job: SegmentJob) -> None:
        self.job = job

    def run(self, layers: Layers, state: Any) -> Layers:
        self.before(layers)
        return layers

    def before(self, layers: Layers) -> None:
        raise NotImplementedError


class _Doubled(Pipeline):
    """The real work with a stage of `front` before its chain."""

    front: ClassVar[type[_Before]]

    def segment(
        self,
        job: SegmentJob,
        *,
        concession: Concession,
        on_progress: Callable[[int], None],
        should_stop: Callable[[], bool],
    ) -> SegmentResult:
        settings = job.settings
        torch.set_num_threads(settings.processing.intra_op_threads)
        with _named_errors(), self._chain(settings) as chain:
            return run_segment(
                job,
                Chain((self.front(job), *chain.stages)),
                torch.device("cpu"),
                concession=concession,
                on_progress=on_progress,
                should_stop=should_stop,
            )


class _Sleeper(_Before):
    def before(self, layers: Layers) -> None:
        if layers.start > self.job.start and is_struck(self.job.video.path):
            hang()


class SleepingModel(_Doubled):
    """A stage sleeps for ever on the second chunk of a segment."""

    front = _Sleeper


class _BlockingReader(FrameReader):
    def __init__(self, video: Any, *rest: Any, **options: Any) -> None:
        super().__init__(video, *rest, **options)
        self._path = video.path

    def batches(self, start: int, stop: int, chunk: int) -> Iterator[FrameBatch]:
        if is_struck(self._path):
            hang()
        yield from super().batches(start, stop, chunk)


class BlockingDecoder(Pipeline):
    """The decoder never gives the first frame."""

    def __init__(self, setup: WorkerSetup) -> None:
        super().__init__(setup)
        pipeline.source.reader.FrameReader = _BlockingReader  # type: ignore[attr-defined]


class EndlessLoading(Pipeline):
    """The model is never loaded."""

    def __init__(self, setup: WorkerSetup) -> None:
        if is_struck(""):
            hang()
        super().__init__(setup)


class HangingEncoder(Pipeline):
    """The encoder of WebM takes no more than the first bytes."""

    def __init__(self, setup: WorkerSetup) -> None:
        super().__init__(setup)
        real = vp9_alpha.command

        def command(*arguments: Any) -> list[str]:
            return HANGING_COMMAND if is_struck("") else real(*arguments)

        vp9_alpha.command = command  # type: ignore[assignment]


class DyingAtOnce(Pipeline):
    """The process is killed when it is given a segment of the video."""

    def segment(self, job: SegmentJob, **rest: Any) -> SegmentResult:
        if is_struck(job.video.path):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().segment(job, **rest)


class _SmallMemory(_Before):
    def before(self, layers: Layers) -> None:
        if len(layers) > int(os.environ[FRAMES]) and is_struck(self.job.video.path):
            raise torch.OutOfMemoryError(f"tried to allocate room for {len(layers)} frames")


class SmallGpu(_Doubled):
    """The GPU's memory holds so many frames of the video at once."""

    front = _SmallMemory


class SmallMachine(Pipeline):
    """The machine's memory holds so many segments at once; those beside them fail."""

    refusal: Callable[[], Exception] = MemoryError

    def __init__(self, setup: WorkerSetup) -> None:
        super().__init__(setup)
        self._room = threading.BoundedSemaphore(int(os.environ[SEGMENTS]))

    def segment(self, job: SegmentJob, **rest: Any) -> SegmentResult:
        with _named_errors():
            if not self._room.acquire(blocking=False):
                raise self.refusal()
        try:
            return super().segment(job, **rest)
        finally:
            self._room.release()


class FewSessions(SmallMachine):
    """NVENC gives so many segments a session at once."""

    @staticmethod
    def refusal() -> Exception:
        return SessionRefused.of("OpenEncodeSessionEx failed: out of memory (10): (no details)")


def hanging_ffmpeg(folder: Path, sign: str) -> Path:
    """A program that stands for ffmpeg, but hangs, once or always, when called for `sign`.

    Args:
        sign: what the call's arguments hold.
    """
    path = folder / "ffmpeg"
    path.write_text(
        f"#!{sys.executable} -IS\n"
        f"folder, sign, real = {str(folder)!r}, {sign!r}, {imageio_ffmpeg.get_ffmpeg_exe()!r}\n"
        f"when = {os.environ[WHEN]!r}\n"
        f"{_FFMPEG}"
    )
    path.chmod(0o755)
    return path


_FFMPEG = """
import os, signal, sys

def first():
    try:
        os.close(os.open(folder + "/struck", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True

if sign in " ".join(sys.argv) and (when == "always" or first()):
    while True:
        signal.pause()
os.execv(real, [real, *sys.argv[1:]])
"""
