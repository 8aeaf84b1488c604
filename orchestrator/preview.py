"""`vrmatte preview`: matte some frames of a video as a run would, and draw them on one sheet."""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePath

from orchestrator.child_module import run_module
from orchestrator.estimate.model_trial import try_models
from orchestrator.machine.devices import (
    Gpu,
    devices_here,
    list_gpus,
    usable_cores,
    usable_memory,
)
from orchestrator.machine.segment_memory import segment_bytes, share
from orchestrator.plan.choose_model import ModelChooser
from orchestrator.plan.per_file import settled_candidates
from orchestrator.plan.prompts_for import on_frames_taken, prompts_for
from orchestrator.plan.settle import SettleModel, settle_settings
from orchestrator.settings.settings import (
    Settings,
    forced_layout,
    forced_projection,
    video_settings,
)
from orchestrator.words import TIME_FORMS, clock, seconds_of
from pipeline.contract import Finding, MattingSettings, SegmentJob, VideoInfo, VideoSettings
from pipeline.deliverables.kept import with_fields
from pipeline.errors import SettingsError, VrmatteError
from pipeline.judge.doubt import Doubt, doubts_of
from pipeline.prompts.prompts import Prompts
from pipeline.prompts.store import digest_of, keep_prompts, pack
from pipeline.source.probe import probe_video
from pipeline.stages.matting.catalogue import JSON_CONTEXT
from pipeline.text import printable
from workers.launch import WORKER_ENVIRONMENT

#: The frames shown by default: these shares of the video's length.
_SHARES = (0.1, 0.5, 0.9)
#: Most frames with prompts that are shown by default.
_MOST_PROMPTED = 6


@dataclass(frozen=True, slots=True)
class PreviewRequest:
    """The command line.

    Attributes:
        at: times, as ``12.5``, ``1:02`` or ``1:00:02``; none: some are chosen.
        sheet: the picture that is written, PNG or JPEG by its name.
        width: of each picture on it, in pixels.
    """

    video: Path
    settings: Settings
    sheet: Path
    at: tuple[str, ...] = ()
    width: int = 640


@dataclass(frozen=True, slots=True)
class Preview:
    """What a sheet shows: the frames on it, and the doubts about their mattes.

    Attributes:
        model: that was chosen for the video, and why; empty where a person named it.
    """

    frames: tuple[int, ...]
    doubts: tuple[Doubt, ...] = ()
    model: str = ""


@dataclass(frozen=True, slots=True)
class Sheet:
    """The request to the process that draws; it works on `at_once` frames at a time."""

    job: SegmentJob
    frames: tuple[int, ...]
    prompts: Prompts | None
    path: str
    width: int
    device: str
    at_once: int


def path_below(folder: Path | None, video: Path) -> PurePath:
    """The path of a video as overrides see it in a run on `folder`; without one, on itself.

    Raises:
        SettingsError: it does not lie there.
    """
    if folder is None:
        return PurePath(video.name)
    # As in a run, links below the folder keep their names; those that lead to it have none.
    parents = os.path.normpath(video.parent.absolute()), os.path.realpath(video.parent)
    roots = os.path.normpath(folder.absolute()), os.path.realpath(folder)
    for parent, root in itertools.product(parents, roots):
        if PurePath(parent).is_relative_to(root):
            return PurePath(parent, video.name).relative_to(root)
    raise SettingsError(
        f"{printable(str(video))} does not lie below {printable(str(folder))}",
        "give the folder that `vrmatte run` is given",
    )


def preview(
    request: PreviewRequest,
    fetch_model: Callable[[MattingSettings], object],
    gpus: Callable[[], list[Gpu]] = list_gpus,
    settle_model: SettleModel = lambda matting: matting,
) -> Preview:
    """Write the sheet; its frames are numbered as the whole video counts them.

    Raises:
        VrmatteError: the video, the settings or the machine cannot be used; its message says why.
    """
    from pydantic import TypeAdapter

    if not request.sheet.absolute().parent.is_dir():
        raise SettingsError(f"there is no folder for {request.sheet}", "make it, or name another")
    if request.sheet.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise SettingsError(f"{request.sheet} is no name of a picture", "end it in .png or .jpg")
    if request.sheet.is_dir():
        raise SettingsError(f"{request.sheet} is a folder", "name a picture in it")
    devices = devices_here(request.settings.workers, gpus())
    device = devices.first
    settle = partial(
        settle_settings, device_kind=devices.kind, digests={}, settle_model=settle_model
    )
    settings = settle(request.settings)
    with tempfile.TemporaryDirectory(prefix="vrmatte-preview-") as name:
        folder = Path(name)
        info = probe_video(
            request.video,
            folder / "index.json",
            layout=forced_layout(settings),
            projection=forced_projection(settings),
            deadline_s=settings.input.probe_timeout_s,
        )
        found = {
            video_settings(each): each
            for each in settled_candidates(request.settings, settings, settle)
        }
        why = ""
        if len(found) > 1:
            chooser = ModelChooser(folder, lambda trial: try_models(trial, device), fetch_model)
            suited = chooser.choose(info, tuple(found), folder / "index.json")
            settings, why = found[suited.settings], suited.why
        prompts = prompts_for(settings.matting, request.video, info, folder / "index.json")
        chosen = replace(video_settings(settings), start_frame=0)  # any frame may be asked for
        info = with_fields(info.every_nth(chosen.every), chosen)
        if prompts is not None:
            prompts = on_frames_taken(prompts, info)
            packed = pack(prompts)
            keep_prompts(folder, packed)
            chosen = replace(chosen, prompts_sha256=digest_of(packed))
        frames = chosen_frames(info, request.at, prompts)
        fetch_model(settings.matting)
        index = str(folder / "index.json")
        job = SegmentJob(info, chosen, 0, 0, info.num_frames, index, name)
        sheet = Sheet(
            job,
            frames,
            prompts,
            str(request.sheet.absolute()),
            request.width,
            "cpu" if device == "cpu" else f"cuda:{device}",
            _at_once(info, chosen, len(frames)) if device == "cpu" else 1,
        )
        asked = folder / "sheet.json"
        asked.write_bytes(TypeAdapter(Sheet).dump_json(sheet))
        environment = {k: v for k, v in WORKER_ENVIRONMENT.items() if k not in os.environ}
        environment["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
        said = folder / "findings.json"
        run_module("orchestrator.preview", [str(asked), str(said)], environment)
        findings = TypeAdapter(list[Finding]).validate_json(said.read_bytes())
    numbers = tuple(frame * info.every for frame in frames)
    model = settings.matting.model
    return Preview(numbers, doubts_of(findings, model), f"{model}: {why}" if why else "")


def _at_once(info: VideoInfo, settings: VideoSettings, frames: int) -> int:
    """How many frames the cores and the memory of this machine allow at a time."""
    room = share(1, usable_memory(), None, None, None).ram_for_segments or 0
    each, _ = segment_bytes(info, settings, 1, on_gpu=False)
    return max(1, min(frames, usable_cores(), room // each))


def chosen_frames(info: VideoInfo, at: Sequence[str], prompts: Prompts | None) -> tuple[int, ...]:
    """Numbers of frames of `info`, ascending.

    Raises:
        SettingsError: a time is not written as one, or is after the video's end.
    """
    if at:
        return tuple(sorted({_frame_at(info, text) for text in at}))
    if prompts is not None and prompts.prompts:
        said = sorted({prompt.frame for prompt in prompts.prompts if prompt.corrects})
        if said:
            return tuple(said[:_MOST_PROMPTED])
    return tuple(sorted({int(share * (info.num_frames - 1)) for share in _SHARES}))


def _frame_at(info: VideoInfo, text: str) -> int:
    try:
        frame = int(seconds_of(text) * info.frame_rate)
    except ValueError as error:
        raise SettingsError(str(error), f"write {TIME_FORMS}") from None
    if frame >= info.num_frames:
        raise SettingsError(
            f"{text} is after the end of {Path(info.path).name}, which is at"
            f" {clock(info.duration_s)}",
            "choose an earlier time",
        )
    return frame


def draw(sheet: Sheet) -> list[Finding]:
    """Matte the frames and write the sheet, whole or not at all; what the stages found."""
    import torch

    from pipeline.contact_sheet import Mark, Row, contact_sheet
    from pipeline.contract import eye_size
    from pipeline.files.disk import writing
    from pipeline.pixels.eyes import eye_corner
    from pipeline.preview import preview_frames

    video = sheet.job.video
    prompts = sheet.prompts.prompts if sheet.prompts is not None else ()

    findings: list[Finding] = []

    def rows() -> Iterator[Row]:
        device = torch.device(sheet.device)
        for shown in preview_frames(sheet.job, sheet.frames, device, sheet.at_once):
            findings.extend(shown.findings)
            seconds = float(shown.number / video.frame_rate)
            model = sheet.job.settings.matting.model
            marks = []
            for prompt in prompts:
                if prompt.frame == shown.number and prompt.corrects:
                    size = video.even_height, video.even_width
                    corner = eye_corner(video.layout, video.right_first, prompt.eye, *size)
                    height, width = eye_size(video.layout, *size)
                    marks.append(Mark(prompt, *corner, width, height))
            number = shown.number * video.every
            yield Row(f"{clock(seconds)}, frame {number}, {model}", shown, marks)

    path = Path(sheet.path)
    draft = path.with_name(f".{path.stem}.part{path.suffix}")
    with writing(path):
        try:
            contact_sheet(rows(), sheet.width).save(draft)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    return findings


def main(request: str, said: str) -> None:
    from pydantic import TypeAdapter

    text = Path(request).read_bytes()
    found = draw(TypeAdapter(Sheet).validate_json(text, context=JSON_CONTEXT))
    Path(said).write_bytes(TypeAdapter(list[Finding]).dump_json(found))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except VrmatteError as error:
        sys.exit(f"error: {error}")
