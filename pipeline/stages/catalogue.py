"""The stages that a chain can have: one row each, in the order in which frames meet them.

Loads no torch: planning asks here what takes part and how large the pictures will be.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pipeline.contract import (
    AS_MATTED,
    NO_MODEL,
    EyeShape,
    ProcessingSettings,
    VideoInfo,
    VideoSettings,
)
from pipeline.errors import SettingsError
from pipeline.plugins import Catalogue
from pipeline.stages.matting.catalogue import LOOK_EVERY, by_boxes

if TYPE_CHECKING:
    import torch

    from pipeline.stages.base import Stage


#: Steps before and after the chain, as they are called where its stages are timed.
NOT_STAGES = ("decode", "planes", "encode")

#: Of the stage `edges`: alpha and colours as floats beside those of the model, 18.5 at 8192x4096.
_EDGES_BYTES_PER_PIXEL = 20

#: Of enlarged pictures: what came in and what goes out, alpha and foreground with them.
_ENHANCE_BYTES_PER_PIXEL = 24
#: Frames before as floats, one that is moved, and where to.
_STEADY_BYTES_PER_PIXEL = 40


def _same(eye: EyeShape, settings: VideoSettings) -> EyeShape:
    return eye


@dataclass(frozen=True, slots=True)
class StageRow:
    """One stage, as planning sees it.

    Another package registers its row under the entry point group ``vrmatte.stages``.

    Attributes:
        name: what its findings and its seconds are called.
        factory: ``module:function``, (settings, device) -> Stage.
        takes_part: whether settings ask for it; of another package's, `processing.stages` decides.
        reads: the settings that the stage is made of, everything else at its default: videos for
            which they are equal share one stage in a worker. None: it is made for each segment.
        needs, gives: layers that it must find, and adds (see `pipeline.pixels.layers.Layers`).
        shape: the shape of the eyes that come out.
        held_frames: frames that it holds back, whole pictures of them.
        bytes_per_pixel: memory that each frame of a chunk takes in it, beyond what is planned for
            the matting model, for each pixel that comes out, of both eyes together.
    """

    name: str
    factory: str
    takes_part: Callable[[VideoSettings], bool] = lambda settings: True
    reads: Callable[[VideoSettings], VideoSettings] | None = None
    needs: frozenset[str] = frozenset({"rgb"})
    gives: frozenset[str] = frozenset()
    shape: Callable[[EyeShape, VideoSettings], EyeShape] = _same
    bytes_per_pixel: int = 0
    held_frames: Callable[[VideoSettings], int] = lambda settings: 0

    def __post_init__(self) -> None:
        if not self.name.isidentifier() or self.name in NOT_STAGES:
            raise ValueError(f"a stage cannot be called {self.name!r}")


@dataclass(frozen=True, slots=True)
class StageChoice:
    """All that decides what stage is made: equal choices make equal stages."""

    stage: str
    settings: VideoSettings

    @property
    def is_kept(self) -> bool:
        """Whether one stage serves several segments and videos."""
        return STAGES[self.stage].reads is not None


def _mattes(settings: VideoSettings) -> bool:
    return settings.matting.model != NO_MODEL


def _enlarged(eye: EyeShape, settings: VideoSettings) -> EyeShape:
    scale = settings.enhance.scale
    return replace(eye, height=eye.height * scale, width=eye.width * scale)


def _read_by_enhancement(settings: VideoSettings) -> VideoSettings:
    return VideoSettings(enhance=settings.enhance)


def _held_by_matting(settings: VideoSettings) -> int:
    return LOOK_EVERY if by_boxes(settings) else 0


def _read_by_matting(settings: VideoSettings) -> VideoSettings:
    """Without what models do not look at, which is all that is done to their mattes, too.

    Who the subject is reaches a model with each video (`pipeline/prompts/store.py`).
    """
    said, decoded = type(settings.matting)(), ProcessingSettings()
    matting = replace(
        settings.matting,
        prompts=said.prompts,
        dlc_csv=said.dlc_csv,
        dlc_bodyparts=said.dlc_bodyparts,
        dlc_likelihood=said.dlc_likelihood,
        edges=said.edges,
    )
    processing = replace(
        settings.processing,
        adaptive_scaling=decoded.adaptive_scaling,
        decode_threads=decoded.decode_threads,
        stages=decoded.stages,
    )
    return VideoSettings(matting=matting, processing=processing)


#: In this order; those that other packages register follow, as `processing.stages` names them.
STAGES = Catalogue(
    "stage",
    "vrmatte.stages",
    StageRow,
    (
        StageRow(
            "matting",
            "pipeline.stages.matting.stage:make",
            takes_part=_mattes,
            reads=_read_by_matting,
            gives=frozenset({"alpha", "foreground", "objects"}),
            held_frames=_held_by_matting,
        ),
        StageRow(
            "stereo",
            "pipeline.stages.stereo.stage:make",
            takes_part=_mattes,
            needs=frozenset({"rgb", "alpha"}),
        ),
        StageRow(
            "edges",
            "pipeline.stages.edges.stage:make",
            takes_part=lambda settings: settings.matting.edges != AS_MATTED,
            needs=frozenset({"rgb", "alpha"}),
            gives=frozenset({"foreground"}),
            bytes_per_pixel=_EDGES_BYTES_PER_PIXEL,
        ),
        StageRow(
            "steady_matte",
            "pipeline.stages.enhance.steady:make_steady_matte",
            takes_part=lambda settings: _mattes(settings) and settings.enhance.steady_matte > 0,
            reads=_read_by_enhancement,
            needs=frozenset({"rgb", "alpha"}),
            bytes_per_pixel=_STEADY_BYTES_PER_PIXEL,
        ),
        StageRow(
            "judge",
            "pipeline.judge.stage:make",
            takes_part=_mattes,
            needs=frozenset({"rgb", "alpha"}),
        ),
        StageRow(
            "denoise",
            "pipeline.stages.enhance.steady:make_denoise",
            takes_part=lambda settings: settings.enhance.calms != 0,
            reads=_read_by_enhancement,
            bytes_per_pixel=_STEADY_BYTES_PER_PIXEL,
        ),
        StageRow(
            "super_resolution",
            "pipeline.stages.enhance.super_resolution:make",
            takes_part=lambda settings: settings.enhance.scale > 1,
            reads=_read_by_enhancement,
            shape=_enlarged,
            bytes_per_pixel=_ENHANCE_BYTES_PER_PIXEL,
        ),
        StageRow(
            "stabilise",
            "pipeline.stages.enhance.steady:make_stabilise",
            takes_part=lambda settings: settings.enhance.history > 0,
            reads=_read_by_enhancement,
            bytes_per_pixel=_STEADY_BYTES_PER_PIXEL,
        ),
    ),
)


def chosen_rows(settings: VideoSettings) -> tuple[StageRow, ...]:
    """The stages that settings ask for, in order.

    Raises:
        SettingsError: one of them does not exist, or is named twice, or needs a layer that no
            stage before it gives.
    """
    names = settings.processing.stages
    for place, name in enumerate(names):
        if name in STAGES.built_in or name in names[:place]:
            raise SettingsError(
                f"processing.stages: {name!r} takes part already", "leave it out of the list"
            )
    built_in = [row for row in STAGES.built_in.values() if row.takes_part(settings)]
    rows = (*built_in, *(STAGES[name] for name in names))
    given = {"rgb"}
    for row in rows:
        if missing := sorted(row.needs - given):
            raise SettingsError(
                f"the stage {row.name!r} needs {' and '.join(missing)}, which no stage before it"
                " gives",
                "look at processing.stages",
            )
        given |= row.gives
    return rows


def chosen_stages(settings: VideoSettings) -> tuple[StageChoice, ...]:
    """What is to be made for a video under these settings, in order."""
    return tuple(
        StageChoice(row.name, settings if row.reads is None else row.reads(settings))
        for row in chosen_rows(settings)
    )


def make_stage(choice: StageChoice, device: torch.device) -> Stage:
    """Make one stage for a device.

    Raises:
        SettingsError: another package's stage cannot be loaded, or an option is wrong.
        MachineError: weights or a device are not to be had.
    """
    row = STAGES[choice.stage]
    stage: Stage = STAGES.load(row.name, row.factory)(choice.settings, device)
    return stage


def output_video(video: VideoInfo, settings: VideoSettings) -> VideoInfo:
    """The video as formats are given it: with the size that its last stage gives it."""
    eye = video.eye_shape
    for row in chosen_rows(settings):
        eye = row.shape(eye, settings)
    return video.shown_as(eye)
