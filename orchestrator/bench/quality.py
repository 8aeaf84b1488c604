"""`vrmatte bench --quality CLIP --alpha TRUTH`: how near each model's mattes come to the truth.

Each model mattes the clip from its first frame to its last through the chain of a run, in a process
of its own (`quality_child.py`), one after the other. Only sums leave that process. The speed that
is shown is of one lane alone, decoding included, encoders not.

The parent imports no torch and touches no GPU.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.bench.alpha_measures import Distance
from orchestrator.child_module import run_module
from orchestrator.machine.devices import Devices, Gpu, devices_here, list_gpus
from orchestrator.plan.prompts_for import prompts_for
from orchestrator.plan.settle import settle_settings
from orchestrator.settings.settings import (
    Settings,
    forced_layout,
    forced_projection,
    video_settings,
)
from pipeline.contract import MattingSettings, SegmentJob, VideoInfo
from pipeline.errors import SettingsError, VrmatteError
from pipeline.files.disk import write_file
from pipeline.prompts.store import digest_of, keep_prompts, pack
from pipeline.source.probe import probe_video
from pipeline.stages.matting.catalogue import MODELS, model_problems
from pipeline.text import printable
from workers.launch import WORKER_ENVIRONMENT, visible_devices

if TYPE_CHECKING:
    from rich.table import Table

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class QualityRequest:
    """The command line.

    Attributes:
        truth: a video of the clip's alpha, of the same frames and size: grey, or with alpha.
        models: empty means all.
    """

    settings: Settings
    clip: Path
    truth: Path
    models: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """The request to the process that mattes; of the job, its video, settings and places count."""

    job: SegmentJob
    truth: str


@dataclass(frozen=True, slots=True)
class Found:
    """Its answer.

    Attributes:
        device, decoder: in words.
        wall_s, cpu_s: from the first frame to the last, decoding included, of all its threads;
            without loading the model, looking at the clip, and comparing.
    """

    distance: Distance
    device: str
    decoder: str
    wall_s: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class ModelQuality:
    """One model that was measured; `settings` is the fingerprint of what decides its pixels."""

    model: str
    settings: str
    found: Found

    @property
    def frames_per_second(self) -> float:
        return self.found.distance.frames / self.found.wall_s

    @property
    def cpu_s_per_frame(self) -> float:
        return self.found.cpu_s / self.found.distance.frames


@dataclass(frozen=True, slots=True)
class NotMeasured:
    """A model that cannot be had here, or refuses the clip, and why in one line."""

    model: str
    reason: str


@dataclass(frozen=True, slots=True)
class Quality:
    """Everything, as the JSON file holds it."""

    schema_version: int
    at: str
    vrmatte: str
    clip: str
    truth: str
    width: int
    height: int
    layout: str
    frames: int
    models: tuple[ModelQuality, ...]
    not_measured: tuple[NotMeasured, ...]


def judge_models(
    request: QualityRequest,
    fetch_model: Callable[[MattingSettings], object],
    say: Callable[[str], None] = lambda line: None,
    gpus: Callable[[], list[Gpu]] = list_gpus,
) -> Quality:
    """Measure each model.

    Args:
        say: gets a line for each step.

    Raises:
        VrmatteError: the clip or the truth cannot be used, or they do not fit each other.
    """
    settings = request.settings
    devices = devices_here(settings.workers, gpus())
    measured: list[ModelQuality] = []
    refused: list[NotMeasured] = []
    with tempfile.TemporaryDirectory(prefix="vrmatte-quality-") as name:
        folder = Path(name)
        info = probe_video(
            request.clip,
            folder / "index.json",
            layout=forced_layout(settings),
            projection=forced_projection(settings),
            deadline_s=settings.input.probe_timeout_s,
        )
        truth = probe_video(request.truth, folder / "truth.json", layout="mono")
        _require_fit(info, truth)
        for model in request.models or MODELS.names():
            say(f"{model}: {info.num_frames} frames, {devices.remark}")
            try:
                measured.append(_judged(request, model, info, devices, folder, fetch_model))
            except VrmatteError as error:
                refused.append(NotMeasured(model, printable(str(error))))
    return Quality(
        schema_version=SCHEMA_VERSION,
        at=datetime.now().astimezone().isoformat(timespec="seconds"),
        vrmatte=version("vrmatte"),
        clip=str(request.clip.absolute()),
        truth=str(request.truth.absolute()),
        width=info.width,
        height=info.height,
        layout=info.layout,
        frames=info.num_frames,
        models=tuple(measured),
        not_measured=tuple(refused),
    )


def _require_fit(clip: VideoInfo, truth: VideoInfo) -> None:
    """Raises SettingsError: they are not of the same frames."""
    for what, of_clip, of_truth in (
        ("pixels", f"{clip.width}x{clip.height}", f"{truth.width}x{truth.height}"),
        ("frames", clip.num_frames, truth.source_frames),
    ):
        if of_clip != of_truth:
            name = printable(Path(truth.path).name)
            raise SettingsError(
                f"--alpha: the clip has {of_clip} {what}, and {name} has {of_truth}",
                "give the alpha of this very clip, frame by frame",
            )


def _judged(
    request: QualityRequest,
    model: str,
    info: VideoInfo,
    devices: Devices,
    folder: Path,
    fetch_model: Callable[[MattingSettings], object],
) -> ModelQuality:
    from pydantic import TypeAdapter

    from pipeline.stages.matting.catalogue import JSON_CONTEXT

    asked = request.settings
    matting = replace(asked.matting, model=model)
    for _, problem in model_problems(matting):
        raise problem
    settled = settle_settings(asked.model_copy(update={"matting": matting}), devices.kind)
    fetch_model(settled.matting)
    work, index = folder / model, folder / "index.json"
    work.mkdir(exist_ok=True)
    chosen = replace(video_settings(settled), start_frame=0, max_frames=None, every=1)
    prompts = prompts_for(settled.matting, request.clip, info, index)
    if prompts is not None:
        packed = pack(prompts)
        keep_prompts(work, packed)
        chosen = replace(chosen, prompts_sha256=digest_of(packed))
    job = SegmentJob(info, chosen, 0, 0, info.num_frames, str(index), str(work))
    question, answer = work / "asked.json", work / "found.json"
    question.write_bytes(TypeAdapter(Asked).dump_json(Asked(job, str(request.truth.absolute()))))
    environment = {k: v for k, v in WORKER_ENVIRONMENT.items() if k not in os.environ}
    environment["CUDA_VISIBLE_DEVICES"] = visible_devices(devices.first, os.environ)
    environment["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    device = "cpu" if devices.first == "cpu" else "cuda:0"  # the only one that it sees
    run_module(
        "orchestrator.bench.quality_child", [str(question), str(answer), device], environment
    )
    found = TypeAdapter(Found).validate_json(answer.read_bytes(), context=JSON_CONTEXT)
    return ModelQuality(model, chosen.fingerprint(), found)


def write_quality(quality: Quality, path: Path) -> None:
    """Raises DiskError: it cannot be written."""
    from pydantic import TypeAdapter

    write_file(path, TypeAdapter(Quality).dump_json(quality, indent=2) + b"\n")


def quality_table(quality: Quality) -> Table:
    """One row a model that was measured."""
    from rich import box
    from rich.table import Table

    size = f"{quality.width}x{quality.height}, {quality.layout}"
    title = printable(f"{Path(quality.clip).name}: {quality.frames} frames of {size}")
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("Model")
    headings = ("MAD e-3", "MSE e-3", "dtSSD e-2", "IoU", "Frames/s", "CPU s/frame")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for one in quality.models:
        off = one.found.distance
        table.add_row(
            one.model,
            f"{1e3 * off.mad:.2f}",
            f"{1e3 * off.mse:.2f}",
            "" if off.dtssd is None else f"{1e2 * off.dtssd:.2f}",
            f"{off.iou:.4f}",
            f"{one.frames_per_second:.2f}",
            f"{one.cpu_s_per_frame:.3f}",
        )
    return table


def remarks(quality: Quality) -> Iterator[str]:
    """The models that were not measured, each with its reason."""
    for one in quality.not_measured:
        yield printable(f"{one.model}: {one.reason}")
