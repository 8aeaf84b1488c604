"""A camera's file with a mesh projection comes out as VR180: name, tags and geometry."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pipeline.pixels.projection import Equirectangular
from pipeline.verify.readback import inspect_file
from pipeline.vr_tags.in_files import FoundTags
from pipeline.vr_tags.mesh import EyeMesh
from tests.clips import read_frames
from tests.pipeline.meshes import lens_mesh, mshp, sphere_boxes, sphere_file
from tests.runs import HereRun

pytestmark = pytest.mark.slow

EYE, CELLS, FRAMES = 256, 16, 4
GREEN = (0, 177, 64)
LEFT, RIGHT = (lens_mesh(cells=CELLS, yaw=yaw, bend=0.1) for yaw in (3, -4))
#: Rows and columns of the mesh at whose crossings dots are painted.
CROSSINGS = (3, 6, 8, 10, 13)
POSE = (30.0, 0.0, -2.5)
SETTINGS: dict[str, dict[str, object]] = {
    "matting": {"model": "chroma"},
    "output": {"formats": ["webm", "matte", "alphapack"]},
    "workers": {"gpus": "none"},
}


def dots(mesh: EyeMesh) -> list[int]:
    """Vertices at which dots are painted; the eyes' differ in one."""
    crossings = [row * (CELLS + 1) + column for row in CROSSINGS for column in CROSSINGS]
    return crossings if mesh is LEFT else crossings[1:]


def painted(mesh: EyeMesh) -> NDArray[np.uint8]:
    """White dots of 11 pixels on a screen, their centres at vertices of the mesh."""
    eye = np.empty((EYE, EYE, 3), np.uint8)
    eye[:] = GREEN
    y, x = np.mgrid[:EYE, :EYE] + 0.5
    for u, v in mesh.places[dots(mesh)] * EYE:
        eye[np.hypot(x - u, y - v) < 5.5] = 235
    return eye


def found_dots(alpha: NDArray[np.uint8], centre: NDArray[np.float64]) -> NDArray[np.float64]:
    """The middle of what is opaque within 12 pixels of a place, (x, y)."""
    y, x = np.mgrid[: alpha.shape[0], : alpha.shape[1]] + 0.5
    weight = alpha * (np.hypot(x - centre[0], y - centre[1]) < 12) / 255.0
    assert weight.sum() > 40, "there is a dot"
    total = weight.sum()
    return np.array([(x * weight).sum() / total, (y * weight).sum() / total])


def test_a_camera_s_file_comes_out_as_vr180(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    picture = np.concatenate([painted(LEFT), painted(RIGHT)])
    boxes = sphere_boxes(mshp([LEFT, RIGHT], b"dfl8"), stereo_mode=1, pose=POSE)
    sphere_file(folder / "talk.mp4", np.stack([picture] * FRAMES), in_entry=boxes)
    run = HereRun(folder, tmp_path / "out", SETTINGS, threads=True)
    assert run.run() in (0, 1), run.said.getvalue()  # dots may well be doubtful people
    report = json.loads((run.out / "report.json").read_text())
    [video] = report["videos"]
    names = {Path(output["path"]).name for output in video["outputs"]}
    packed = "talk_matte_LR_180_FISHEYE_F180_alpha.mp4"
    assert names == {"talk_LR_180_matte.webm", "talk_LR_180_matte_mask.mp4", packed}
    assert any("is resampled from the file's mesh to equirect180" in n for n in video["notes"])
    assert any("(yaw 30, pitch 0, roll -2.5 degrees) is kept" in n for n in video["notes"])
    assert "is resampled from the file's mesh" in run.said.getvalue()

    for name in ("talk_LR_180_matte.webm", "talk_LR_180_matte_mask.mp4"):
        tags = inspect_file(run.out / name, decode_ends=True).tags
        assert tags == FoundTags("sbs", False, "equirect180", POSE), name

    frames = read_frames(run.out / "talk_LR_180_matte.webm")
    assert len(frames) == FRAMES
    side = frames[-1].shape[0]
    assert frames[-1].shape[:2] == (side, 2 * side)
    for eye, mesh in enumerate((LEFT, RIGHT)):
        alpha = frames[-1][:, eye * side : (eye + 1) * side, 3]
        points = torch.from_numpy(mesh.points[dots(mesh)])
        places = Equirectangular(side, side).positions(points)[0].numpy() * side
        for place in places:
            assert np.hypot(*(found_dots(alpha, place) - place)) < 1
        share = len(places) * np.pi * 6.5**2 * (side * 1.2 / EYE) ** 2 / side**2
        assert alpha.mean() / 255 < share, "nothing else is opaque, nor what the mesh leaves black"
