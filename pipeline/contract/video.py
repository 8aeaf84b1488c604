"""`VideoInfo`: what the probe finds out about one source file."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Literal, NamedTuple

Layout = Literal["mono", "sbs", "tb"]

#: How one eye's picture shows the directions around it; see `pipeline/pixels/projection.py`. "flat"
#: is what an ordinary lens gives.
ProjectionName = Literal[
    "flat",
    "equirect180",
    "equirect360",
    "fisheye180",
    "fisheye190",
    "fisheye200",
    "fisheye220",
]

#: How the note on a file that ends before its time begins: such a video deserves a look.
CUT_OFF = "the file is cut off"

#: The field of an interlaced picture that is shown first: its even rows, or its odd ones.
FirstField = Literal["top", "bottom"]


def eye_size(layout: Layout, height: int, width: int) -> tuple[int, int]:
    """(height, width) of one eye in a picture of that size, both even."""
    return {"mono": (height, width), "sbs": (height, width // 2), "tb": (height // 2, width)}[
        layout
    ]


@dataclass(frozen=True, slots=True)
class EyeShape:
    """What one eye's pictures are on their way through the chain of stages.

    Attributes:
        eyes: 1 or 2.
        height, width: of one eye, in pixels, both even.
        projection: how a picture shows the directions around the eye.
        frame_rate: frames a second, exact.
    """

    eyes: int
    height: int
    width: int
    projection: ProjectionName
    frame_rate: Fraction


@dataclass(frozen=True, slots=True)
class ColorTags:
    """Colour tags by FFmpeg's names; ``"unspecified"`` where the file is silent."""

    matrix: str = "unspecified"
    primaries: str = "unspecified"
    transfer: str = "unspecified"
    full_range: bool = False


class Crop(NamedTuple):
    """Pixels at the edges of a stored picture that are not shown."""

    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0


NO_CROP = Crop()


@dataclass(frozen=True, slots=True)
class MasteringData:
    """HDR10's static data: the display that a film was made on, and how bright it is.

    Attributes:
        display: x and y of green, blue, red and white in 1/50000, then its most and its least light
            in 1/10000 cd/m2 (Rec. ITU-T H.265, D.3.28); None where the file is silent.
        max_cll, max_fall: the brightest pixel, and the brightest picture on average, in cd/m2; 0 is
            not known.
    """

    display: tuple[int, ...] | None
    max_cll: int = 0
    max_fall: int = 0


@dataclass(frozen=True, slots=True)
class Ambisonics:
    """A sound field: what channels mean that belong to no loudspeakers (ACN order, SN3D).

    Attributes:
        order: its ``(order + 1) ** 2`` components come first.
        head_locked: two more channels are a stereo sound that does not turn with the head.
        channel_map: as an `SA3D` box has it, one number a channel.
    """

    order: int
    head_locked: bool
    channel_map: tuple[int, ...]

    @property
    def in_order(self) -> bool:
        """Whether the channels are in the order that Opus and FFmpeg know."""
        return self.channel_map == tuple(range(len(self.channel_map)))


@dataclass(frozen=True, slots=True)
class AudioTrack:
    """One audio stream.

    Attributes:
        stream: index of the stream in the file.
        start_s: when its first packet plays, in seconds after the first picture; may be negative.
        end_s: when its last packet ends, on the same clock.
        shifts_s: of each stretch of it in which the file's clock does not leap, what brings its
            times into line with the picture's; empty where they need nothing.
        layout: FFmpeg's name of the places of its channels ("5.1"); empty where the file names
            none, or none that has a name.
        ambisonics: the sound field that its channels are; None: they are no such.
        last_s: up to where at least it can be read, on the clock of `start_s`: its last packets
            begin then. None: it may end earlier.
        packets: how many it has; 0: not counted.
    """

    stream: int
    codec: str
    channels: int
    sample_rate: int
    start_s: float
    end_s: float
    language: str = ""
    title: str = ""
    shifts_s: tuple[float, ...] = ()
    layout: str = ""
    ambisonics: Ambisonics | None = None
    last_s: float | None = None
    packets: int = 0

    def later(self, seconds: float) -> AudioTrack:
        """The same track on a clock that begins so much later."""
        last_s = None if self.last_s is None else self.last_s - seconds
        return replace(
            self, start_s=self.start_s - seconds, end_s=self.end_s - seconds, last_s=last_s
        )


@dataclass(frozen=True, slots=True)
class Bounds:
    """What an equirectangular eye leaves out of the sphere at each side, as shares of 360 x 180."""

    top: float = 0.0
    bottom: float = 0.0
    left: float = 0.0
    right: float = 0.0


@dataclass(frozen=True, slots=True)
class StoredView:
    """A picture as its file holds it, where decoding shows the eyes in another projection.

    Attributes:
        width, height: of the upright picture, in pixels.
        layout: where the eyes' pictures are in it; "mono" with two eyes: each uses all of it.
        eyes: 1 or 2.
        bounds: what its equirectangular eyes leave out; None: a mesh maps the eyes.
        mesh_sha256: of the content of the file's `mshp` box, hexadecimal.
        track: of the picture, as `pipeline.vr_tags.stored` counts.
        whole_places: the meshes' (u, v) are places in the whole picture, not in one eye's part.
    """

    width: int
    height: int
    layout: Layout
    right_first: bool
    eyes: int
    bounds: Bounds | None = None
    mesh_sha256: str = ""
    track: int = 0
    whole_places: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """A file as one run saw it when it was planned; of no meaning to another run.

    Attributes:
        host: the machine that saw it: another one may number the same file differently.
        inode, ctime_ns: of the file.
    """

    host: str
    inode: int
    ctime_ns: int


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What the probe found out about one source file.

    Attributes:
        path: absolute path.
        fingerprint: sha256 of the file's head and tail, hexadecimal.
        width, height: of the upright picture, in pixels, both eyes together, before padding; as
            decoding gives it, see `stored`.
        pixel_format: FFmpeg's name.
        frame_rate: of the output, frames a second, exact.
        num_frames: frames of the output at that constant rate.
        source_frames: frames in the file.
        rotation: degrees counter-clockwise that make the stored picture upright: 0, 90, 180, 270.
        crop: is cut off the stored picture before all else.
        mirrored: left and right of the stored picture change places before it is turned.
        layout_reason: why that layout was taken, for the person who reads the plan.
        right_first: the right eye is the left (or upper) half of the picture.
        projection, projection_reason: of each eye's picture, and why that one.
        notes: what the person should know (padding, variable rate, ...), one line each.
        stream: index of the picture's stream in the file.
        right_stream: index of the right eye's stream, where the eyes are two tracks of the file and
            `stream` is the left one's; None: one track has both. They are shown side by side.
        begin_s: time stamp of the first picture, in seconds of the file's own clock.
        pose: yaw, pitch and roll by which players turn the sphere, in degrees, as the file says.
        stored: the picture in the file, where decoding shows the eyes in another projection.
        sample_aspect: width of a pixel of the upright picture, as a share of its height.
        timecode: of the first frame of the whole video, ``HH:MM:SS:FF`` counted in its frames, or
            ``HH:MM:SS;FF`` with drop frames; empty where it has none.
        mastering: its data for HDR displays.
        first_field: of each picture, where two fields are woven into it that are to be made whole
            (`pipeline/source/picture/deinterlace.py`); None where it is whole.
        every, phase: frame k is frame ``phase + k * every`` of the whole video; see `every_nth`.
        seen: the file in this run; None where no run has planned it.
    """

    path: str
    size_bytes: int
    mtime_ns: int
    fingerprint: str
    container: str
    codec: str
    width: int
    height: int
    pixel_format: str
    bit_depth: int
    frame_rate: Fraction
    num_frames: int
    source_frames: int
    variable_rate: bool
    color: ColorTags
    rotation: int
    audio: tuple[AudioTrack, ...]
    layout: Layout
    layout_reason: str
    title: str = ""
    notes: tuple[str, ...] = ()
    stream: int = 0
    begin_s: float = 0.0
    right_first: bool = False
    projection: ProjectionName = "flat"
    projection_reason: str = ""
    pose: tuple[float, float, float] = (0.0, 0.0, 0.0)
    stored: StoredView | None = None
    sample_aspect: Fraction = Fraction(1)
    timecode: str = ""
    mastering: MasteringData | None = None
    first_field: FirstField | None = None
    every: int = 1
    phase: int = 0
    crop: Crop = NO_CROP
    mirrored: bool = False
    right_stream: int | None = None
    seen: Seen | None = field(default=None, compare=False)

    def every_nth(self, every: int, phase: int = 0) -> VideoInfo:
        """A video of every so many frames of this one, at as low a rate: it lasts as long.

        Everything that is said of it holds for these frames: their numbers count from 0 without
        gaps, and its first picture is frame `phase` of this video.
        """
        if every == 1 and phase == 0:
            return self
        skipped_s = float(phase / self.frame_rate)
        return replace(
            self,
            frame_rate=self.frame_rate / every,
            num_frames=-(-(self.num_frames - phase) // every),
            begin_s=self.begin_s + skipped_s,
            audio=tuple(track.later(skipped_s) for track in self.audio),
            every=every,
            phase=phase,
        )

    @property
    def phase_s(self) -> Fraction:
        """Seconds of the whole video before the first of these frames."""
        return self.phase / (self.frame_rate * self.every)

    @property
    def stored_size(self) -> tuple[int, int]:
        """(width, height) of the upright picture in the file, before padding."""
        stored = self.stored
        return (self.width, self.height) if stored is None else (stored.width, stored.height)

    @property
    def eyes(self) -> int:
        return 1 if self.layout == "mono" else 2

    @property
    def even_width(self) -> int:
        """Width of the frames on their way through the pipeline: 4:2:0 needs an even one."""
        return self.width + self.width % 2

    @property
    def even_height(self) -> int:
        return self.height + self.height % 2

    @property
    def eye_size(self) -> tuple[int, int]:
        """(height, width) of one eye on its way through the pipeline, in pixels, both even."""
        return eye_size(self.layout, self.even_height, self.even_width)

    @property
    def eye_shape(self) -> EyeShape:
        """One eye as decoding gives it."""
        height, width = self.eye_size
        return EyeShape(self.eyes, height, width, self.projection, self.frame_rate)

    def shown_as(self, shape: EyeShape) -> VideoInfo:
        """The same video with eyes of another shape: what formats are given after the stages."""
        if shape == self.eye_shape:
            return self
        across, down = (self.layout == "sbs") + 1, (self.layout == "tb") + 1
        return replace(
            self,
            width=shape.width * across,
            height=shape.height * down,
            projection=shape.projection,
        )

    @property
    def duration_s(self) -> float:
        return float(self.num_frames / self.frame_rate)
