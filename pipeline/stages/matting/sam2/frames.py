"""Frames for SAM 2 when it asks for them: decoded then, a few kept, none on disk.

Stands in for the stock predictor's tensor of the whole video (12 MiB a frame). Knows nothing of
prompts and of what the network makes of a frame.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.contract import VideoInfo
from pipeline.pixels.batches import FrameBatch
from pipeline.pixels.eyes import split

#: Gives frames start..stop in order, each uint8 ``[3, H, W]``, 0..255.
ReadFrames = Callable[[int, int], Iterable[Tensor]]

# Of ImageNet, as in `sam2.utils.misc.load_video_frames`.
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


class LazyFrames:
    """The frames of a video by number, as SAM 2's image encoder wants them.

    Threads may share it: one of them reads at a time, and the others find what it read. Frames
    are kept small (3 bytes a pixel of the network's input), the one longest unused goes first.

    Args:
        read: called with the frames wanted, never more than `read_ahead` at once, nor by two
            threads at once.
        num_frames: of the video.
        image_size: S, the side of the network's square input in pixels.
        kept_frames: how many are held at most.
        read_ahead: how many are read at once, at most `kept_frames`: the one asked for and those
            after it, or those before it where the access runs backwards.
        device: where the frames shall be.

    Attributes:
        hits: accesses that found their frame.
        misses: accesses that had to read.
        frames_read: frames that `read` gave.
    """

    def __init__(
        self,
        read: ReadFrames,
        num_frames: int,
        image_size: int,
        *,
        kept_frames: int = 32,
        read_ahead: int = 8,
        device: torch.device | None = None,
    ) -> None:
        if not 1 <= read_ahead <= kept_frames:
            raise ValueError(f"read_ahead {read_ahead} must be 1..{kept_frames} (kept_frames)")
        self.hits = 0
        self.misses = 0
        self.frames_read = 0
        self._read = read
        self._num_frames = num_frames
        self._image_size = image_size
        self._kept_frames = kept_frames
        self._read_ahead = read_ahead
        self._device = device or torch.device("cpu")
        self._mean = torch.tensor(_MEAN, device=device)[:, None, None]
        self._std = torch.tensor(_STD, device=device)[:, None, None]
        self._kept: OrderedDict[int, Tensor] = OrderedDict()
        self._latest = 0
        self._keeping = threading.Lock()  # over everything above; never held while reading
        self._reading = threading.Lock()

    def __len__(self) -> int:
        return self._num_frames

    def __getitem__(self, frame: int) -> Tensor:
        """A frame as the stock loader gives it: float32 ``[3, S, S]``, normalised.

        Raises:
            IndexError: there is no such frame; negative numbers are not counted from the end.
            DecodeError: and whatever else `read` raises. Asking again reads again.
        """
        if not 0 <= frame < self._num_frames:
            raise IndexError(f"frame {frame} of a video of {self._num_frames}")
        picture = self._find(frame)
        if picture is None:
            with self._reading:
                picture = self._find(frame)  # another thread may have read it meanwhile
                if picture is None:
                    picture = self._read_around(frame)
        return picture.float().div_(255).sub_(self._mean).div_(self._std)

    @property
    def num_kept(self) -> int:
        with self._keeping:
            return len(self._kept)

    def clear(self) -> None:
        """Let go of every frame. The figures count on."""
        with self._keeping:
            self._kept.clear()

    def _find(self, frame: int) -> Tensor | None:
        with self._keeping:
            picture = self._kept.get(frame)
            if picture is not None:
                self.hits += 1
                self._latest = frame
                self._kept.move_to_end(frame)
            return picture

    def _read_around(self, frame: int) -> Tensor:
        with self._keeping:
            self.misses += 1
            wanted = self._block(frame, backwards=frame < self._latest)
            self._latest = frame
        asked_for: Tensor | None = None
        for number, picture in zip(wanted, self._read(wanted.start, wanted.stop), strict=True):
            small = self._shrunk(picture)
            if number == frame:
                asked_for = small
            with self._keeping:
                self.frames_read += 1
                while len(self._kept) >= self._kept_frames:
                    self._kept.popitem(last=False)
                self._kept[number] = small
        assert asked_for is not None
        return asked_for

    def _block(self, frame: int, *, backwards: bool) -> range:
        """What to read for the sake of `frame`: up to the first frame that is kept already."""
        start, stop = frame, frame + 1
        if backwards:
            limit = max(0, stop - self._read_ahead)
            while start > limit and start - 1 not in self._kept:
                start -= 1
        else:
            limit = min(self._num_frames, start + self._read_ahead)
            while stop < limit and stop not in self._kept:
                stop += 1
        return range(start, stop)

    def _shrunk(self, picture: Tensor) -> Tensor:
        """uint8 ``[3, S, S]``, by the filter of the stock loader (Pillow's bicubic)."""
        size = (self._image_size, self._image_size)
        if picture.shape[1:] == size:
            return picture.to(self._device, copy=True)  # not a view of a larger batch
        pixels = picture.to(self._device)[None].float()
        small = F.interpolate(pixels, size=size, mode="bicubic", antialias=True)
        return small[0].round_().clamp_(0, 255).to(torch.uint8)


class BatchReader(Protocol):
    """See `pipeline.source.decode.FrameReader`."""

    def batches(self, start: int, stop: int, size: int, /) -> Iterator[FrameBatch]: ...


class EyePictures:
    """One eye of a video, for `LazyFrames` to read: on from where it stopped without seeking.

    As passive as the reader it takes: one thread at a time.

    Args:
        reader: of `video`, used by nobody else meanwhile.
        eye: 0 is the left eye, or the only one.
    """

    def __init__(self, reader: BatchReader, video: VideoInfo, eye: int) -> None:
        self._reader = reader
        self._video = video
        self._eye = eye
        self._next = -1
        self._batches: Iterator[FrameBatch] = iter(())

    def __call__(self, start: int, stop: int) -> Iterator[Tensor]:
        video = self._video
        if start != self._next:
            self._batches = self._reader.batches(start, video.num_frames, 1)
        for frame in range(start, stop):
            self._next = -1  # an error ends the batches: they must not be gone on with
            pictures = next(self._batches).rgb
            self._next = frame + 1
            yield split(pictures, video.layout, video.right_first)[0, self._eye]
