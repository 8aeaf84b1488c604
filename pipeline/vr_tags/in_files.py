"""Reads VR metadata of a file: how the eyes share a picture, and its projection.

Players that do not read names read this. ffmpeg's command line cannot write it, so ffmpeg is
asked for a placeholder in a finished file's header, and the tags are put in its place: no other
byte moves, however long the video. Formats: Google's Spherical Video V2 RFC (`st3d` and `sv3d` of
MP4 and MOV, `Projection` of Matroska) and RFC 9559 (Matroska's `StereoMode`).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline.contract import Bounds, Layout, ProjectionName
from pipeline.errors import EncodeError
from pipeline.files.disk import writing
from pipeline.vr_tags.matroska import write_projection
from pipeline.vr_tags.mp4 import write_boxes
from pipeline.vr_tags.stored import NO_POSE, Pose

TagContainer = Literal["mp4", "mov", "webm"]

#: Bytes of the text that ffmpeg is asked to write; both tags take less, with what holds them.
PLACEHOLDER_BYTES = 128
_PLACEHOLDER = b"room for stereo and projection tags".ljust(PLACEHOLDER_BYTES, b".")

#: Matroska's StereoMode, number and FFmpeg's name, for (layout, right_first).
_MATROSKA_STEREO: dict[tuple[Layout, bool], tuple[int, str]] = {
    ("mono", False): (0, "mono"),
    ("sbs", False): (1, "left_right"),
    ("tb", True): (2, "bottom_top"),
    ("tb", False): (3, "top_bottom"),
    ("sbs", True): (11, "right_left"),
}
_BY_STEREO_NAME = {name: key for key, (_, name) in _MATROSKA_STEREO.items()}

#: `stereo_mode` of `st3d`. None is defined for a right eye on top.
_ST3D: dict[tuple[Layout, bool], int] = {
    ("mono", False): 0,
    ("tb", False): 1,
    ("sbs", False): 2,
    ("sbs", True): 4,
}

#: What of a whole sphere is cut off at (top, bottom, left, right) of an eye, in units of 2**-32.
_CUT_OFF: dict[ProjectionName, tuple[int, int, int, int]] = {
    "equirect180": (0, 0, 1 << 30, 1 << 30),
    "equirect360": (0, 0, 0, 0),
}

# FFmpeg's numbers: libavutil/stereo3d.h and libavutil/spherical.h, as of libavutil 60.
_LAYOUTS: dict[int, Layout] = {0: "mono", 1: "sbs", 2: "tb"}
_MIXED = {3: "in frames by turns", 4: "in the fields of a checkerboard", 6: "in rows by turns"}
_MIXED |= {5: "side by side in a quincunx", 7: "in columns by turns"}
#: Both eyes, and no word of how they share the picture: `vexu` says so of MV-HEVC.
_UNSPECIFIED = 8
_VIEW_PACKED = 0
_EYES: dict[int, Literal["left", "right"]] = {1: "left", 2: "right"}
#: Matroska's stereo modes for which FFmpeg has no type, and its names for tracks of one eye each.
_MIXED_MODES = {"anaglyph_cyan_red": "in colours (an anaglyph)"}
_MIXED_MODES |= {"anaglyph_green_magenta": "in colours (an anaglyph)"}
_MIXED_MODES |= {"block_lr": "layers", "block_rl": "layers"}
#: FFmpeg's name of a track that another one joins with others: the eye, and that track's number.
_PLANE = re.compile(r"(left|right)_\d+")
_PROJECTIONS: dict[int, ProjectionName] = {0: "equirect360", 3: "equirect180", 4: "flat"}
_TILE, _FISHEYE = 2, 5
_FISHEYES: dict[int, ProjectionName] = {
    180: "fisheye180",
    190: "fisheye190",
    200: "fisheye200",
    220: "fisheye220",
}
#: As a share of the sphere: writers round a quarter of 2**32 in several ways.
_BOUND_SLACK = 0.01


@dataclass(frozen=True, slots=True)
class SphericalTags:
    """What a file is to say of its pictures.

    Attributes:
        stereo: which way the eyes share a picture.
        right_first: the right eye is the left (or upper) half; of no meaning in mono.
        projection: of each eye. Only equirectangular ones can be said: no standard knows the
            lens of a fisheye, and silence means flat.
        pose: yaw, pitch and roll of the sphere in degrees, in steps of 1/65536; said of
            equirectangular ones only.
    """

    stereo: Layout
    right_first: bool
    projection: ProjectionName
    pose: Pose = NO_POSE

    @property
    def eyes(self) -> tuple[Layout, bool]:
        return self.stereo, self.right_first and self.stereo != "mono"


@dataclass(frozen=True, slots=True)
class FoundTags:
    """What a file says of its pictures, as `SphericalTags`; None where it is silent or unclear.

    Attributes:
        bounds: what its equirectangular eyes leave out of the sphere, where that is neither half of
            it nor nothing; `projection` is None then.
        eye: the one that the track holds; empty where it holds both, or does not say.
        mixed: how the eyes share the track where no part of a picture is one of them, in words;
            "layers" where the pictures hold one eye, and a second layer of them the other.
    """

    layout: Layout | None = None
    right_first: bool | None = None
    projection: ProjectionName | None = None
    pose: Pose = NO_POSE
    bounds: Bounds | None = None
    eye: Literal["", "left", "right"] = ""
    mixed: str = ""


def placeholder_options(
    container: TagContainer, tags: SphericalTags, sounds: Sequence[bytes] = ()
) -> list[str]:
    """ffmpeg's options for an output that `write_tags` is to tag."""
    text = _placeholder(sounds).decode()
    if container != "webm":
        return ["-metadata", f"comment={text}"]
    # WebM's frames are half as wide on the screen with it: that is left to ffmpeg.
    mode = f"stereo_mode={_MATROSKA_STEREO[tags.eyes][1]}"
    return ["-metadata:s:v:0", f"title={text}", "-metadata:s:v:0", mode]


def _placeholder(sounds: Sequence[bytes]) -> bytes:
    """With room for the tags of the sounds as well."""
    return _PLACEHOLDER + b"." * sum(map(len, sounds))


def write_tags(
    path: Path, container: TagContainer, tags: SphericalTags, sounds: Sequence[bytes] = ()
) -> None:
    """Put `tags` in the place of the placeholder in a finished file, and move nothing else.

    A right eye on top cannot be said in MP4 and MOV: nothing is said of the eyes then. A flat
    picture of one eye gets no tags, but the placeholder goes. Nothing is forced to the disk.

    Args:
        sounds: the `SA3D` box of each audio track, or nothing; of no use in WebM.

    Raises:
        EncodeError: the file has no placeholder, or is not built as ffmpeg builds it.
        DiskError: it cannot be written.
    """
    bounds = _CUT_OFF.get(tags.projection)
    # FullBox version and flags, then the bounds: the same bytes in both containers.
    equi = struct.pack(">I4I", 0, *bounds) if bounds is not None else None
    try:
        with writing(path), path.open("r+b", buffering=0) as file:
            if container == "webm":
                mode = _MATROSKA_STEREO[tags.eyes][0]
                write_projection(file, _PLACEHOLDER, mode, equi, tags.pose)
            else:
                write_boxes(file, _placeholder(sounds), _st3d(tags), equi, tags.pose, sounds)
    except EncodeError as error:
        raise EncodeError(f"{path.name} cannot be tagged: {error.message}", error.advice) from error


def readable(container: TagContainer, tags: SphericalTags) -> FoundTags:
    """What `tags_of_frame` says of a file that was given `tags`.

    FFmpeg reads `st3d` values 0 to 2 only: a right eye on the left is told to players, but must be
    read back by `pipeline.vr_tags.mp4_header.stored_stereo_mode`.
    """
    layout, right_first = tags.eyes
    projection = tags.projection if tags.projection in _CUT_OFF else None
    pose = tags.pose if projection else NO_POSE
    if container != "webm" and (right_first or _st3d(tags) is None):
        return FoundTags(projection=projection, pose=pose)
    return FoundTags(layout, right_first, projection, pose)


def tags_of_frame(side_data: Mapping[str, Any], stream_metadata: Mapping[str, str]) -> FoundTags:
    """What FFmpeg found out about a decoded frame.

    PyAV shows this on frames only, not on streams: FFmpeg copies what the container says to every
    frame, and adds what the coded pictures themselves say (the frame packing of H.264 and HEVC).

    Args:
        side_data: of a PyAV frame; bytes by "STEREO3D" and "SPHERICAL".
        stream_metadata: of its stream; Matroska's stereo mode is there as well.
    """
    stereo = _stereo(side_data.get("STEREO3D"))
    by_name = {key.lower(): value for key, value in stream_metadata.items()}
    mode = by_name.get("stereo_mode", "")
    eyes = stereo.eyes or _BY_STEREO_NAME.get(mode)
    plane = _PLANE.fullmatch(mode)
    eye = _EYES[("left", "right").index(plane[1]) + 1] if plane else stereo.eye
    if eye:
        eyes = "mono", False
    layout, right_first = eyes or (None, None)
    projection, pose, bounds = _projection(side_data.get("SPHERICAL"), stereo.degrees)
    mixed = _MIXED_MODES.get(mode, stereo.mixed)
    return FoundTags(layout, right_first, projection, pose, bounds, eye, mixed)


def _st3d(tags: SphericalTags) -> int | None:
    said = tags.stereo != "mono" or tags.projection in _CUT_OFF
    return _ST3D.get(tags.eyes) if said else None


@dataclass(frozen=True, slots=True)
class _Stereo:
    """What an AVStereo3D says.

    Attributes:
        eyes: (layout, right_first) of a picture that holds both.
        degrees: from left to right; 0 where it does not say.
        eye, mixed: as in `FoundTags`.
    """

    eyes: tuple[Layout, bool] | None = None
    degrees: float = 0.0
    eye: Literal["", "left", "right"] = ""
    mixed: str = ""


def _stereo(data: Any) -> _Stereo:
    """Its fields are type, flags, view, primary eye, baseline and two fractions.

    The fractions are the disparity's and the field of view's.
    """
    form = struct.Struct("=4iI4i")
    raw = b"" if data is None else bytes(data)
    if len(raw) < form.size:
        return _Stereo()
    kind, flags, view, *_, numerator, denominator = form.unpack_from(raw)
    degrees = numerator / denominator if denominator > 0 else 0.0
    if view != _VIEW_PACKED:
        return _Stereo(degrees=degrees, eye=_EYES.get(view, ""))
    layout = _LAYOUTS.get(kind)
    if layout is None:
        mixed = "layers" if kind == _UNSPECIFIED else _MIXED.get(kind, "")
        return _Stereo(degrees=degrees, mixed=mixed)
    return _Stereo((layout, layout != "mono" and bool(flags & 1)), degrees)


def _projection(data: Any, degrees: float) -> tuple[ProjectionName | None, Pose, Bounds | None]:
    """Of an AVSphericalMapping: projection, yaw, pitch, roll, bounds (left, top, right, bottom).

    Angles are in degrees and 16.16; bounds are shares of the sphere and 0.32.
    """
    form = struct.Struct("=4i5I")
    raw = b"" if data is None else bytes(data)
    if len(raw) != form.size:  # older ones have wider bounds
        return None, NO_POSE, None
    kind, yaw, pitch, roll, left, top, right, bottom, _ = form.unpack(raw)
    pose = (yaw / 65536, pitch / 65536, roll / 65536)
    if kind == _TILE:
        bounds = Bounds(top / 2**32, bottom / 2**32, left / 2**32, right / 2**32)
        name = named_bounds(bounds)
        sound = bounds.left + bounds.right < 1 and bounds.top + bounds.bottom < 1
        return name, pose, bounds if name is None and sound else None
    if kind == _FISHEYE:  # of any lens, unless it says which
        return _FISHEYES.get(round(degrees)), pose, None
    return _PROJECTIONS.get(kind), pose, None


def named_bounds(bounds: Bounds) -> ProjectionName | None:
    """The projection that leaves out just that, if there is one."""
    sides, ends = bounds.left + bounds.right, bounds.top + bounds.bottom
    if abs(bounds.left - bounds.right) <= _BOUND_SLACK and ends <= _BOUND_SLACK:
        if abs(sides - 0.5) <= _BOUND_SLACK:
            return "equirect180"
        if sides <= _BOUND_SLACK:
            return "equirect360"
    return None
