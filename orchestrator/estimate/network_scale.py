"""`processing.adaptive_scaling`: choose the network's size once per video, by a trial.

The choice is recorded in OUT under the video and its settings, because it decides pixels: a run
that is resumed, on any machine, uses it again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock

from orchestrator.estimate.lanes_wanted import network_usage
from orchestrator.estimate.trial import StageRequest, Stages, require_index
from orchestrator.out.folder import NOTE_DIGITS
from orchestrator.settings.settings import Settings
from pipeline.contract import AdaptiveScaling, VideoInfo, VideoSettings
from pipeline.errors import SettingsError
from pipeline.files.disk import make_folder, write_file, writing
from pipeline.foreign.json_text import read_json
from pipeline.stages.matting.catalogue import candidates, facts_of, usable

#: Frames of a trial, without the first chunk, which is not counted.
TRIAL_FRAMES = 16

#: A size is remembered with this many digits, so that it is the same number everywhere.
_DIGITS = 4

Measure = Callable[[StageRequest], Stages]


def require_scalable(settings: Settings) -> None:
    """Raises SettingsError: the network has no size to choose, or it is set by hand already."""
    if settings.processing.adaptive_scaling is None:
        return
    scaling = settings.processing.adaptive_scaling
    model = settings.matting.model
    if not any(facts_of(each).has_scale for each in candidates(settings.matting)):
        names = [each.name for each in usable() if each.has_scale]
        raise SettingsError(
            f"processing.adaptive_scaling: {model} has no network whose size could be chosen",
            f"it is for: {', '.join(names)}",
        )
    if settings.processing.scale_factor is not None:
        raise SettingsError(
            "processing.scale_factor and processing.adaptive_scaling are both set", "keep one"
        )
    if scaling.min_scale > scaling.max_scale:
        raise SettingsError(
            f"processing.adaptive_scaling: min_scale {scaling.min_scale:g} is above max_scale"
            f" {scaling.max_scale:g}",
            "exchange them",
        )


def sizes(scaling: AdaptiveScaling) -> list[float]:
    """The sizes that are tried, from the largest down."""
    found = [round(scaling.max_scale, _DIGITS)]
    while (smaller := round(found[-1] * scaling.scale_factor, _DIGITS)) > scaling.min_scale:
        found.append(smaller)
    least = round(scaling.min_scale, _DIGITS)
    return found if found[-1] <= least else [*found, least]


@dataclass(frozen=True, slots=True)
class Scaler:
    """Chooses the sizes; one trial at a time, and one for all videos that are alike.

    Attributes:
        folder: where the choices of this OUT are kept.
        measure: `orchestrator.estimate.trial.stages_alone` on a worker's device, or a double.
        cores: of one worker.
        on_trial: gets a description of each trial.
    """

    folder: Path
    measure: Measure
    cores: float
    on_gpu: bool
    on_trial: Callable[[str], None] = lambda what: None
    _lock: Lock = field(default_factory=Lock)
    _known: dict[object, float] = field(default_factory=dict)

    def scaled(self, info: VideoInfo, settings: VideoSettings, index_path: Path) -> VideoSettings:
        """The settings with the size of the network decided.

        Raises:
            IndexGoneError: a trial is due, and the frame index is not there.
            MachineError: the trial failed.
            DiskError: the choice cannot be recorded.
        """
        scaling = settings.processing.adaptive_scaling
        if scaling is None:
            return settings
        with self._lock:
            note = self.folder / f"{info.fingerprint[:NOTE_DIGITS]}-{settings.fingerprint()}.json"
            scale = _noted(note)
            if scale is None:
                require_index(index_path)
                scale = self._choose(info, settings, scaling, index_path)
                _note(note, scale)
        return replace(
            settings,
            processing=replace(settings.processing, scale_factor=scale, adaptive_scaling=None),
        )

    def _choose(
        self,
        info: VideoInfo,
        settings: VideoSettings,
        scaling: AdaptiveScaling,
        index_path: Path,
    ) -> float:
        """The largest size with which the network's share of its device is as wanted."""
        alike = (info.even_width, info.even_height, info.eyes, info.codec, info.bit_depth)
        key = (alike, settings.fingerprint())
        if key in self._known:
            return self._known[key]
        start = min(settings.first_frame, max(0, info.num_frames - 2))
        stop = min(info.num_frames, start + TRIAL_FRAMES)
        chosen = sizes(scaling)[-1]
        for scale in sizes(scaling):
            self.on_trial(f"trying the network at {scale:g} of an eye")
            processing = replace(settings.processing, scale_factor=scale, adaptive_scaling=None)
            trial = replace(settings, processing=processing)
            found = self.measure(StageRequest(info, trial, start, stop, str(index_path)))
            if network_usage(found, self.cores, self.on_gpu) <= scaling.target_gpu_usage:
                chosen = scale
                break
        self._known[key] = chosen
        return chosen


_LONGEST_NOTE = 1 << 16


def _noted(path: Path) -> float | None:
    try:
        scale = read_json(path, _LONGEST_NOTE)["scale_factor"]
    except (ValueError, LookupError, TypeError):  # not there, or damaged: try again
        return None
    return scale if isinstance(scale, float) and 0 < scale <= 1 else None


def _note(path: Path, scale: float) -> None:
    with writing(path):
        make_folder(path.parent)
    write_file(path, json.dumps({"scale_factor": scale}).encode() + b"\n")
