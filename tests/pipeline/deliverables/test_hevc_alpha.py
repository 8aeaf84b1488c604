"""`hevc-alpha`: alpha is in every picture of the file, for whoever asks for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.contract import ColorTags, EncodingSettings, VideoInfo, VideoSettings
from pipeline.deliverables import alpha_layer
from pipeline.deliverables.alpha_layer import (
    decoded_rgba_frames,
    first_rgba_frames,
    has_alpha_layer,
    read_layers,
)
from pipeline.deliverables.hevc_alpha import HevcAlpha
from pipeline.encode.ffmpeg_pipe import ffmpeg_command, run_ffmpeg
from pipeline.errors import EncodeError
from pipeline.pixels.batches import FrameBatch, MatteBatch
from pipeline.pixels.layers import Layers
from tests.chains import layered
from tests.finished import Floats, rgba
from tests.pipeline.deliverables.segments import MadeUp

WIDTH, HEIGHT = 256, 96  # of both eyes
#: Frames 0, 5; 7; 8, 13 are keyframes.
LENGTHS = (7, 1, 6)
TOTAL = sum(LENGTHS)
VIDEO = VideoInfo(
    "/v.mkv", 1, 1, "", "matroska", "h264", WIDTH, HEIGHT, "yuv420p", 8, Fraction(30), TOTAL, TOTAL,
    False, ColorTags("bt709", "bt709", "bt709"), 0, (), "sbs", "",
)  # fmt: skip
SETTINGS = VideoSettings(encoding=EncodingSettings(keyframe_s=1 / 6))
MADE = HevcAlpha(VIDEO, SETTINGS)
COLOURS = ((200, 90, 60), (60, 110, 210))  # of the left eye's subject, of the right eye's


def painted(number: int) -> tuple[Tensor, Tensor]:
    """RGB uint8 ``[3, H, W]`` and alpha ``[2, 1, H, W / 2]``: a soft ellipse that walks."""
    rows, columns = torch.arange(HEIGHT)[:, None], torch.arange(WIDTH // 2)
    eyes, colours = [], []
    for eye, colour in enumerate(COLOURS):
        away = torch.hypot((columns - 40 - 3 * number + 2 * eye) / 30, (rows - 48) / 36)
        eyes.append(((1.15 - away) / 0.3).clamp(0, 1))
        colours.append(torch.tensor(colour)[:, None, None].expand(3, HEIGHT, WIDTH // 2))
    return torch.cat(colours, dim=2).to(torch.uint8), torch.stack(eyes)[:, None]


def batch(start: int, stop: int) -> Layers:
    rgb, alpha = zip(*(painted(k) for k in range(start, stop)), strict=True)
    frames = FrameBatch(torch.stack(rgb), start)
    return layered(frames, MatteBatch(torch.stack(alpha), None, start))


def truth(number: int) -> tuple[Floats, Floats]:
    """(RGB 0..255 ``[H, W, 3]``, alpha 0..1 ``[H, W]``)."""
    rgb, alpha = painted(number)
    whole = torch.cat(list(alpha[:, 0]), dim=1)
    return rgb.permute(1, 2, 0).double().numpy(), whole.double().numpy()


MADE_UP = MadeUp(batch, chunk=4)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return MADE_UP.segments(MADE, tmp_path_factory.mktemp("parts"), LENGTHS)


@pytest.fixture(scope="module")
def joined(parts: list[Path]) -> Path:
    return MADE_UP.joined(MADE, parts, LENGTHS)


@pytest.fixture(scope="module")
def pictures(joined: Path) -> list[Floats]:
    """``[H, W, 4]``, 0..255."""
    return [rgba(frame) for frame in first_rgba_frames(joined, TOTAL + 1)]


def test_frames_out_are_frames_in(pictures: list[Floats]) -> None:
    assert len(pictures) == TOTAL
    for number, picture in enumerate(pictures):
        _, alpha = truth(number)
        off = [np.abs(picture[..., 3] / 255 - truth(k)[1]).mean() for k in range(TOTAL)]
        assert int(np.argmin(off)) == number
        assert off[number] <= 0.01
        # The ends of the range are reached: nothing is left over, and nothing shines through.
        assert np.abs(picture[..., 3] - 255 * alpha)[(alpha == 0) | (alpha == 1)].mean() <= 0.5


def test_colours_are_kept_and_what_was_cut_out_is_not(pictures: list[Floats]) -> None:
    for number, picture in enumerate(pictures):
        rgb, alpha = truth(number)
        assert np.abs(picture[..., :3] - rgb)[alpha == 1].mean() <= 2.5
        near = np.lib.stride_tricks.sliding_window_view(np.pad(alpha > 0, 4), (9, 9))
        assert picture[..., :3][~near.any(axis=(2, 3))].mean() <= 2.5


@pytest.mark.parametrize("behind", [0, 255])
def test_no_fringe_is_seen_on_black_or_white(behind: int, pictures: list[Floats]) -> None:
    """Colours are straight: a player multiplies them by alpha, as the file tells it to."""
    for number, picture in enumerate(pictures):
        rgb, alpha = truth(number)
        edge = (alpha > 0) & (alpha < 1)
        seen, right = (
            colour * a[..., None] + behind * (1 - a[..., None])
            for colour, a in ((picture[..., :3], picture[..., 3] / 255), (rgb, alpha))
        )
        assert np.abs((seen - right)[edge].mean(axis=0)).max() <= 3  # one way all round
        assert np.abs(seen - right)[edge].mean() <= 6


def test_every_picture_is_copied_with_its_alpha(parts: list[Path], joined: Path) -> None:
    """Segments are joined without encoding again, and their header keeps what is of alpha."""
    found = read_layers(joined)
    assert found.frames == tuple(frame for part in parts for frame in read_layers(part).frames)
    keyframes = [number for number, frame in enumerate(found.frames) if frame.keyframe]
    assert keyframes == [0, 5, 7, 8, 13]
    assert has_alpha_layer(found.parameters)
    assert found.parameters == read_layers(parts[0]).parameters


def test_the_same_frames_give_the_same_file(parts: list[Path], tmp_path: Path) -> None:
    """x265 with more than one frame thread failed this about every third time."""
    for _ in range(4):
        again = MADE_UP.write(MADE, tmp_path / "again.mp4", 0, LENGTHS[0])
        assert again.read_bytes() == parts[0].read_bytes()


@pytest.mark.parametrize("numbers", [{0, 8}, {3, 9}])
def test_single_frames_are_found(numbers: set[int], joined: Path, pictures: list[Floats]) -> None:
    """With and without decoding those between keyframes."""
    found = dict(decoded_rgba_frames(joined, numbers))
    assert set(found) == numbers
    for number, frame in found.items():
        assert np.array_equal(rgba(frame), pictures[number])
        assert (int(frame.colorspace), int(frame.color_range)) == (1, 1)


def lost_in_the_header(whole: Path, target: Path) -> None:
    command = ffmpeg_command("-i", f"file:{whole}", "-c", "copy", "-tag:v", "hvc1", str(target))
    run_ffmpeg(command)


def lost_in_the_pictures(whole: Path, target: Path) -> None:
    chain = "hevc_mp4toannexb,filter_units=remove_types=39"
    options = ("-c", "copy", "-bsf:v", chain, "-tag:v", "hvc1")
    run_ffmpeg(ffmpeg_command("-i", f"file:{whole}", *options, str(target)))


def never_there(whole: Path, target: Path) -> None:
    options = (
        "-c:v",
        "libx265",
        "-pix_fmt",
        "yuv420p",
        "-x265-params",
        "log-level=error:bframes=0",
    )
    run_ffmpeg(ffmpeg_command("-i", f"file:{whole}", *options, "-tag:v", "hvc1", str(target)))


@pytest.mark.parametrize(
    ("lose", "said"),
    [
        (lost_in_the_header, "no alpha in its header"),
        (lost_in_the_pictures, "frame 0 of .* has no alpha"),
        (never_there, "frame 0 of .* has no alpha"),
    ],
)
def test_alpha_that_is_lost_is_noticed(
    lose: Callable[[Path, Path], None], said: str, parts: list[Path], tmp_path: Path
) -> None:
    """All of these play, and look right on black."""
    bad = tmp_path / "bad.mp4"
    lose(parts[0], bad)
    with pytest.raises(EncodeError, match=said):
        MADE.check_segment(bad, LENGTHS[0], MADE_UP.taken(0, 1))
    untagged = HevcAlpha(replace(VIDEO, layout="mono", projection="flat"), SETTINGS)
    untagged.verify(parts[0], LENGTHS[0])
    with pytest.raises(EncodeError, match=said):
        untagged.verify(bad, LENGTHS[0])
    # FFmpeg decodes the second one, without a word, and makes alpha of what lies in memory.
    if lose is not lost_in_the_pictures:
        with pytest.raises(EncodeError, match=r"does not decode with its alpha|decodes without"):
            list(first_rgba_frames(bad, 1))


def test_another_alpha_is_noticed(parts: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A 10-bit x265 was seen to encode the picture's luma as alpha."""
    with pytest.raises(EncodeError, match=r"frame 0 of .* is not what was made: "):
        MADE.check_segment(parts[0], LENGTHS[0], MADE_UP.taken(TOTAL, TOTAL + 1))
    swapped = HevcAlpha(replace(VIDEO, right_first=True), SETTINGS)
    with pytest.raises(EncodeError, match="is not what was made"):
        swapped.check_segment(parts[0], LENGTHS[0], MADE_UP.taken(0, 1))

    def with_luma(path: Path, numbers: set[int]) -> Any:
        for number, frame in decoded_rgba_frames(path, numbers):
            frame.planes[3].update(bytes(frame.planes[0]))
            yield number, frame

    monkeypatch.setattr("pipeline.deliverables.hevc_alpha.decoded_rgba_frames", with_luma)
    with pytest.raises(EncodeError, match="is not what was made"):
        MADE.check_segment(parts[0], LENGTHS[0], MADE_UP.taken(0, 1))


def test_another_number_of_frames_is_noticed(parts: list[Path], joined: Path) -> None:
    with pytest.raises(EncodeError, match=f"{TOTAL} frames instead of {TOTAL + 1}"):
        MADE.verify(joined, TOTAL + 1)
    with pytest.raises(EncodeError, match="frames instead of 3"):
        MADE.check_segment(parts[0], 3, [])
    with pytest.raises(EncodeError, match=r"frame 7 of .* is not there"):
        MADE.check_segment(parts[0], LENGTHS[0], [replace(MADE_UP.taken(0, 1)[0], frame=7)])


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_file_that_is_cut_off_is_noticed(share: float, joined: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.mp4"
    whole = joined.read_bytes()
    cut.write_bytes(whole[: int(len(whole) * share)])
    for look in (MADE.verify, lambda path, n: MADE.check_segment(path, n, [])):
        with pytest.raises(EncodeError):
            look(cut, TOTAL)


def test_segments_of_another_encoder_are_not_joined(parts: list[Path], tmp_path: Path) -> None:
    other = HevcAlpha(VIDEO, replace(SETTINGS, encoding=EncodingSettings(hevc_preset="slow")))
    foreign = MADE_UP.write(other, tmp_path / "foreign.mp4", 7, 8)
    with pytest.raises(EncodeError, match="different encoders"):
        MADE.join([parts[0], foreign, parts[2]], LENGTHS, tmp_path / "mixed.mp4")


def test_a_header_cut_anywhere_is_none(parts: list[Path]) -> None:
    record = read_layers(parts[0]).parameters
    assert has_alpha_layer(record)
    assert not any(has_alpha_layer(record[:end]) for end in range(len(record) - 5))
    premultiplied = record.replace(bytes.fromhex("4e01a50400"), bytes.fromhex("4e01a50410"))
    assert premultiplied != record
    assert not has_alpha_layer(premultiplied)


def test_units_that_overlap_nothing() -> None:
    units = alpha_layer._units(memoryview(bytes.fromhex("00000002 4001 00000009 4201")), 4)
    assert [bytes(unit) for unit in units] == [b"\x40\x01"]
