"""What a deliverable is, and where one is found by name.

A deliverable turns frames and their matte into the planes its encoder eats, on the device; it
opens that encoder for one segment, and joins finished segments into one file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import ClassVar, Protocol

from torch import Tensor

from pipeline.contract import VideoInfo, VideoSettings
from pipeline.encode.ffmpeg_pipe import Encoder
from pipeline.errors import SettingsError
from pipeline.pixels.layers import Layers
from pipeline.verify.selfcheck import Sample


class Deliverable(Protocol):
    """One output format of one video under its settings. Does not change after it is made."""

    name: ClassVar[str]
    suffix: ClassVar[str]

    def planes(self, layers: Layers) -> Tensor:
        """uint8 ``[T, bytes of a frame]`` on the device of the frames."""
        ...

    def open_segment(self, path: Path) -> Encoder:
        """An encoder that writes one segment to `path`."""
        ...

    def check_segment(self, path: Path, num_frames: int, samples: Sequence[Sample]) -> None:
        """Raises EncodeError unless `path` is a whole segment of that many frames, and shows what
        the model gave of those in `samples`."""
        ...

    def join(self, segments: Sequence[Path], frames: Sequence[int], target: Path) -> None:
        """Make one file of the segments (`frames` are their lengths), with sound and tags."""
        ...

    def overhead_bytes(self, num_frames: int) -> int:
        """What the joined file takes on disk besides what its segments do, at the most."""
        ...

    def verify(self, path: Path, num_frames: int) -> None:
        """Raises EncodeError unless the joined file is whole and what it should be."""
        ...


DeliverableFactory = Callable[[VideoInfo, VideoSettings], Deliverable]

BUILT_IN = {
    "webm": "pipeline.deliverables.webm:WebM",
    "greenscreen": "pipeline.deliverables.greenscreen:GreenScreen",
    "matte": "pipeline.deliverables.matte:Matte",
    "alphapack": "pipeline.deliverables.alphapack:AlphaPack",
    "hevc-alpha": "pipeline.deliverables.hevc_alpha:HevcAlpha",
    "tiff": "pipeline.deliverables.tiff:Tiff",
    "prores": "pipeline.deliverables.prores:ProRes",
}


def deliverable_names() -> list[str]:
    """Names of the built-in deliverables and of those that other packages register."""
    found = {point.name for point in entry_points(group="vrmatte.deliverables")}
    return [*BUILT_IN, *sorted(found - set(BUILT_IN))]


def make_deliverable(name: str, video: VideoInfo, settings: VideoSettings) -> Deliverable:
    """Raises SettingsError when there is no deliverable of that name."""
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        factory: DeliverableFactory = getattr(import_module(module), attribute)
        return factory(video, settings)
    for point in entry_points(group="vrmatte.deliverables", name=name):
        factory = point.load()
        return factory(video, settings)
    raise SettingsError(
        f"there is no format named {name!r}", f"choose one of: {', '.join(deliverable_names())}"
    )
