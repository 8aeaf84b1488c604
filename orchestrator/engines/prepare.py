"""`vrmatte engines build`: build what videos need before they are planned."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from orchestrator.engines.request import BuildEngine, EngineRequest, build_engine
from orchestrator.machine.devices import Gpu, devices_here, driver_version, list_gpus
from orchestrator.settings.settings import (
    Settings,
    forced_layout,
    forced_projection,
    video_settings,
)
from pipeline.contract import MattingSettings
from pipeline.engines.catalogue import ENGINES, EngineName, EngineRow
from pipeline.engines.choice import settled_engine
from pipeline.engines.compiled_files import CompiledFiles, Key
from pipeline.engines.keys import Buildable, key_of
from pipeline.errors import SettingsError
from pipeline.source.probe import probe_video
from pipeline.stages.matting.catalogue import candidates, facts_of, function_of
from pipeline.stages.matting.weights import compiled_folder
from pipeline.text import printable


@dataclass(frozen=True, slots=True)
class Built:
    """What became of one engine, in a line."""

    line: str
    refused: bool


def built_for(
    videos: Sequence[Path],
    settings: Settings,
    engine: str,
    fetch_model: Callable[[MattingSettings], object],
    on_step: Callable[[str], object],
    *,
    build: BuildEngine = build_engine,
    gpus: Callable[[], list[Gpu]] = list_gpus,
    driver: Callable[[], str] = driver_version,
) -> list[Built]:
    """Build for the first device of the workers; one for each kind of eye.

    Args:
        engine: its name.
        on_step: told what is done, in words.

    Raises:
        VrmatteError: the engine cannot be had, or a video or a model cannot be used.
    """
    row = _row(engine)
    devices = devices_here(settings.workers, gpus())
    processing = replace(settings.processing, engine=row.name, engine_file=None)
    matting = next(
        (each for each in candidates(settings.matting) if row.name in facts_of(each).engines), None
    )
    if matting is None:
        raise SettingsError(
            f"{row.name} runs the network of no model that is asked for", "name one by --model"
        )
    facts = facts_of(matting)
    processing = settled_engine(processing, facts.engines, devices.kind)
    fetch_model(matting)
    settings = settings.model_copy(update={"matting": matting, "processing": processing})
    asked = video_settings(settings)
    device = next(iter(devices.names), devices.kind)
    found: dict[Key, Built] = {}
    files = CompiledFiles(compiled_folder())
    for video in videos:
        on_step(f"reading {printable(video.name)}")
        with tempfile.TemporaryDirectory(prefix="vrmatte-engines-") as name:
            info = probe_video(
                video,
                Path(name, "index.json"),
                layout=forced_layout(settings),
                projection=forced_projection(settings),
                deadline_s=settings.input.probe_timeout_s,
            )
        assert facts.buildable is not None
        what = function_of(facts, facts.buildable)(
            matting, processing, info.eye_shape, devices.kind
        )
        if not isinstance(what, Buildable):
            raise SettingsError(f"{row.name} cannot make {printable(video.name)}: {what}")
        key = key_of(row.name, what, device, driver() if devices.on_gpu else "")
        if key in found:
            continue
        files.drop_stale(key)
        shape = "x".join(map(str, key.shapes[0]))
        on_step(f"building {row.name} for {key.network}, {shape}: this takes minutes")
        request = EngineRequest(info, asked, key, str(compiled_folder()))
        answer = build(request, devices.first)
        said = f"{row.name}, {key.network}, {shape}, {key.precision}, {device}"
        if answer.refused is None:
            found[key] = Built(f"{answer.digest}  {said}", False)
        else:
            found[key] = Built(f"refused: {said}: {printable(answer.refused)}", True)
    return list(found.values())


def _row(name: str) -> EngineRow:
    row = ENGINES.get(name)
    if row is None:
        names = ", ".join(get_args(EngineName))
        raise SettingsError(f"there is no engine {name!r}", f"it should be one of {names}")
    if not row.in_background:
        built = [each.name for each in ENGINES.values() if each.in_background]
        raise SettingsError(
            f"{name} is made ready when a worker starts: there is nothing to build",
            f"this is for {', '.join(built)}",
        )
    return row
