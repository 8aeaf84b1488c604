"""Opens a video for reading, however its eyes lie in the file: in one track, or in two."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from pipeline.contract import VideoInfo
from pipeline.contract.processing import KernelChoice
from pipeline.pixels.batches import FrameBatch
from pipeline.source.decode import FrameReader
from pipeline.source.timing.frame_index import FrameIndex


class Reader(Protocol):
    """What reads frames of one file, for one thread; see `pipeline.source.decode.FrameReader`."""

    @property
    def decoder(self) -> str: ...

    @property
    def concealed_frames(self) -> list[int]: ...

    def batches(self, start: int, stop: int, size: int, /) -> Iterator[FrameBatch]: ...

    def picture(self, frame: int, /) -> Tensor: ...


def open_reader(
    video: VideoInfo,
    index: FrameIndex,
    device: torch.device,
    *,
    threads: int = 2,
    cpu_decode: bool = False,
    fine: bool = False,
    kernels: KernelChoice = "auto",
) -> Reader:
    """A reader of `video`; arguments and errors are those of `FrameReader`."""

    def of(one: VideoInfo) -> FrameReader:
        return FrameReader(
            *(one, index, device),
            threads=threads,
            cpu_decode=cpu_decode,
            fine=fine,
            kernels=kernels,
        )

    return of(video) if video.right_stream is None else EyesReader(*map(of, eyes_apart(video)))


def eyes_apart(video: VideoInfo) -> tuple[VideoInfo, VideoInfo]:
    """The left and the right eye of a video of two tracks, each as a video of its own."""
    assert video.right_stream is not None
    left = replace(video, width=video.width // 2, layout="mono", right_stream=None)
    return left, replace(left, stream=video.right_stream)


class EyesReader:
    """Puts the pictures of two tracks side by side. Both have the frames of one index."""

    def __init__(self, left: FrameReader, right: FrameReader) -> None:
        self._eyes = left, right

    @property
    def decoder(self) -> str:
        return " and ".join(dict.fromkeys(eye.decoder for eye in self._eyes))

    @property
    def concealed_frames(self) -> list[int]:
        """Output frames so far that a decoder never gave, for either eye."""
        return sorted({frame for eye in self._eyes for frame in eye.concealed_frames})

    def batches(self, start: int, stop: int, size: int) -> Iterator[FrameBatch]:
        """As `FrameReader.batches`."""
        pairs = zip(*(eye.batches(start, stop, size) for eye in self._eyes), strict=True)
        for left, right in pairs:
            fine = None
            if left.fine is not None and right.fine is not None:
                fine = torch.cat([left.fine, right.fine], dim=3)
            yield FrameBatch(torch.cat([left.rgb, right.rgb], dim=3), left.start, fine=fine)

    def picture(self, frame: int) -> Tensor:
        """As `FrameReader.picture`."""
        return torch.cat([eye.picture(frame) for eye in self._eyes], dim=2)
