"""`vrmatte doctor`: examine this machine and yield its findings; never hangs.

A driver, a decoder or a disk may hang, so each is tried in a child process with a deadline.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.doctor.cache import (
    Identity,
    cache_folder,
    identity,
    package_versions,
    read_record,
    write_record,
)
from orchestrator.doctor.clips import Sample, make_sample
from orchestrator.doctor.codecs import (
    CodecTrials,
    gpu_group,
    remembered,
)
from orchestrator.doctor.findings import Finding
from orchestrator.doctor.nvenc_findings import (
    NeededDriver,
    NvencTrial,
    driver_needed,
    nvenc_on,
)
from orchestrator.doctor.room import Limits, disk_finding, find_limits, limit_findings
from orchestrator.doctor.software import (
    LIBRARIES_DEADLINE_S,
    DriverAsked,
    ask_driver,
    driver_finding,
    library_findings,
    plugin_findings,
    torch_cuda,
    version_findings,
)
from orchestrator.doctor.trial_process import TrialProcess
from orchestrator.doctor.trials import KernelsTrial, LibrariesTrial, OpenTrials, Trials
from orchestrator.doctor.weights_here import missing, unreachable, weights_findings
from orchestrator.machine.devices import Gpu, visible_gpus
from orchestrator.words import counted, readable_size
from pipeline.contract import MattingSettings
from pipeline.errors import DiskError
from pipeline.stages.matting.facts import ModelFacts, Weights

CACHE_GROUP = "machine"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The machine as the doctor sees it; tests replace parts of it.

    Attributes:
        gpus: those that can be seen.
        asked: the driver's answer about all GPUs.
        cache: the folder of the cache.
        environment: of this process.
        reach: why missing weights cannot be fetched; None where they can be.
        on_step: called with what is done at the moment.
    """

    gpus: Sequence[Gpu]
    asked: DriverAsked
    cache: Path
    open_trials: OpenTrials = TrialProcess
    nvenc: NvencTrial = nvenc_on
    needed_driver: NeededDriver = driver_needed
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    make_sample: Callable[[Path, Sample], Path] = make_sample
    torch_cuda: Callable[[], tuple[int, int] | None] = torch_cuda
    versions: Callable[[], Mapping[str, str]] = package_versions
    limits: Callable[[], Limits] = find_limits
    reach: Callable[[Weights, ModelFacts, MattingSettings], str | None] = unreachable
    on_step: Callable[[str], None] = lambda what: None

    def identity(self) -> Identity:
        driver = self.asked.driver
        return identity(self.gpus, driver.version if driver else "")


def here(
    on_step: Callable[[str], None] = lambda what: None, open_trials: OpenTrials = TrialProcess
) -> Surroundings:
    """This machine, as its driver describes it."""
    on_step("asking the driver for GPUs")
    trials = open_trials("cpu")
    try:
        asked = ask_driver(trials)
    finally:
        trials.close()
    gpus = visible_gpus(asked.gpus, os.environ.get("CUDA_VISIBLE_DEVICES"))
    return Surroundings(gpus, asked, cache_folder(), open_trials, on_step=on_step)


def trials_file(cache: Path, who: Identity) -> Path:
    return cache / "machines" / who.fingerprint() / "trials.json"


def examine(
    around: Surroundings, out: Path | None, matting: MattingSettings, *, fresh: bool = False
) -> Iterator[Finding]:
    """Yield each finding as it is made.

    Args:
        out: the folder, which need not exist, whose disk is tried; None: the current folder.
        matting: the model whose weights are looked for.
        fresh: repeat the trials whose results are remembered.
    """
    yield from version_findings(around.versions(), around.torch_cuda())
    yield from plugin_findings()
    yield driver_finding(around.asked, around.torch_cuda())
    around.on_step("loading PyTorch and TorchCodec")
    trials = around.open_trials("cpu")
    try:
        yield from library_findings(trials)
        yield from limit_findings(around.limits(), max(1, len(around.gpus)))
        folder = out or Path.cwd()
        around.on_step(f"writing to the disk of {folder}")
        yield disk_finding(folder, trials, is_out=out is not None)
        around.on_step("looking for the model's weights")
        yield from weights_findings(matting, missing(matting, trials), around.reach)
        yield from _codecs(around, trials, fresh)
    finally:
        trials.close()


def _codecs(around: Surroundings, on_cpu: Trials, fresh: bool) -> Iterator[Finding]:
    path = trials_file(around.cache, around.identity())
    record: dict[str, Any] = {} if fresh else read_record(path)
    memory = remembered(record)
    with tempfile.TemporaryDirectory(prefix="vrmatte-doctor-") as name:
        tries = CodecTrials(Path(name), memory, around.make_sample, around.on_step)
        yield from tries.cpu_findings(on_cpu)
        if not around.gpus:
            yield _no_gpu(around)
        for gpu in around.gpus:
            on_gpu = around.open_trials(gpu.number)
            try:
                around.on_step(f"opening GPU {gpu.number}")
                opened = _opened(gpu, on_gpu)
                yield opened
                if opened.level == "ok":
                    around.on_step(f"GPU {gpu.number}: comparing kernels with PyTorch")
                    yield _kernels(gpu, on_gpu)
                    driver = around.asked.driver
                    yield from tries.gpu_findings(
                        gpu,
                        on_gpu,
                        around.nvenc,
                        around.needed_driver,
                        driver.version if driver else "",
                        around.environment,
                    )
            finally:
                on_gpu.close()
    if memory.known != record:
        yield from _kept(path, memory.known)


def _no_gpu(around: Surroundings) -> Finding:
    name = "NVDEC and NVENC"
    if not around.asked.gpus:
        return Finding("GPU", name, "skipped", "no GPU: nothing to try")
    said = f"CUDA_VISIBLE_DEVICES hides {counted(len(around.asked.gpus), 'GPU')}: nothing to try"
    return Finding("GPU", name, "warning", said, "unset it, unless only the CPU is to work")


def _opened(gpu: Gpu, trials: Trials) -> Finding:
    """Whether PyTorch can use the GPU; if it cannot, nothing else is tried there."""
    tried = trials.run(LibrariesTrial(), LIBRARIES_DEADLINE_S)
    if tried.outcome == "works":
        return Finding(gpu_group(gpu), "CUDA", "ok", _memory(gpu))
    return Finding(
        gpu_group(gpu),
        "CUDA",
        "broken",
        f"{tried.outcome}: {tried.said}",
        "see `nvidia-smi` and the driver; use another machine, or --gpus none",
    )


def _memory(gpu: Gpu) -> str:
    if gpu.memory_bytes is None:
        return "works; the driver does not tell its memory: limits.vram_gb says what may be used"
    return readable_size(gpu.memory_bytes)


def _kernels(gpu: Gpu, trials: Trials) -> Finding:
    """Whether Triton's kernels work on whole pictures there; PyTorch does what they cannot."""
    tried = trials.run(KernelsTrial(), LIBRARIES_DEADLINE_S)
    if tried.outcome == "works":
        return Finding(gpu_group(gpu), "kernels", "ok", "Triton's give PyTorch's bits")
    if tried.outcome == "refused":
        said = f"PyTorch does their work, which is slower: {tried.said}"
        advice = "a C compiler (apt-get install gcc) is needed; the frames are the same"
        return Finding(gpu_group(gpu), "kernels", "warning", said, advice)
    said = f"{tried.outcome}: {tried.said}"
    advice = "run with processing.kernels: torch"
    return Finding(gpu_group(gpu), "kernels", "broken", said, advice)


def _kept(path: Path, known: Mapping[str, object]) -> Iterator[Finding]:
    try:
        write_record(path, known)
    except DiskError as error:
        yield Finding(CACHE_GROUP, "cache", "warning", error.message, error.advice)
