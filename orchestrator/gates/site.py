"""Shared parts of the gates' checks: the machine, a temporary folder, child processes, runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from orchestrator.doctor.doctor import Surroundings
from orchestrator.doctor.trials import ReadTrial, Trial, Trials, Tried
from orchestrator.gates.checks import CheckSkipped
from orchestrator.gates.clips import ClipCodec, make_clips
from orchestrator.gates.real_run import RealRun, RunAsked, RunEnd, real_run
from pipeline.contract import MattingSettings, ProcessingSettings

MakeClips = Callable[[Path, tuple[ClipCodec, ...]], Mapping[str, Path]]


@dataclass
class Site:
    """What the checks work with; used by one thread, and closed at the end.

    Attributes:
        around: the machine, as the doctor sees it.
        folder: a temporary folder; the caller removes it.
        matting, processing: the person's settings.
        asked_model: the model that the person asked for, which is not skipped; None: no model.
        out: a finished output folder, for the last gate.
        fresh: repeat the trials that the doctor remembers.
    """

    around: Surroundings
    folder: Path
    matting: MattingSettings = field(default_factory=MattingSettings)
    processing: ProcessingSettings = field(default_factory=ProcessingSettings)
    asked_model: str | None = None
    out: Path | None = None
    fresh: bool = False
    run: RealRun = real_run
    make_clips: MakeClips = make_clips
    _trials: dict[int | str, Trials] = field(default_factory=dict)
    _runs: dict[tuple[str, int], RunEnd] = field(default_factory=dict)
    _read: dict[str, Tried] = field(default_factory=dict)

    def try_on(self, device: int | str, trial: Trial, deadline_s: float) -> Tried:
        """Run a trial in the child process of that device."""
        if device not in self._trials:
            self._trials[device] = self.around.open_trials(device)
        return self._trials[device].run(trial, deadline_s)

    def read_once(self, trial: ReadTrial, deadline_s: float) -> Tried:
        """Read a file back on the CPU, once; several checks use the result."""
        if trial.path not in self._read:
            self._read[trial.path] = self.try_on("cpu", trial, deadline_s)
        return self._read[trial.path]

    def with_children(self) -> Surroundings:
        """The surroundings, with trials in the child processes that the checks share."""
        return replace(self.around, open_trials=lambda device: _Shared(self, device))

    def close(self) -> None:
        for trials in self._trials.values():
            trials.close()
        self._trials.clear()

    @cached_property
    def clips(self) -> Mapping[str, Path]:
        """Raises EncodeError: they cannot be made."""
        folder = self.folder / "clips"
        folder.mkdir(exist_ok=True)
        return self.make_clips(folder, ("h264", "av1"))

    @property
    def first_device(self) -> int | str:
        """The first GPU, or the CPU."""
        return self.around.gpus[0].number if self.around.gpus else "cpu"

    def run_of_clips(self, gpus: str, cpu_workers: int = 1) -> RunEnd:
        """Run the clips, once for each choice of workers."""
        key = gpus, cpu_workers
        if key not in self._runs:
            videos = next(iter(self.clips.values())).parent
            self._close_gpus()  # a run needs the whole GPU
            out = self.folder / f"out-{gpus.replace(',', '+')}-{cpu_workers}"
            self._runs[key] = self.run(RunAsked(videos, out, gpus, cpu_workers))
        return self._runs[key]

    def _close_gpus(self) -> None:
        for device in [device for device in self._trials if device != "cpu"]:
            self._trials.pop(device).close()

    def one_worker(self) -> RunEnd:
        """Run the clips with one worker on the first device."""
        return self.run_of_clips("none" if self.first_device == "cpu" else str(self.first_device))


@dataclass(frozen=True, slots=True)
class _Shared:
    """See `orchestrator.doctor.trials.Trials`; the site closes the child process."""

    site: Site
    device: int | str

    def run(self, trial: Trial, deadline_s: float) -> Tried:
        return self.site.try_on(self.device, trial, deadline_s)

    def close(self) -> None: ...


def need_gpu(site: Site) -> None:
    """Raises CheckSkipped without a GPU."""
    if not site.around.gpus:
        raise CheckSkipped("no GPU")
