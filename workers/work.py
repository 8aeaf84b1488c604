"""Does a worker's tasks: runs the pipeline on this process's one device."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import torch

from pipeline.contract import (
    Concession,
    FinishJob,
    OutputFile,
    SegmentJob,
    SegmentResult,
    VideoSettings,
    is_huge,
)
from pipeline.errors import DeviceError, MachineError, ResourceError
from pipeline.finish import finish_video
from pipeline.kernels.choice import way_on
from pipeline.segment import run_segment
from pipeline.source.decode import keep_idle_decoders
from pipeline.stages.base import Stage
from pipeline.stages.catalogue import StageChoice, make_stage
from pipeline.stages.chain import Chain
from workers.messages import WorkerSetup
from workers.ram import RamGuard, give_back_memory, keep_no_large_blocks
from workers.stage_cache import StageCache


class Work(Protocol):
    """Does tasks; made once per process and used by several threads at a time.

    Attributes:
        device: what it runs on, in words.
    """

    device: str

    def segment(
        self,
        job: SegmentJob,
        *,
        concession: Concession,
        on_progress: Callable[[int], None],
        should_stop: Callable[[], bool],
    ) -> SegmentResult: ...

    def finish(
        self, job: FinishJob, *, should_stop: Callable[[], bool]
    ) -> tuple[OutputFile, ...]: ...


class Pipeline:
    """The real work.

    Raises (when made): SettingsError, MachineError: the model or the device is not to be had.
    """

    def __init__(self, setup: WorkerSetup) -> None:
        # The launcher left the process one GPU to see, so that it is always the first.
        self._device = torch.device("cpu" if setup.device == "cpu" else "cuda:0")
        self._stages = StageCache(self._make)
        self._ram = RamGuard(setup.ram_bytes)
        self._own_folder = None if setup.local_folder is None else Path(setup.local_folder)
        self.device = _open(self._device, setup)
        if setup.model is not None:
            torch.set_num_threads(setup.model.processing.intra_op_threads)
            with _named_errors(), self._stages.using(setup.model.stage):
                way_on(self._device, setup.model.processing.kernels)  # tried now, not in a segment

    def segment(
        self,
        job: SegmentJob,
        *,
        concession: Concession,
        on_progress: Callable[[int], None],
        should_stop: Callable[[], bool],
    ) -> SegmentResult:
        settings = job.settings
        # The number of threads alters bits: it comes from the settings and from nothing else. It is
        # the whole process's, and the same for all videos (`orchestrator/settings/overrides.py`).
        torch.set_num_threads(settings.processing.intra_op_threads)
        if is_huge(job.video):
            keep_no_large_blocks()
        if concession.chunk_divisor > 1:  # memory may have run out
            self._stages.drop_idle()
            give_back_memory()

        def tell(frames_done: int) -> None:
            self._ram.check()
            on_progress(frames_done)

        with _named_errors(), self._chain(settings) as chain:
            return run_segment(
                job,
                chain,
                self._device,
                concession=concession,
                own_folder=self._own_folder,
                on_progress=tell,
                should_stop=should_stop,
            )

    def finish(self, job: FinishJob, *, should_stop: Callable[[], bool]) -> tuple[OutputFile, ...]:
        with _named_errors():
            return finish_video(job, should_stop=should_stop)

    @contextlib.contextmanager
    def _chain(self, settings: VideoSettings) -> Iterator[Chain]:
        """The chain of these settings, whose expensive stages are kept from task to task."""
        with contextlib.ExitStack() as in_use:

            def made(choice: StageChoice, device: torch.device) -> Stage:
                if choice.is_kept:
                    return in_use.enter_context(self._stages.using(choice))
                return make_stage(choice, device)

            yield Chain.of(settings, self._device, made)

    def _make(self, choice: StageChoice) -> Stage:
        return make_stage(choice, self._device)


def _open(device: torch.device, setup: WorkerSetup) -> str:
    """Make the device ready; its name in words."""
    if device.type == "cpu":
        return "cpu"
    try:
        torch.cuda.set_device(device)
        # What is to be in 32 bits is: by cuDNN's default a convolution of floats has 10 of 23 bits,
        # also the means that RVM's refiner takes the differences of. By the older of two settings,
        # because PyTorch's compiler reads this one, which fails where the newer one was used.
        torch.backends.cudnn.allow_tf32 = False
        keep_idle_decoders(setup.idle_decoders)
        if setup.vram_bytes is not None:
            total = torch.cuda.get_device_properties(device).total_memory
            torch.cuda.set_per_process_memory_fraction(min(1.0, setup.vram_bytes / total), device)
        return f"{torch.cuda.get_device_name(device)} (cuda:{setup.device})"
    except (RuntimeError, AssertionError) as error:
        first_line = (str(error).splitlines() or [""])[0]
        raise MachineError(
            f"GPU {setup.device} cannot be used: {first_line}",
            "look at nvidia-smi, or run with --gpus none",
        ) from error


@contextlib.contextmanager
def _named_errors() -> Iterator[None]:
    """Give the errors of memory and device their names in our own family."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ResourceError(
            "the GPU ran out of memory",
            "use smaller chunks (streaming.chunk_frames), or set limits.vram_gb, which plans ahead",
        ) from error
    except MemoryError as error:
        raise ResourceError(
            "the machine ran out of memory",
            "use fewer workers or lanes (streaming.lanes), or set limits.ram_gb, which plans ahead",
        ) from error
    except torch.AcceleratorError as error:
        first_line = (str(error).splitlines() or [""])[0]
        raise DeviceError(f"the GPU failed: {first_line}", "look at dmesg for Xid lines") from error
