"""Colours by the tags of a file: planes made by the formulas, encoded, and read as they decode."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.contract import VideoInfo
from pipeline.errors import InputError
from pipeline.source.decode import FrameReader
from pipeline.source.picture.color_tags import color_tags, require_known_colors
from pipeline.source.timing.frame_index import FrameIndex
from pipeline.source.video_info import read_video
from tests.render import CPU, chroma_settings, render

COLOURS = ((200, 40, 60), (30, 180, 90), (50, 70, 220), (128, 128, 128), (240, 230, 20))
BAR = 32
#: Number and luma weights of red and blue, by Rec. ITU-T H.273, table 4.
MATRICES = {
    "fcc": (4, 0.30, 0.11),
    "smpte240m": (7, 0.212, 0.087),
    "bt2020nc": (9, 0.2627, 0.0593),
    "bt709": (1, 0.2126, 0.0722),
    "unspecified": (2, 0.2126, 0.0722),
}


def samples(colour: tuple[int, ...], matrix: str, full: bool, depth: int) -> list[float]:
    """Y, U, V by H.273's equations 11 and following."""
    red, green, blue = (value / 255 for value in colour)
    if matrix == "ycgco":
        y, u, v = (red + 2 * green + blue) / 4, (2 * green - red - blue) / 4, (red - blue) / 2
        chroma = 219
    else:
        _, kr, kb = MATRICES[matrix]
        y = kr * red + (1 - kr - kb) * green + kb * blue
        u, v = (blue - y) / (2 - 2 * kb), (red - y) / (2 - 2 * kr)
        chroma = 224
    unit, top = 2 ** (depth - 8), 2**depth - 1
    if full:
        return [y * top, u * top + 128 * unit, v * top + 128 * unit]
    return [(219 * y + 16) * unit, (chroma * u + 128) * unit, (chroma * v + 128) * unit]


def bars(
    path: Path,
    pixel_format: str,
    matrix: str,
    full: bool,
    *,
    number: int | None = None,
    height: int = 32,
) -> Path:
    """A lossless clip of the colours side by side, tagged with `matrix`, or with that number."""
    frame = av.VideoFrame(BAR * len(COLOURS), height, pixel_format)
    depth = frame.format.components[0].bits
    for place, plane in enumerate(frame.planes):
        kind = np.uint8 if depth == 8 else np.uint16
        rows = np.zeros((plane.height, plane.line_size // kind().itemsize), kind)
        width = plane.width // len(COLOURS)
        for bar, colour in enumerate(COLOURS):
            value = samples(colour, matrix, full, depth)[place] if place < 3 else 2**depth - 1
            rows[:, bar * width : (bar + 1) * width] = round(value)
        plane.update(rows.tobytes())
    if number is None:
        number = 8 if matrix == "ycgco" else MATRICES[matrix][0]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = frame.width, height, pixel_format
        stream.codec_context.colorspace = frame.colorspace = number
        stream.codec_context.color_range = frame.color_range = 2 if full else 1
        for pts in range(2):
            frame.pts = pts
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def decoded(path: Path, folder: Path) -> tuple[VideoInfo, NDArray[np.float32]]:
    """The means of the bars, red, green and blue."""
    info = read_video(path, folder / "index.json", "mono")
    picture = FrameReader(info, FrameIndex.load(folder / "index.json"), CPU).picture(0)
    inside = [picture[:, 8:24, bar * BAR + 8 : (bar + 1) * BAR - 8] for bar in range(len(COLOURS))]
    return info, np.array([part.float().mean((1, 2)).numpy() for part in inside])


@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("matrix", ["fcc", "smpte240m", "ycgco"])
@pytest.mark.parametrize(
    "pixel_format", ["yuv444p", "yuv420p10le", "yuva444p", "yuv440p", "yuv411p"]
)
def test_colours_by_rare_matrices(
    pixel_format: str, matrix: str, full: bool, tmp_path: Path
) -> None:
    info, found = decoded(bars(tmp_path / "bars.mkv", pixel_format, matrix, full), tmp_path)
    assert (info.color.matrix, info.notes) == (matrix, ())
    assert np.abs(found - COLOURS).max() <= 2


@pytest.mark.parametrize("pixel_format", ["yuv444p", "yuv440p", "yuv410p", "yuv444p16le"])
def test_untagged_hd_is_bt709_in_every_pixel_format(pixel_format: str, tmp_path: Path) -> None:
    path = bars(tmp_path / "bars.mkv", pixel_format, "unspecified", False, height=720)
    info, found = decoded(path, tmp_path)
    assert (info.color.matrix, info.notes) == ("unspecified", ())
    assert np.abs(found - COLOURS).max() <= 2


def test_a_matrix_of_another_kind_of_picture_is_said(tmp_path: Path) -> None:
    path = bars(tmp_path / "bars.mkv", "yuv420p", "bt709", False, number=0, height=720)
    info, found = decoded(path, tmp_path)
    (note,) = info.notes
    assert "is RGB, which its pictures are not: taken for BT.709" in note
    assert np.abs(found - COLOURS).max() <= 2


def test_a_reserved_matrix_is_said() -> None:
    """FFmpeg's decoders of H.264 and HEVC leave it unspecified already; others may not."""
    frame = av.VideoFrame(32, 32, "yuv420p")
    frame.colorspace = 3
    (note,) = require_known_colors(frame, "film.mov")
    assert "is number 3, reserved: taken for BT.709" in note
    assert color_tags(frame).matrix == "unspecified"


@pytest.mark.parametrize(
    ("number", "name"),
    [(10, "constant luminance"), (11, "2085"), (12, "primaries"), (13, "primaries"), (14, "ICtCp")],
)
def test_a_matrix_that_cannot_be_undone_is_refused_in_one_line(
    number: int, name: str, tmp_path: Path
) -> None:
    path = bars(tmp_path / "bars.mkv", "yuv420p10le", "bt2020nc", False, number=number)
    with pytest.raises(InputError, match=name) as caught:
        read_video(path, tmp_path / "index.json", None)
    assert "\n" not in str(caught.value)
    assert caught.value.advice.startswith("convert it first")


def test_pixel_formats_of_other_meaning_are_refused() -> None:
    with pytest.raises(InputError, match="XYZ"):
        require_known_colors(av.VideoFrame(32, 32, "xyz12le"), "film.mov")
    frame = av.VideoFrame(32, 32, "yuv420p16be")
    frame.colorspace = 8
    with pytest.raises(InputError, match="YCgCo in pictures of yuv420p16be"):
        require_known_colors(frame, "film.mov")


@pytest.mark.slow
@pytest.mark.parametrize("matrix", ["fcc", "smpte240m", "ycgco"])
@pytest.mark.parametrize("made", ["webm", "prores"])
def test_outputs_of_rare_matrices_have_the_same_colours(
    matrix: str, made: str, tmp_path: Path
) -> None:
    """The outputs have a matrix that their codecs can name."""
    path = bars(tmp_path / "bars.mkv", "yuv444p", matrix, False)
    settings = replace(chroma_settings(), deliverables=(made,))
    _, target = render(path, tmp_path, settings, layout="mono")
    with av.open(str(target)) as container:
        frame = next(container.decode(video=0))
        assert int(frame.colorspace) == 6
        shown = frame.to_ndarray(format="rgb24").astype(float)
    for bar, colour in enumerate(COLOURS[2:4], 2):  # the others chroma takes for the screen
        inside = shown[8:24, bar * BAR + 8 : (bar + 1) * BAR - 8]
        assert np.abs(inside.mean((0, 1)) - colour).max() <= 8
