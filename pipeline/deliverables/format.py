"""`Format`: everything that other code knows of one output format. Loads no torch.

Another package adds a format by an entry point of the group `vrmatte.deliverables`, named as the
format is, which refers to a `Format`. Its module must load quickly: `factory` names the rest.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # the command line lists formats, and must not wait for pydantic
    from pipeline.contract import EncodingSettings, Layout, ProjectionName, VideoInfo
    from pipeline.deliverables.sound.plan import SoundForm
    from pipeline.vr_tags.sidecar import SidecarKind

#: Where alpha is in a file. plane: a fourth plane, which decoders give. layer: a second layer of
#: HEVC, which few decoders give. grey: the picture itself is alpha, in grey. packed: in the corners
#: of a fisheye, as headset players read it.
Alpha = Literal["plane", "layer", "grey", "packed"]

#: Bytes of `before_tags` and `ending` together, at the most. Tags have 26, so that a name grows by
#: no more than 48.
LONGEST_ENDING_BYTES = 22

#: Between a format's name and the number of the object of which alone its file is.
#: ffmpeg joins no files with other signs in their names.
_OF_OBJECT = "."
#: See `pipeline.pixels.layers.Layers.objects`.
_MOST_OBJECTS = 255

_NAME = re.compile(r"[a-z0-9][a-z0-9+_-]*")
_ENDING = re.compile(r"(_[\w-]+)?\.[a-z0-9]+", re.ASCII)
_BEFORE_TAGS = re.compile(r"(_[\w-]+)?", re.ASCII)


def of_object(name: str, number: int) -> str:
    """The name of a format whose file shows one object alone; `FORMATS` has its row, too."""
    return f"{name}{_OF_OBJECT}{number}"


def parted(name: str) -> tuple[str, int | None]:
    """The format's own name, and the number of the object of which it is; None: of all."""
    own, mark, number = name.partition(_OF_OBJECT)
    if mark and number.isascii() and number.isdecimal() and 1 <= int(number) <= _MOST_OBJECTS:
        return own, int(number)
    return name, None


@dataclass(frozen=True, slots=True)
class Picture:
    """What the pictures of a file are like: pixels of both eyes together, even, and their tags."""

    width: int
    height: int
    layout: Layout
    right_first: bool
    projection: ProjectionName


def as_in_source(video: VideoInfo) -> Picture:
    """The source's picture, padded to even sides."""
    size = video.even_width, video.even_height
    return Picture(*size, video.layout, video.right_first, video.projection)


@dataclass(frozen=True, slots=True)
class RelativeSize:
    """Expected size of a file, as a multiple of a VP9 matte of the same video."""

    times: float

    def picture_bytes(self, vp9_bytes: float, pixels: int, least: bool) -> float:
        return self.times * vp9_bytes


@dataclass(frozen=True, slots=True)
class FixedRate:
    """Expected and least size of a file in bytes per pixel, whatever the source had."""

    expected: float
    least: float

    def picture_bytes(self, vp9_bytes: float, pixels: int, least: bool) -> float:
        return pixels * (self.least if least else self.expected)


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One output format.

    Attributes:
        name: as it is asked for; lower case.
        factory: ``"module:attribute"``, a `pipeline.deliverables.base.DeliverableFactory`.
        description: for people, in a few words.
        for_whom: what its files are for, for people: "for ...". Empty: nothing is said.
        ending: of the file's name, behind the tags that say what the picture shows.
        before_tags: of the file's name, before these tags.
        codec: FFmpeg's name; None: `encoding.codec` decides.
        encoder: what encodes it, for people; empty where `codec` is None.
        alpha: where alpha is; None: in no way that can be read back.
        sound: what sound it holds; None: none.
        encoder_memory: RAM of its encoder, in bytes per pixel of the source's frame.
        size: of its pictures on the disk, without sound.
        sidecar: what players make of it; None: it is for no player.
        picture: its pictures for a video; raises InputError where it cannot hold that video.
        bits: of a sample of its pictures, at the most; of a source of 8 bits they have 8.
        mastering: whether its encoder writes HDR10's static data.
        needs: layers that it is made of (see `pipeline.pixels.layers.Layers`).
        from_gpu: whether its encoder can take pictures from the GPU's memory, by NVENC.
        read_back: ``"module:attribute"``, a `ReadBack`; None: it is a film, which PyAV reads.
    """

    name: str
    factory: str
    description: str
    for_whom: str = ""
    ending: str
    before_tags: str = ""
    codec: str | None
    encoder: str = ""
    alpha: Alpha | None
    sound: SoundForm | None
    encoder_memory: Callable[[EncodingSettings], int]
    size: RelativeSize | FixedRate
    sidecar: SidecarKind | None
    picture: Callable[[VideoInfo], Picture] = as_in_source
    bits: Callable[[EncodingSettings], int] = lambda encoding: 8
    mastering: Callable[[EncodingSettings], bool] = lambda encoding: False
    needs: frozenset[str] = frozenset({"rgb", "alpha"})
    from_gpu: bool = False
    read_back: str | None = None

    def __post_init__(self) -> None:
        """Raises ValueError: it cannot be part of a file's name."""
        if not _NAME.fullmatch(parted(self.name)[0]):
            raise ValueError(f"the name {self.name!r} must have lower-case letters and digits only")
        if not (_ENDING.fullmatch(self.ending) and _BEFORE_TAGS.fullmatch(self.before_tags)):
            raise ValueError(f"names cannot end with {self.before_tags}TAGS{self.ending}")
        if not self.before_tags + self.ending.removesuffix(self.suffix):
            raise ValueError(f"{self.ending!r} alone would also be the name of a source")
        if len(self.before_tags + self.ending) > LONGEST_ENDING_BYTES:
            raise ValueError(f"{self.ending!r} is too long for the end of a name")

    @property
    def suffix(self) -> str:
        """Of the file's name, with its dot."""
        return PurePath(self.ending).suffix or self.ending

    @property
    def is_film(self) -> bool:
        return self.read_back is None

    @property
    def is_transparent(self) -> bool:
        """Whether a player that knows how shows what is behind its pictures."""
        return self.alpha in ("plane", "layer")

    @property
    def shows_alpha(self) -> bool:
        """Whether alpha can be read off its pictures, pixel by pixel."""
        return self.is_transparent or self.alpha == "grey"

    def bits_of(self, video: VideoInfo, encoding: EncodingSettings) -> int:
        """Bits of that video's samples that its pictures keep."""
        return max(8, min(video.bit_depth, self.bits(encoding)))

    def codec_for(self, encoding: EncodingSettings) -> str:
        """FFmpeg's name of its codec under these settings."""
        return self.codec or encoding.codec
