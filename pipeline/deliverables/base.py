"""`Deliverable`: the interface of an output format, and how one is made by name.

A deliverable turns frames and their matte into the planes its encoder eats, on the device; it
opens that encoder for one segment, and joins finished segments into one file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pipeline.contract import VideoInfo, VideoSettings
from pipeline.deliverables.cut import Run
from pipeline.deliverables.format import parted
from pipeline.deliverables.formats import FORMATS
from pipeline.encode.ffmpeg_pipe import Encoder
from pipeline.errors import SettingsError
from pipeline.pixels.layers import Layers
from pipeline.verify.selfcheck import Sample


@dataclass(frozen=True, slots=True)
class Joined:
    """A file that was made of segments.

    Attributes:
        digest: sha256 of the file as it was compared with its segments, hexadecimal; None where no
            such comparison read all of it.
        notes: what was given up for it, one line each.
    """

    digest: str | None = None
    notes: tuple[str, ...] = ()


class Deliverable(Protocol):
    """One output format of one video under its settings. Does not change after it is made."""

    @property
    def name(self) -> str:
        """Of its format."""
        ...

    @property
    def suffix(self) -> str:
        """Of its files, as its format has it."""
        ...

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

    def join(self, segments: Sequence[Path], frames: Sequence[int], target: Path) -> Joined | None:
        """Make one file of the segments (`frames` are their lengths), with sound and tags.

        Returns:
            None: nothing is known of it, and nothing was given up.

        Raises:
            SoundFault: a track of the source cannot be had. It is joined again without it.
            EncodeError: the file cannot be made.
        """
        ...

    def cut(self, path: Path, runs: Sequence[Run], like: Path) -> str | None:
        """Write runs of a joined file's frames, ascending, as `join` takes segments: copied.

        A run begins where a segment does. The file is what `join` made of segments under settings
        that may differ in what is shown, and not in how it is coded.

        Args:
            like: a segment that the runs will be joined with.

        Returns:
            sha256 of the joined file as it was read, hexadecimal; None: not all of it was read.

        Raises:
            EncodeError: the file is not as it was made.
            DiskError: a run cannot be written.
        """
        ...

    def overhead_bytes(self, num_frames: int) -> int:
        """What the joined file takes on disk besides what its segments do, at the most."""
        ...

    def verify(self, path: Path, num_frames: int) -> str | None:
        """Raises EncodeError unless the joined file is whole and what it should be.

        Returns:
            sha256 of the file as it was read for that, hexadecimal; None where not all of it was,
            so that it must be read once more.
        """
        ...


DeliverableFactory = Callable[[VideoInfo, VideoSettings], Deliverable]

#: (path, whether every frame is decoded, or else the first, the middle and the last) -> number of
#: frames, and those that were decoded: each with its number, and its alpha as ``[H, W]`` in 0..1.
ReadBack = Callable[[Path, bool], tuple[int, Iterator[tuple[int, NDArray[np.float32]]]]]


def make_deliverable(name: str, video: VideoInfo, settings: VideoSettings) -> Deliverable:
    """The deliverable of a format, or of one object alone in it (``NAME.NUMBER``).

    Raises:
        SettingsError: no format has that name, or it cannot be had.
        InputError: it cannot hold that video.
    """
    from pipeline.deliverables.of_object import OfObject  # which is one

    name, number = parted(name)
    row = FORMATS[name]
    factory: DeliverableFactory = FORMATS.load(name, row.factory)
    made = factory(video, settings)
    if (made.name, made.suffix) != (name, row.suffix):
        raise SettingsError(
            f"the format {name!r} ({row.suffix}) makes one called {made.name!r} ({made.suffix})",
            "repair or uninstall its package",
        )
    return made if number is None else OfObject(made, number)
