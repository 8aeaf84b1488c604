"""Start `vrmatte run` as a person would, as a child process with a deadline."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from orchestrator.watch.background import Background
from pipeline.files.child import own_module, tied
from pipeline.files.child_failure import telling_line
from workers.telemetry import GpuSample, sample_gpus

_DEADLINE_S = 600.0
_SAMPLE_S, _PATIENCE_S = 0.5, 5.0


@dataclass(frozen=True, slots=True)
class RunAsked:
    """The options of a run.

    Attributes:
        gpus: as `--gpus` takes it.
    """

    videos: Path
    out: Path
    gpus: str
    cpu_workers: int = 1


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How a run ended.

    Attributes:
        status: its exit status; None if it did not end and was killed.
        said: the line that says why it failed, or its last one.
        samples: of all GPUs, taken during the run.
    """

    out: Path
    status: int | None
    said: str
    seconds: float
    samples: tuple[tuple[GpuSample, ...], ...] = ()


#: Starts a run: `real_run`, or a test's double.
RealRun = Callable[[RunAsked], RunEnd]

#: Two segments of each clip, one at a time in each worker, so that two workers share each clip.
_SETTINGS = (
    "matting: {model: chroma}\nstreaming: {segment_frames: 8, lanes: 1}\nlimits: {reserve_gb: 0}\n"
)


def real_run(asked: RunAsked, deadline_s: float = _DEADLINE_S) -> RunEnd:
    """Run to the end, or until the deadline."""
    began = time.monotonic()
    config = asked.out.with_suffix(".yaml")
    config.write_text(_SETTINGS, encoding="utf-8")
    command, environment = own_module(
        *("orchestrator.cli", "run", str(asked.videos), "-o", str(asked.out)),
        *("--config", str(config), "--gpus", asked.gpus),
        *("--cpu-workers", str(asked.cpu_workers)),
    )
    sampler = _Sampler()
    with (
        tempfile.TemporaryFile() as words,
        nullcontext() if asked.gpus == "none" else sampler,
    ):
        process = subprocess.Popen(
            tied(command),
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=words,
            env=environment | {"COLUMNS": "1000"},
        )
        try:
            with suppress(subprocess.TimeoutExpired):
                process.wait(deadline_s)
        finally:
            ended = process.poll()
            process.kill()
            process.wait()
        words.seek(0)
        said = telling_line(words.read()) or "no message"
    seconds = round(time.monotonic() - began, 3)
    return RunEnd(asked.out, ended, said, seconds, tuple(sampler.samples))


class _Sampler(Background):
    """Samples all GPUs, in a thread: a driver that hangs shall not hold the gates."""

    def __init__(self) -> None:
        super().__init__("samples", every_s=_SAMPLE_S, leave_s=_PATIENCE_S)
        self.samples: list[tuple[GpuSample, ...]] = []

    def step(self) -> None:
        self.samples.append(sample_gpus())
