"""`RawPictures`: what the raw frames in a pipe to an encoder are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol


@dataclass(frozen=True, slots=True)
class RawPictures:
    """Frames as they come through a pipe, one after the other, without anything between.

    Attributes:
        size: width and height, even.
        pixel_format: FFmpeg's name.
        colours: ffmpeg's options that say what the samples mean, in pairs: ``-colorspace bt709``.
    """

    size: tuple[int, int]
    rate: Fraction
    pixel_format: str
    colours: tuple[str, ...] = ()


class RawCommand(Protocol):
    """Makes the command of a child process that encodes raw pictures from its standard input."""

    def __call__(
        self, pictures: RawPictures, options: Sequence[str], container: str, path: str
    ) -> list[str]:
        """The command.

        Args:
            options: ffmpeg's for the encoder and the container, in pairs, without `colours`.
            container: FFmpeg's name of it.
        """
        ...
