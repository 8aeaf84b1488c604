"""`tiff`: every pixel of every frame is in the file, and the programs that read masks find it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray
from PIL import Image, ImageSequence
from PIL.TiffImagePlugin import IMAGEDESCRIPTION, SOFTWARE, TiffImageFile
from torch import Tensor

from pipeline.contract import ColorTags, EncodingSettings, VideoInfo, VideoSettings
from pipeline.deliverables import tiff
from pipeline.deliverables.cut import Run
from pipeline.errors import DiskError, EncodeError
from pipeline.files.publish import file_digest
from pipeline.pixels.batches import FrameBatch, MatteBatch
from pipeline.pixels.layers import Layers
from pipeline.verify.selfcheck import take_sample
from tests.chains import layered
from tests.mounts import small_disk
from tests.pipeline.deliverables.segments import MadeUp

Masks = NDArray[np.uint8]

#: Of both eyes; a page is more than one strip.
WIDTH, HEIGHT = 4096, 150
LENGTHS = (4, 1, 3)
TOTAL = sum(LENGTHS)
VIDEO = VideoInfo(
    "/v.mkv", 1, 1, "", "matroska", "h264", WIDTH, HEIGHT, "yuv420p", 8, Fraction(30000, 1001),
    TOTAL, TOTAL, False, ColorTags(), 0, (), "sbs", "",
)  # fmt: skip
MADE = tiff.Tiff(VIDEO, VideoSettings())
LABELS = tiff.Tiff(VIDEO, VideoSettings(encoding=EncodingSettings(tiff_pages="labels")))


def alpha(number: int) -> Tensor:
    """Float ``[2, 1, H, W / 2]``: a soft spot of its own place in each eye, with some noise."""
    rows, columns = torch.arange(HEIGHT)[:, None], torch.arange(WIDTH // 2)
    draw = torch.Generator().manual_seed(number)
    eyes = []
    for eye in (0, 1):
        away = torch.hypot((columns - 700 - 90 * number - 40 * eye) / 500, (rows - 70) / 50)
        noise = torch.rand(HEIGHT, WIDTH // 2, generator=draw) * 0.1
        eyes.append(((1.2 - away) / 0.4 + noise).clamp(0, 1))
    return torch.stack(eyes)[:, None]


def batch(start: int, stop: int) -> Layers:
    rgb = torch.zeros(stop - start, 3, HEIGHT, WIDTH, dtype=torch.uint8)
    matte = torch.stack([alpha(number) for number in range(start, stop)])
    return layered(FrameBatch(rgb, start), MatteBatch(matte, None, start))


def truth(number: int) -> Masks:
    """``[H, W]``: by the formula, not by the code."""
    left, right = alpha(number)[:, 0].numpy()
    return np.floor(np.concatenate([left, right], axis=1) * 255 + 0.5).astype(np.uint8)


MADE_UP = MadeUp(batch, chunk=3)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return MADE_UP.segments(MADE, tmp_path_factory.mktemp("parts"), LENGTHS)


@pytest.fixture(scope="module")
def joined(parts: list[Path]) -> Path:
    return MADE_UP.joined(MADE, parts, LENGTHS)


def packed(path: Path) -> list[bytes]:
    with tifffile.TiffFile(path) as stack:
        whole = path.read_bytes()
        return [
            whole[begin : begin + length]
            for page in stack.pages
            for begin, length in zip(page.dataoffsets, page.databytecounts, strict=True)
        ]


def by_pillow(path: Path) -> list[Masks]:
    with Image.open(path) as image:
        assert image.mode == "L"
        return [np.asarray(page) for page in ImageSequence.Iterator(image)]


def by_opencv(path: Path) -> list[Masks]:
    found, pages = cv2.imreadmulti(str(path), flags=cv2.IMREAD_UNCHANGED)
    assert found
    return list(pages)


def by_tifffile(path: Path) -> list[Masks]:
    with tifffile.TiffFile(path) as stack:
        return [page.asarray() for page in stack.pages]


@pytest.mark.parametrize("read", [by_pillow, by_opencv, by_tifffile])
def test_every_reader_finds_every_pixel(read: Callable[[Path], list[Masks]], joined: Path) -> None:
    pages = read(joined)
    assert len(pages) == TOTAL
    for number, page in enumerate(pages):
        assert page.dtype == np.uint8
        assert np.array_equal(page, truth(number))


def test_pages_are_joined_as_they_are(parts: list[Path], joined: Path) -> None:
    assert packed(joined) == [strip for part in parts for strip in packed(part)]
    assert len(packed(joined)) > TOTAL


def test_runs_cut_out_of_a_joined_file_join_to_the_very_same_file(
    parts: list[Path], joined: Path, tmp_path: Path
) -> None:
    begin, end, again = (tmp_path / name for name in ("kept-0.tif", "kept-2.tif", "again.tif"))
    first, second = LENGTHS[0], LENGTHS[0] + LENGTHS[1]
    digest = MADE.cut(joined, [Run(0, first, begin), Run(second, TOTAL, end)], parts[1])
    MADE.join([begin, parts[1], end], LENGTHS, again)
    assert file_digest(again) == digest == file_digest(joined)


def test_a_small_file_is_a_classic_one_that_tells_its_rate(joined: Path) -> None:
    with tifffile.TiffFile(joined) as stack:
        assert not stack.is_bigtiff
    with Image.open(joined) as image:
        assert isinstance(image, TiffImageFile)
        assert image.tag_v2[IMAGEDESCRIPTION] == f"{TOTAL} frames, 30000/1001 frames/s"
        assert SOFTWARE not in image.tag_v2
        image.seek(1)
        assert IMAGEDESCRIPTION not in image.tag_v2


def test_a_file_of_4_gb_is_none(parts: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    assert not tiff.needs_bigtiff(4_200_000_000)
    assert tiff.needs_bigtiff(4_294_950_000)
    monkeypatch.setattr(tiff, "needs_bigtiff", lambda size: True)
    target = parts[0].with_name("big.tif")
    MADE.join(parts, LENGTHS, target)
    MADE.verify(target, TOTAL)
    with tifffile.TiffFile(target) as stack:
        assert stack.is_bigtiff
    assert np.array_equal(by_pillow(target)[-1], truth(TOTAL - 1))


def test_the_same_frames_give_the_same_bytes(parts: list[Path], tmp_path: Path) -> None:
    again = MADE_UP.write(MADE, tmp_path / "again.tif", 0, LENGTHS[0])
    assert again.read_bytes() == parts[0].read_bytes()


def test_a_joined_file_is_no_larger_than_was_told(parts: list[Path], joined: Path) -> None:
    told = sum(part.stat().st_size for part in parts) + MADE.overhead_bytes(TOTAL)
    assert joined.stat().st_size <= told


def surely(number: int, *, exchanged: bool = False) -> Tensor:
    """Float ``[2, 3, 25, 40]``: the left eye is split from top to bottom in three, the right one
    at half its height in two, the second object there being nowhere."""
    objects = torch.full((2, 3, 25, 40), -1024.0)
    edges = (0, 12 + number, 24, 40)
    for n in range(3):
        objects[0, n, :, edges[n] : edges[n + 1]] = 9.0
    objects[1, 2 if exchanged else 0, :13] = 9.0
    objects[1, 0 if exchanged else 2, 13:] = 9.0
    return objects


def labelled(start: int, stop: int, *, exchanged: bool = False) -> Layers:
    objects = [surely(number, exchanged=exchanged) for number in range(start, stop)]
    return replace(batch(start, stop), objects=torch.stack(objects))


def true_labels(number: int) -> Masks:
    """``[H, W]``: by the places, not by the code; cells are 51.2 columns and 6 rows."""
    columns, rows = np.arange(WIDTH // 2) + 0.5, np.arange(HEIGHT)[:, None] + 0.5
    edges = np.array([12 + number, 24]) * (WIDTH / 2 / 40)
    left = 1 + (columns > edges[0]).astype(int) + (columns > edges[1])
    right = np.where(rows < 13 * 6, 1, 3)
    both = [np.broadcast_to(eye, (HEIGHT, WIDTH // 2)) for eye in (left, right)]
    inside = np.concatenate(list(alpha(number)[:, 0].numpy()), axis=1) >= 0.5
    return (np.concatenate(both, axis=1) * inside).astype(np.uint8)


def test_labels_are_the_objects_frame_by_frame(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.tif", "b.tif", "joined.tif")]
    lengths = (2, 1)
    for path, start, stop in ((paths[0], 0, 2), (paths[1], 2, 3)):
        encoder = LABELS.open_segment(path)
        encoder.write(LABELS.planes(labelled(start, stop)))
        encoder.close()
        layers = labelled(start, stop)
        samples = [take_sample(layers, t, t) for t in range(stop - start)]
        LABELS.check_segment(path, stop - start, samples)
        wrong = take_sample(labelled(start, stop, exchanged=True), 0, 0)
        with pytest.raises(EncodeError, match="labels off by"):
            LABELS.check_segment(path, stop - start, [wrong])
    LABELS.join(paths[:2], lengths, paths[2])
    LABELS.verify(paths[2], 3)
    pages = by_pillow(paths[2])
    assert len(pages) == 3
    for number, page in enumerate(pages):
        assert set(np.unique(page)) == {0, 1, 2, 3}
        assert np.array_equal(page, true_labels(number))
    with Image.open(paths[2]) as image:
        assert isinstance(image, TiffImageFile)
        assert image.tag_v2[IMAGEDESCRIPTION].endswith(", numbers of objects")


def test_what_is_one_subject_has_one_label() -> None:
    (page,) = LABELS.planes(batch(0, 1)).view(1, HEIGHT, WIDTH).numpy()
    inside = np.concatenate(list(alpha(0)[:, 0].numpy()), axis=1) >= 0.5
    assert np.array_equal(page, inside)


def test_another_number_of_frames_is_noticed(parts: list[Path], joined: Path) -> None:
    with pytest.raises(EncodeError, match=f"{TOTAL} frames instead of {TOTAL + 1}"):
        MADE.verify(joined, TOTAL + 1)
    with pytest.raises(EncodeError, match="frames instead of 3"):
        MADE.check_segment(parts[0], 3, [])


def test_the_frames_of_another_segment_are_noticed(parts: list[Path]) -> None:
    with pytest.raises(EncodeError, match=r"frame 0 of .* is not what was made: alpha off by"):
        MADE.check_segment(parts[0], LENGTHS[0], MADE_UP.taken(1, 2))


def test_exchanged_eyes_are_noticed(parts: list[Path]) -> None:
    other = tiff.Tiff(replace(VIDEO, right_first=True), VideoSettings())
    with pytest.raises(EncodeError, match="is not what was made"):
        other.check_segment(parts[0], LENGTHS[0], MADE_UP.taken(0, 1))


@pytest.mark.parametrize("size", [(WIDTH + 2, HEIGHT), (WIDTH, HEIGHT - 2)])
def test_pages_of_another_size_are_noticed(size: tuple[int, int], joined: Path) -> None:
    other = replace(VIDEO, width=size[0], height=size[1])
    with pytest.raises(EncodeError, match=r"frame 0 .* is not a page as it was written"):
        tiff.Tiff(other, VideoSettings()).verify(joined, TOTAL)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.9999])
def test_a_file_that_is_cut_off_is_noticed(share: float, parts: list[Path], tmp_path: Path) -> None:
    cut = tmp_path / "cut.tif"
    whole = parts[0].read_bytes()
    cut.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(EncodeError):
        MADE.check_segment(cut, LENGTHS[0], [])
    with pytest.raises(EncodeError):
        MADE.verify(cut, LENGTHS[0])


def test_whatever_byte_is_wrong_it_is_told_in_one_way(parts: list[Path], tmp_path: Path) -> None:
    """Or the pixels are right all the same, as some bits say nothing."""
    whole = parts[1].read_bytes()
    samples = MADE_UP.taken(LENGTHS[0], LENGTHS[0] + 1)
    draw = np.random.default_rng(0)
    pixels = whole.index(packed(parts[1])[0])
    for place in [*range(pixels), *draw.integers(pixels, len(whole), 100)]:
        damaged = bytearray(whole)
        damaged[place] ^= int(draw.integers(1, 256))
        (tmp_path / "damaged.tif").write_bytes(damaged)
        try:
            MADE.check_segment(tmp_path / "damaged.tif", 1, samples)
        except EncodeError:
            continue
        [page] = by_tifffile(tmp_path / "damaged.tif")
        assert np.array_equal(page, truth(LENGTHS[0]))


def test_a_flipped_bit_of_the_joined_file_is_refused(joined: Path, tmp_path: Path) -> None:
    """Of its tables by `verify`, of its strips by the digest that `join` compared."""
    whole, draw = joined.read_bytes(), np.random.default_rng(0)
    bad = tmp_path / "bad.tif"
    with tifffile.TiffFile(joined) as stack:
        pages = [page for page in stack.pages if isinstance(page, tifffile.TiffPage)]
        tables = [tag.offset + at for page in pages for tag in page.tags for at in (0, 2, 4)]
    for place in [*draw.choice(tables, 30), *draw.integers(8, len(whole), 10)]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(draw.integers(8))
        bad.write_bytes(damaged)
        try:
            assert MADE.verify(bad, TOTAL) != file_digest(joined)
            assert place not in tables
        except EncodeError:
            pass


def test_the_digest_is_that_of_the_file(parts: list[Path], tmp_path: Path) -> None:
    target = tmp_path / "joined.tif"
    joined = MADE.join(parts, LENGTHS, target).digest
    assert joined == MADE.verify(target, TOTAL) == file_digest(target)


def test_a_segment_that_is_gone_or_cut_is_not_joined(parts: list[Path], tmp_path: Path) -> None:
    cut = tmp_path / "cut.tif"
    cut.write_bytes(parts[1].read_bytes()[:-100])
    with pytest.raises(EncodeError, match="cannot read back cut"):
        MADE.join([parts[0], cut, parts[2]], LENGTHS, tmp_path / "joined.tif")
    with pytest.raises(DiskError, match=r"gone\.tif is gone"):
        MADE.join([parts[0], tmp_path / "gone.tif", parts[2]], LENGTHS, tmp_path / "joined.tif")


def test_a_folder_that_is_gone_is_the_disks_fault(parts: list[Path], tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="is gone"):
        MADE.open_segment(tmp_path / "gone" / "part.tif")
    with pytest.raises(DiskError, match="is gone"):
        MADE.join(parts, LENGTHS, tmp_path / "gone" / "joined.tif")


def test_giving_up_never_raises(tmp_path: Path) -> None:
    encoder = MADE.open_segment(tmp_path / "part.tif")
    encoder.write(MADE.planes(batch(0, 1)))
    encoder.abort()
    encoder.abort()


_FILL = """
import sys, torch
from pathlib import Path
from pipeline.deliverables.tiff import StackEncoder
from pipeline.errors import DiskError
path = Path(sys.argv[1])
noise = torch.randint(0, 256, (1, 256 * 1024), dtype=torch.uint8)
for pages in (8, 4):
    encoder = StackEncoder(path, (256, 1024))
    try:
        for _ in range(pages):
            encoder.write(noise)
        encoder.close()
    except DiskError as error:
        encoder.abort()
        path.unlink()
        print(error)
"""


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    """Also where only what was left in the buffer finds no room."""
    with small_disk(tmp_path, "1m") as disk:
        command = [sys.executable, "-c", _FILL, str(tmp_path / "part.tif")]
        done = subprocess.run(disk.command(command), capture_output=True, text=True, check=True)
    assert done.stdout.count("no room left for ") == 2, done
