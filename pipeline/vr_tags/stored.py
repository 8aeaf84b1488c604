"""Reads what a file's header says of a sphere and FFmpeg does not pass on: mesh, pose, V1 crop.

FFmpeg knows no mesh, takes the initial view of Google's first scheme (XML in a `uuid` box) for a
pose, and ignores its crop. Nothing here fails: a header that cannot be read says nothing.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.contract import Bounds
from pipeline.errors import EncodeError
from pipeline.vr_tags.matroska import read_projection
from pipeline.vr_tags.mp4_header import read_picture_boxes

Pose = tuple[float, float, float]
NO_POSE: Pose = (0.0, 0.0, 0.0)

#: `stereo_mode` of `st3d`: the meshes say where the eyes are.
STEREO_CUSTOM = 3

_MESH_TYPE = 3  # Matroska's ProjectionType
_FIXED = 1 << 16  # poses in MP4 are 16.16
_MOST_XML_BYTES = 1 << 16
_XML_FIELD = re.compile(rb"<GSpherical:(\w{1,40})>\s*([^<]{1,60}?)\s*</GSpherical:")
#: By FFmpeg's name of the tag, in which Matroska has the same XML.
_XML_TAG = "spherical-video"


@dataclass(frozen=True, slots=True)
class StoredSphere:
    """What a header says of the picture's sphere, by the schemes that FFmpeg reads in part.

    Attributes:
        mesh: content of the box of a mesh projection, not looked at yet.
        stereo_mode: of `st3d`.
        pose: yaw, pitch and roll in degrees, in steps of 1/65536; None where neither scheme is
            there, and FFmpeg may know better.
        crop: of the sphere, by the XML of the first scheme, where no later one is there.
        notes: what was found and cannot be used, one line each.
    """

    mesh: bytes | None = None
    stereo_mode: int | None = None
    pose: Pose | None = None
    crop: Bounds | None = None
    notes: tuple[str, ...] = ()


def read_stored(
    path: Path, container: str, track: int, stream_metadata: Mapping[str, str] | None = None
) -> StoredSphere:
    """What a file's header says of a track; nothing where it is no MP4, MOV or Matroska.

    Args:
        container: name of FFmpeg's demuxer: "mov", "matroska" or another.
        track: in MP4 and MOV its number, in Matroska its place among the video tracks.
        stream_metadata: tags of the stream, among which Matroska has the first scheme.

    Raises:
        OSError: the file cannot be read.
    """
    if container == "mov":
        return _in_mp4(path, track)
    if container == "matroska":
        by_name = {key.lower(): text for key, text in (stream_metadata or {}).items()}
        return _in_matroska(path, track, by_name.get(_XML_TAG, "").encode())
    return StoredSphere()


def _in_mp4(path: Path, track_id: int) -> StoredSphere:
    found: dict[bytes, bytes] = {}
    with suppress(EncodeError):
        found = read_picture_boxes(path, track_id)
    stereo_mode = found[b"st3d"][4] if len(found.get(b"st3d", b"")) >= 5 else None
    pose = NO_POSE if b"uuid" in found else None
    if b"sv3d" in found:
        header = found.get(b"prhd", b"")
        pose = NO_POSE
        if len(header) >= 16:
            yaw, pitch, roll = (angle / _FIXED for angle in struct.unpack(">3i", header[4:16]))
            pose = (yaw, pitch, roll)
    crop, notes = _first_scheme(found.get(b"uuid", b""), b"sv3d" in found and b"mshp" not in found)
    if b"camm" in found:
        notes += ("the track of the camera's motion is left out: no player steadies the output",)
    return StoredSphere(found.get(b"mshp"), stereo_mode, pose, crop, notes)


def _in_matroska(path: Path, place: int, xml: bytes) -> StoredSphere:
    found = None
    with suppress(EncodeError):
        found = read_projection(path, place)
    crop, notes = _first_scheme(xml, found is not None and found.kind != _MESH_TYPE)
    if found is None:
        return StoredSphere(pose=NO_POSE if xml else None, crop=crop, notes=notes)
    mesh = found.private if found.kind == _MESH_TYPE else None
    yaw, pitch, roll = (round(angle * _FIXED) / _FIXED for angle in found.pose)
    return StoredSphere(mesh, None, (yaw, pitch, roll), crop, notes)


def _first_scheme(xml: bytes, overruled: bool) -> tuple[Bounds | None, tuple[str, ...]]:
    """(crop, notes) of the XML; the later scheme overrules it."""
    fields = {
        name.decode(): text.decode("ascii", "replace")
        for name, text in _XML_FIELD.findall(xml[:_MOST_XML_BYTES])
    }
    if overruled or fields.get("Spherical", "").lower() != "true":
        return None, ()
    notes = []
    view = [_number(fields, f"InitialView{axis}Degrees") for axis in ("Heading", "Pitch", "Roll")]
    if any(view):
        heading, pitch, roll = (f"{angle or 0:g}" for angle in view)
        notes.append(
            f"the initial view of the file's metadata (heading {heading}, pitch {pitch}, roll"
            f" {roll} degrees) is left out: players begin straight ahead"
        )
    names = ("AreaLeft", "AreaTop", "AreaImageWidth", "AreaImageHeight")
    area = [_number(fields, f"Cropped{name}Pixels") for name in names]
    full = [_number(fields, f"FullPano{name}Pixels") for name in ("Width", "Height")]
    crop = None
    if area[2] is not None and area[3] is not None:
        crop = _crop([side or 0 for side in area], [side or 0 for side in full])
        if crop is None:
            notes.append(
                f"the crop in the file's metadata is impossible ({area[2]:g}x{area[3]:g} of"
                f" {full[0] or 0:g}x{full[1] or 0:g}) and is ignored"
            )
    return crop, tuple(notes)


def _crop(area: list[float], full: list[float]) -> Bounds | None:
    left, top, width, height = area
    if width <= 0 or height <= 0 or min(left, top) < 0 or min(full) <= 0:
        return None
    right, bottom = full[0] - left - width, full[1] - top - height
    if right < 0 or bottom < 0:
        return None
    return Bounds(top / full[1], bottom / full[1], left / full[0], right / full[0])


def _number(fields: dict[str, str], name: str) -> float | None:
    text = fields.get(name, "")
    return float(text) if re.fullmatch(r"-?\d{1,7}(\.\d{1,7})?", text, re.ASCII) else None
