"""Files whose metadata describe the eyes: meshes, parts of a sphere, poses, the first scheme."""

from __future__ import annotations

import math
import os
import struct
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pipeline.contract import Bounds, VideoInfo
from pipeline.errors import InputError
from pipeline.pixels.eyes import split
from pipeline.pixels.projection import named_projection
from pipeline.source.decode import FrameReader
from pipeline.source.timing.frame_index import FrameIndex
from pipeline.source.video_info import read_video
from pipeline.vr_tags.mesh import EyeMesh, Floats, parse_meshes
from pipeline.vr_tags.stored import read_stored
from tests.pipeline.hostile import box
from tests.pipeline.meshes import (
    HALF_ANGLE,
    directions_in_picture,
    encode,
    equirect_mesh,
    fisheye_mesh,
    lens_mesh,
    matroska,
    mshp,
    sphere_boxes,
    sphere_file,
    waves,
    xml_box,
)
from tests.pipeline.mutations import mutants
from tests.pipeline.spheres import pixel_centres

CPU = torch.device("cpu")
EYE = 160
LEFT, RIGHT = lens_mesh(yaw=2), lens_mesh(yaw=-3, bend=0.1)
TB, SBS, CUSTOM, RIGHT_LEFT = 1, 2, 3, 4
SOUGHT = "resampled from the file's mesh"


def probed(path: Path, **asked: object) -> VideoInfo:
    index = path.parent / f"{path.stem}.json"
    return read_video(path, index, asked.pop("layout", None), **asked)  # type: ignore[arg-type]


def decoded(info: VideoInfo) -> torch.Tensor:
    """Its first picture as eyes, ``[E, 3, H, W]``."""
    index = FrameIndex.load(Path(info.path).with_suffix(".json"))
    picture = FrameReader(info, index, CPU).picture(0)
    return split(picture[None], info.layout, info.right_first)[0]


def grey(height: int, width: int) -> NDArray[np.uint8]:
    return np.full((2, height, width, 3), 128, np.uint8)


def painted(
    meshes: Sequence[EyeMesh], axis: int = 1, right_first: bool = False
) -> NDArray[np.uint8]:
    """Two pictures of which each pixel has the colours of its direction."""
    eyes = [waves(directions_in_picture(mesh, EYE, EYE), 12) for mesh in meshes]
    whole = np.concatenate(eyes[::-1] if right_first else eyes, axis=axis)
    return np.stack([whole, whole])


def pixels_off(eye: torch.Tensor, info: VideoInfo, fineness: float = 12) -> Floats:
    """By how many pixels directions are beside their places, as far as waves tell it.

    Everywhere that the eye shows something, but for two pixels along the edge and near the poles.
    """
    height, width = info.eye_size
    view = named_projection(info.projection, height, width)
    assert view is not None
    directions = view.directions(*pixel_centres((height, width)))[0].numpy()
    picture = eye.permute(1, 2, 0).numpy()
    shown = torch.from_numpy(picture[..., 2] > 60).float()
    inside = -torch.nn.functional.max_pool2d(-shown[None], 5, stride=1, padding=2)[0]
    level = np.hypot(directions[..., 0], directions[..., 2])
    steepest = 127.5 * fineness * math.pi / height  # a pixel
    off = np.abs(picture.astype(float) - waves(directions, fineness))[..., :2] / steepest
    found: Floats = off[(inside.numpy() > 0) & (level > 0.5)]
    assert len(found) > 0.3 * height * width
    return found


def in_whole(meshes: Sequence[EyeMesh], axis: int, right_first: bool) -> list[EyeMesh]:
    """Places in each eye's half -> in the whole picture, v down as here."""
    moved = []
    for eye, mesh in enumerate(meshes):
        places = mesh.places.copy()
        along = 1 - axis  # of an array rows come first, of a place columns
        places[:, along] = (places[:, along] + ((eye == 1) != right_first)) / 2
        moved.append(replace(mesh, places=places))
    return moved


#: Content of the box, `stereo_mode`, axis along which the eyes are, whether the right one is first.
FILES = {
    "above each other": (mshp([LEFT, RIGHT], b"dfl8"), TB, 0, False),
    "side by side": (mshp([LEFT, RIGHT]), SBS, 1, False),
    "the right eye first": (mshp([LEFT, RIGHT], b"dfl8"), RIGHT_LEFT, 1, True),
    "places in the whole picture": (mshp(in_whole([LEFT, RIGHT], 0, True)), CUSTOM, 0, True),
    "nothing said of the eyes": (mshp(in_whole([LEFT, RIGHT], 1, False)), None, 1, False),
}


@pytest.mark.parametrize("kind", FILES)
def test_directions_land_where_the_mesh_puts_them(kind: str, tmp_path: Path) -> None:
    content, stereo_mode, axis, right_first = FILES[kind]
    boxes = sphere_boxes(content, stereo_mode=stereo_mode)
    pictures = painted([LEFT, RIGHT], axis, right_first)
    info = probed(sphere_file(tmp_path / "talk.mp4", pictures, in_entry=boxes, fine=True))
    assert (info.layout, info.right_first, info.projection) == ("sbs", False, "equirect180")
    assert info.projection_reason == SOUGHT
    assert any("is resampled from the file's mesh" in note for note in info.notes)
    assert (info.width, info.height) == (2 * info.height, info.height)
    dense = EYE / 2 * 1.15 / math.radians(HALF_ANGLE) * math.pi
    assert info.height == pytest.approx(dense, rel=0.05), "as the source is straight ahead"
    for eye in decoded(info):
        off = pixels_off(eye, info)
        assert off.max() < 1
        assert off.mean() < 0.1


def test_one_mesh_serves_both_eyes(tmp_path: Path) -> None:
    boxes = sphere_boxes(mshp([LEFT], b"dfl8"), stereo_mode=SBS)
    path = sphere_file(tmp_path / "talk.mp4", painted([LEFT, LEFT]), in_entry=boxes, fine=True)
    info = probed(path)
    assert info.layout == "sbs"
    for eye in decoded(info):
        assert pixels_off(eye, info).max() < 1


def test_one_eye(tmp_path: Path) -> None:
    boxes = sphere_boxes(mshp([RIGHT]))
    info = probed(sphere_file(tmp_path / "talk.mp4", painted([RIGHT]), in_entry=boxes, fine=True))
    assert (info.layout, info.projection) == ("mono", "equirect180")
    assert pixels_off(decoded(info)[0], info).max() < 1


def test_a_mesh_all_around_becomes_a_whole_sphere(tmp_path: Path) -> None:
    turned = equirect_mesh(360, cells=40)
    x, y, z = turned.points.T
    turned = replace(turned, points=np.stack([z, y, -x], -1))
    eye = waves(directions_in_picture(turned, EYE, 2 * EYE), 12)
    pictures = np.stack([np.concatenate([eye, eye])] * 2)
    boxes = sphere_boxes(mshp([turned]), stereo_mode=TB)
    info = probed(sphere_file(tmp_path / "talk.mp4", pictures, in_entry=boxes, fine=True))
    assert (info.layout, info.projection) == ("tb", "equirect360")
    assert info.width == info.height == pytest.approx(2 * EYE, rel=0.02)
    assert pixels_off(decoded(info)[1], info).max() < 1


@pytest.mark.parametrize(
    ("mesh", "name"),
    [
        (equirect_mesh(180), "equirect180"),
        (equirect_mesh(360), "equirect360"),
        (fisheye_mesh(180), "fisheye180"),
        (fisheye_mesh(190), "fisheye190"),
        (fisheye_mesh(200), "fisheye200"),
        (fisheye_mesh(220), "fisheye220"),
    ],
)
def test_a_mesh_of_a_known_projection_is_called_by_its_name(
    mesh: EyeMesh, name: str, tmp_path: Path
) -> None:
    width = 2 * EYE if name == "equirect360" else EYE
    boxes = sphere_boxes(mshp([mesh, mesh], b"dfl8"), stereo_mode=TB)
    info = probed(sphere_file(tmp_path / "talk.mp4", grey(2 * EYE, width), in_entry=boxes))
    assert (info.layout, info.projection, info.stored) == ("tb", name, None)
    assert info.projection_reason == "the file's mesh is one"
    assert (info.width, info.height, info.notes) == (width, 2 * EYE, ())


def test_a_lens_that_sees_more_than_half_a_sphere_is_cut_and_said_so(tmp_path: Path) -> None:
    wide = fisheye_mesh(196)
    boxes = sphere_boxes(mshp([wide]), stereo_mode=SBS)
    info = probed(sphere_file(tmp_path / "talk.mp4", grey(EYE, 2 * EYE), in_entry=boxes))
    assert info.projection == "equirect180"
    assert "its mesh shows 196 degrees; what lies beyond 180 is cut off" in info.notes


def test_a_very_dense_picture_is_resampled_to_what_players_take(tmp_path: Path) -> None:
    dense = lens_mesh(half_angle=2)
    boxes = sphere_boxes(mshp([dense]), stereo_mode=SBS)
    info = probed(sphere_file(tmp_path / "talk.mp4", grey(EYE, 2 * EYE), in_entry=boxes))
    assert (info.width, info.height) == (8192, 4096)
    assert any("at full density, and get 4096" in note for note in info.notes)


def test_a_name_does_not_beat_a_mesh_but_a_person_does(tmp_path: Path) -> None:
    boxes = sphere_boxes(mshp([LEFT, RIGHT]), stereo_mode=TB)
    path = sphere_file(tmp_path / "talk_LR_fisheye190.mp4", grey(2 * EYE, EYE), in_entry=boxes)
    info = probed(path)
    assert info.stored is not None
    assert (info.stored.layout, info.projection_reason) == ("tb", SOUGHT)
    asked = probed(path, projection="equirect180")
    assert (asked.stored, asked.projection_reason) == (None, "as asked")
    assert "the file's mesh projection is not used, as a projection was asked for" in asked.notes


DAMAGED = {
    "its checksum is wrong": mshp([LEFT], crc=7),
    "it is cut off": mshp([LEFT], b"dfl8")[:40],
    "2147483647 coordinates": mshp([box(b"mesh", struct.pack(">I", 2**31 - 1))]),
    "upon each other": mshp([replace(LEFT, triangles=np.tile(LEFT.triangles[:1], (9000, 1)))]),
}


@pytest.mark.parametrize("why", DAMAGED)
def test_a_damaged_mesh_is_a_note(why: str, tmp_path: Path) -> None:
    content = DAMAGED[why]
    if why == "it is cut off":
        content = content[:4] + struct.pack(">I", zlib.crc32(content[8:])) + content[8:]
    boxes = sphere_boxes(content, stereo_mode=SBS)
    info = probed(sphere_file(tmp_path / "talk.mp4", grey(EYE, 2 * EYE), in_entry=boxes))
    [note] = info.notes
    assert note.startswith("the file's mesh projection cannot be used: ")
    assert why in note
    assert (info.layout, info.projection, info.stored) == ("sbs", "equirect180", None)


def test_a_mesh_that_changes_under_a_worker_is_noticed(tmp_path: Path) -> None:
    boxes = sphere_boxes(mshp([LEFT, RIGHT]), stereo_mode=SBS)
    path = sphere_file(tmp_path / "talk.mp4", grey(EYE, 2 * EYE), in_entry=boxes)
    info = probed(path)
    status = path.stat()
    content = path.read_bytes()
    at = content.index(b"raw ") + 200
    path.write_bytes(content[:at] + bytes([content[at] ^ 255]) + content[at + 1 :])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(InputError, match=r"mesh projection .* cannot be read any more"):
        decoded(info)


@pytest.mark.parametrize("container", ["mov", "matroska"])
def test_a_damaged_header_says_something_or_nothing(container: str, tmp_path: Path) -> None:
    boxes = sphere_boxes(mshp([lens_mesh(cells=3)]), stereo_mode=SBS)
    path = sphere_file(tmp_path / "talk.mp4", grey(32, 64), in_entry=boxes, in_track=xml_box())
    if container == "matroska":
        path = matroska(path, 3, mshp([lens_mesh(cells=3)]), stereo="left_right")
    sound = path.read_bytes()
    said = set()
    for _, content in mutants(sound, 5, 12):
        path.write_bytes(content)
        found = read_stored(path, container, 1 if container == "mov" else 0)
        said.add(found.mesh is not None)
    assert said == {True, False}


def test_matroska_holds_the_same_mesh(tmp_path: Path) -> None:
    boxes = sphere_boxes(mshp([LEFT, RIGHT], b"dfl8"), stereo_mode=SBS)
    mp4 = sphere_file(tmp_path / "talk.mp4", painted([LEFT, RIGHT]), in_entry=boxes, fine=True)
    content = read_stored(mp4, "mov", 1).mesh
    assert content is not None
    path = matroska(mp4, 3, content, stereo="left_right")
    info = probed(path)
    assert (info.layout, info.projection_reason) == ("sbs", SOUGHT)
    for eye in decoded(info):
        assert pixels_off(eye, info).max() < 1


# -- poses, parts of a sphere, the first scheme


def equi(top: float, bottom: float, left: float, right: float) -> bytes:
    edges = (round(share * 2**32) for share in (top, bottom, left, right))
    return struct.pack(">5I", 0, *edges)


def test_a_part_of_a_sphere_becomes_half_of_one(tmp_path: Path) -> None:
    """144 degrees by 120, as some cameras have it."""
    edges = Bounds(1 / 6, 1 / 6, 0.3, 0.3)
    whole = replace(lens_mesh(), points=part_of_sphere(edges))
    boxes = sphere_boxes(equi(1 / 6, 1 / 6, 0.3, 0.3), kind=b"equi", stereo_mode=SBS)
    path = sphere_file(tmp_path / "talk.mp4", painted([whole, whole]), in_entry=boxes, fine=True)
    info = probed(path)
    assert (info.layout, info.projection) == ("sbs", "equirect180")
    assert info.projection_reason == "resampled from the 144x120 degrees in the metadata"
    assert info.height == EYE * 180 / 120
    assert info.stored is not None
    for eye in decoded(info):
        assert pixels_off(eye, info).max() < 1
    named = probed(path.rename(tmp_path / "talk_LR_fisheye190.mp4"))
    assert (named.projection, named.stored) == ("fisheye190", None)
    assert any("144x120 degrees of a sphere, which is not used" in note for note in named.notes)


def part_of_sphere(edges: Bounds) -> Floats:
    """Directions of a fine grid over that part of the sphere."""
    places = lens_mesh().places
    longitude = (edges.left + places[:, 0] * (1 - edges.left - edges.right) - 0.5) * 2 * math.pi
    latitude = (edges.top + places[:, 1] * (1 - edges.top - edges.bottom) - 0.5) * math.pi
    level = np.cos(latitude)
    points = [np.sin(longitude) * level, np.sin(latitude), np.cos(longitude) * level]
    return np.stack(points, -1)


def test_a_crop_of_the_first_scheme(tmp_path: Path) -> None:
    fields: dict[str, object] = {
        "Spherical": "true",
        "Stitched": "true",
        "StitchingSoftware": "tests",
        "ProjectionType": "equirectangular",
        "StereoMode": "left-right",
        "CroppedAreaLeftPixels": 60,
        "CroppedAreaTopPixels": 10,
        "CroppedAreaImageWidthPixels": 280,
        "CroppedAreaImageHeightPixels": 180,
        "FullPanoWidthPixels": 400,
        "FullPanoHeightPixels": 200,
    }
    path = tmp_path / "talk.mp4"
    sphere_file(path, grey(180, 560), in_track=xml_box(**fields))
    info = probed(path)
    assert (info.layout, info.projection) == ("tb", "equirect360"), "252 degrees: a whole sphere"
    assert info.stored is not None
    assert info.stored.bounds == Bounds(0.05, 0.05, 0.15, 0.15)
    assert (info.width, info.height) == (400, 400)
    half = fields | {"CroppedAreaLeftPixels": 100, "CroppedAreaImageWidthPixels": 200}
    half |= {"CroppedAreaTopPixels": 0, "CroppedAreaImageHeightPixels": 200}
    info = probed(sphere_file(path, grey(200, 400), in_track=xml_box(**half)))
    assert (info.projection, info.stored) == ("equirect180", None)
    info = probed(sphere_file(path, grey(180, 180), in_track=xml_box(**fields)))
    assert info.stored is None
    assert any("does not fit an eye of 90x180, and is ignored" in note for note in info.notes)
    wrong = fields | {"CroppedAreaImageWidthPixels": 9000}
    info = probed(sphere_file(path, grey(180, 560), in_track=xml_box(**wrong)))
    assert any("(9000x180 of 400x200) and is ignored" in note for note in info.notes)


def test_the_initial_view_of_the_first_scheme_is_no_pose(tmp_path: Path) -> None:
    xml = xml_box(
        Spherical="true",
        Stitched="true",
        StitchingSoftware="tests",
        ProjectionType="equirectangular",
        InitialViewHeadingDegrees=90,
    )
    info = probed(sphere_file(tmp_path / "talk.mp4", grey(100, 200), in_track=xml))
    assert (info.projection, info.pose) == ("equirect360", (0, 0, 0))
    assert any("initial view" in note and "heading 90" in note for note in info.notes)


def test_a_pose_is_kept(tmp_path: Path) -> None:
    half = equi(0, 0, 0.25, 0.25)
    boxes = sphere_boxes(half, kind=b"equi", stereo_mode=SBS, pose=(10, -20.5, 0.125))
    mp4 = sphere_file(tmp_path / "talk.mp4", grey(EYE, 2 * EYE), in_entry=boxes)
    info = probed(mp4)
    assert info.pose == (10, -20.5, 0.125)
    assert any("(yaw 10, pitch -20.5, roll 0.125 degrees) is kept" in note for note in info.notes)
    named = probed(mp4.rename(tmp_path / "talk_LR_fisheye190.mp4"))
    assert any("is left out: there is no tag" in note for note in named.notes)
    mkv = matroska(Path(named.path), 1, half, stereo="left_right", pose=(10, -20.5, 0.125))
    assert probed(mkv.rename(tmp_path / "talk.mkv")).pose == (10, -20.5, 0.125)


def test_an_eye_that_does_not_fit_its_projection_is_named(tmp_path: Path) -> None:
    encode(tmp_path / "talk_TB_360.mp4", grey(200, 280))
    [note] = probed(tmp_path / "talk_TB_360.mp4").notes
    assert note.startswith("each eye is 280x100, which is not 2:1 as in equirect360")
    encode(tmp_path / "fine_TB_360.mp4", grey(200, 200))
    assert probed(tmp_path / "fine_TB_360.mp4").notes == ()
    encode(tmp_path / "talk_LR_180.mp4", grey(200, 280))
    [note] = probed(tmp_path / "talk_LR_180.mp4").notes
    assert note.startswith("each eye is 140x200, which is not 1:1 as in equirect180")


# -- a real camera's file


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("VRMATTE_MEDIA"), reason="VRMATTE_MEDIA is not set")
def test_a_camera_s_mesh_on_a_known_picture(tmp_path: Path) -> None:
    camera = Path(os.environ["VRMATTE_MEDIA"]) / "vr180_camera_mesh.mp4"
    content = read_stored(camera, "mov", 1).mesh
    assert content is not None
    eyes = [waves(directions_in_picture(m, 752, 1072), 60) for m in parse_meshes(content)]
    pictures = np.concatenate(eyes)[None]
    boxes = sphere_boxes(content, stereo_mode=TB)
    info = probed(sphere_file(tmp_path / "talk.mp4", pictures, in_entry=boxes, fine=True))
    link = tmp_path / "camera.mp4"
    link.symlink_to(camera.absolute())
    found = probed(link)
    assert replace(found.stored, track=1) == info.stored  # type: ignore[type-var]
    assert (found.layout, found.projection) == ("sbs", "equirect180")
    assert any("the camera's motion is left out" in note for note in found.notes)
    for eye in decoded(info):
        off = pixels_off(eye, info, 60)
        assert off.max() < 1
        assert off.mean() < 0.1
