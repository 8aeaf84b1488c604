"""Which frame each row of a DeepLabCut table is for, by the row's own word."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from pipeline.foreign.files import Unreadable

#: Frames that a table of each frame may lack: decoders of others give some fewer of some videos.
_MOST_MISSING = 2

_ADVICE = "analyse this very video, from its first frame to its last"
_NUMBER = re.compile(r"(\d{1,12})([.,]0*)?")
_PICTURE = re.compile(r"(.*?)(\d{1,12})\.(png|jpe?g)", re.IGNORECASE | re.DOTALL)


class FramesOfRows:
    """Tells the frame of each row, and that no row is wrong, or missing without a word.

    Args:
        num_frames: of the source; None where that is not known.
    """

    def __init__(self, num_frames: int | None) -> None:
        self._num_frames = num_frames
        self._rows = 0
        self._last = -1
        self._folder: str | None = None

    def of(self, cells: Sequence[str], line: int) -> int:
        """The frame of the source that a row is for.

        Args:
            cells: those before the points: a number, or the name of a picture in one or more.

        Raises:
            Unreadable: they say neither, or a frame that cannot come there.
        """
        words = [cell.strip() for cell in cells if cell.strip()]
        picture = _PICTURE.fullmatch("/".join(words))
        number = _NUMBER.fullmatch("".join(words))
        if picture is not None:
            frame = int(picture[2])
        elif number is not None:
            frame = int(number[1])
        else:
            said = " ".join(words)[:40]
            raise Unreadable(f"begins with {said!r}, which is not the number of a frame", "", line)
        folder = None if picture is None else picture[1]
        if self._rows and folder != self._folder:
            raise Unreadable("is for another video than the rows above", "keep one video's", line)
        if frame <= self._last:
            raise Unreadable(f"is for frame {frame}, after one for frame {self._last}", "", line)
        if self._num_frames is not None and frame >= self._num_frames:
            raise Unreadable(
                f"is for frame {frame}, and the video has {self._num_frames} frames", _ADVICE, line
            )
        self._rows += 1
        if folder is None and frame + 1 - self._rows > _MOST_MISSING:
            raise Unreadable(
                f"is for frame {frame}, and {frame + 1 - self._rows} frames before it have no row",
                _ADVICE,
                line,
            )
        self._last, self._folder = frame, folder
        return frame

    def require_all(self) -> None:
        """Raises Unreadable: more frames have no row than decoders leave out."""
        if self._missing > _MOST_MISSING:
            raise Unreadable(
                f"has {self._rows} rows, and the video {self._num_frames} frames", _ADVICE
            )

    def notes(self) -> Iterator[str]:
        """What a person should know of the rows that are missing."""
        if self._missing:
            yield f"frames without a row, and so without points: {self._missing}"

    @property
    def _missing(self) -> int:
        """Of a table of each frame; one that a person labelled has rows for a few."""
        if self._num_frames is None or self._folder is not None:
            return 0
        return self._num_frames - self._rows
