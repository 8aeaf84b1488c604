"""`vrmatte preview`: matte some frames of a video as a run would, and draw them on one sheet."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from orchestrator.estimate.model_trial import try_models
from orchestrator.machine.devices import Gpu, devices_here, list_gpus
from orchestrator.plan.choose_model import ModelChooser
from orchestrator.plan.per_file import settled_candidates
from orchestrator.plan.settle import SettleModel, settle_settings
from orchestrator.preview.at_hand import VideoAtHand
from orchestrator.preview.column import Column, ColumnRequest, column_by_child
from orchestrator.preview.compared import compare, require_models
from orchestrator.preview.drawn import one_model_sheet, require_sheet, write_sheet
from orchestrator.preview.frames import chosen_frames
from orchestrator.preview.request import Preview, PreviewRequest
from orchestrator.settings.settings import (
    Settings,
    forced_layout,
    forced_projection,
    video_settings,
)
from pipeline.contract import AS_SOURCE, NO_MODEL, MattingSettings
from pipeline.errors import SettingsError
from pipeline.source.probe import probe_video


def preview(
    request: PreviewRequest,
    fetch_model: Callable[[MattingSettings], object],
    gpus: Callable[[], list[Gpu]] = list_gpus,
    settle_model: SettleModel = lambda matting: matting,
    on_step: Callable[[str], None] = lambda what: None,
    make_column: Callable[[ColumnRequest], Column] = column_by_child,
) -> Preview:
    """Write the sheet; its frames are numbered as the whole video counts them.

    Args:
        on_step: told what is done, in words.
        make_column: mattes the frames with one model.

    Raises:
        VrmatteError: the video, the settings or the machine cannot be used; its message says why.
    """
    require_sheet(request.sheet)
    if not request.compare and request.settings.matting.model == NO_MODEL:
        raise SettingsError(
            "a preview shows mattes, and matting.model: none makes none", "name a model (--model)"
        )
    # It shows the mattes, which are made before anything is enhanced.
    settings = request.settings.model_copy(update={"enhance": AS_SOURCE})
    request = replace(request, settings=settings)
    require_models(request.compare, request.settings)
    devices = devices_here(request.settings.workers, gpus())
    settle = partial(
        settle_settings, device_kind=devices.kind, digests={}, settle_model=settle_model
    )
    settled = None if request.compare else settle(request.settings)
    with tempfile.TemporaryDirectory(prefix="vrmatte-preview-") as name:
        folder, index_path = Path(name), Path(name, "index.json")
        on_step("reading the video")
        info = probe_video(
            request.video,
            index_path,
            layout=forced_layout(request.settings),
            projection=forced_projection(request.settings),
            deadline_s=request.settings.input.probe_timeout_s,
        )
        video = VideoAtHand(
            request, info, index_path, folder, devices.first, fetch_model, make_column, on_step
        )
        if settled is None:
            return compare(video, settle)
        settings, chosen = _with_suited_model(video, settled, settle)
        ready = video.ready(settings)
        frames = chosen_frames(ready.info, request.at, ready.prompts)
        shown = video.show(ready, frames, ready.prompts)
        write_sheet(one_model_sheet(shown, frames, request.width), request.sheet)
        numbers = tuple(frame * ready.info.every for frame in frames)
        return Preview(numbers, (shown.verdict,), chosen)


def _with_suited_model(
    video: VideoAtHand, settled: Settings, settle: Callable[[Settings], Settings]
) -> tuple[Settings, str]:
    """The settings with the model that suits the video, and why; nothing where it was named."""
    asked = video.request.settings
    found = {video_settings(each): each for each in settled_candidates(asked, settled, settle)}
    if len(found) == 1:
        return next(iter(found.values())), ""
    chooser = ModelChooser(
        video.folder,
        lambda trial: try_models(trial, video.device),
        video.fetch_model,
        video.on_step,
    )
    suited = chooser.choose(video.info, tuple(found), video.index_path)
    settings = found[suited.settings]
    return settings, f"{settings.matting.model}: {suited.why}"
