"""Prompts as a run keeps them: the same words, whatever they were written like."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.errors import DiskError, SettingsError
from pipeline.foreign.files import Unreadable
from pipeline.foreign.pictures import decode_mask, decode_rgb
from pipeline.prompts.prompts import Point, Prompt, Prompts
from pipeline.prompts.store import (
    Said,
    SaidOfVideo,
    digest_of,
    keep_prompts,
    kept_prompts,
    pack,
    read_mask,
    unpack,
)


def header_of(width: int, height: int) -> bytes:
    """A PNG of RGBA that says its size, and has almost no data."""
    ihdr = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    parts = ((b"IHDR", ihdr), (b"IDAT", zlib.compress(b"")), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    path = tmp_path / "mask.png"
    picture = np.zeros((4, 6), np.uint16)
    picture[1, 2], picture[2, 2] = 40000, 20000  # above half of the range, and below
    assert cv2.imwrite(str(path), picture)
    return path


def test_what_is_kept_is_what_was_said(mask: Path, tmp_path: Path) -> None:
    inside, outside = Point(1.5, 2), Point(3, 4, inside=False)
    prompts = Prompts(
        ("a", "b"),
        (
            Prompt(2, 1, 9, mask=mask),
            Prompt(1, 0, 5, (inside,), (1, 2, 3, 4)),
            Prompt(1, 0, 5, (outside,)),
            Prompt(1, 0, 6, (inside,), corrects=False),
        ),
    )
    packed = pack(prompts)
    keep_prompts(tmp_path / "work", packed)
    said = unpack(kept_prompts(tmp_path / "work", digest_of(packed)))
    assert said.names == ("a", "b")
    assert said.at(5, 0) == [Said(1, 0, 5, True, (inside, outside), (1, 2, 3, 4))]
    assert said.at(6, 0) == [Said(1, 0, 6, False, (inside,))]
    assert said.at(9, 1) == [Said(2, 1, 9, True, mask=mask.read_bytes())]
    assert said.at(9, 0) == ()
    marked = read_mask(mask.read_bytes())
    assert np.argwhere(marked).tolist() == [[1, 2]]
    mask.write_bytes(b"changed later")
    assert kept_prompts(tmp_path / "work", digest_of(packed)) == packed


def test_the_order_in_which_prompts_are_written_is_no_difference() -> None:
    some = (Prompt(1, 0, 5, (Point(1, 1),)), Prompt(2, 0, 3, (Point(2, 2),)))
    assert pack(Prompts(("a", "b"), some)) == pack(Prompts(("a", "b"), some[::-1]))


def test_a_mask_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.png"

    def refusal() -> str:
        with pytest.raises(SettingsError) as caught:
            pack(Prompts(("hoop",), (Prompt(1, 0, 0, mask=path),)))
        return str(caught.value)

    assert "cannot be read: No such file" in refusal()
    path.write_bytes(b"no picture")
    assert "object 'hoop' cannot be read as a picture" in refusal()
    path.write_bytes(header_of(60_000, 60_000))
    assert "is a picture of 60000x60000 pixels, which are too many" in refusal()
    path.write_bytes(header_of(4, 4))
    assert "object 'hoop' cannot be read as a picture" in refusal()
    assert cv2.imwrite(str(path), np.zeros((4, 4), np.uint8))
    assert "marks nothing" in refusal()


def test_what_is_gone_or_damaged_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="cannot be read"):
        kept_prompts(tmp_path, digest_of(b"text"))
    keep_prompts(tmp_path, b"text")
    with pytest.raises(DiskError, match="is damaged"):
        kept_prompts(tmp_path, digest_of(b"other"))


frames = st.lists(st.tuples(st.integers(1, 3), st.integers(0, 1), st.integers(0, 50)), max_size=12)


@given(frames, st.integers(1, 3), st.integers(0, 50), st.integers(0, 1))
def test_nothing_is_nearer_than_the_nearest(
    places: list[tuple[int, Any, int]], number: int, frame: int, eye: int
) -> None:
    said = SaidOfVideo(("a", "b", "c"), (Said(o, e, f, True) for o, e, f in places))
    found = said.nearest(number, frame, eye)
    there = [f for o, e, f in places if (o, e) == (number, eye)]
    assert said.speaks_of(number, eye) == bool(there)
    if found is None:
        assert not there
    else:
        assert (found.object_id, found.eye) == (number, eye)
        assert found.frame == min(there, key=lambda f: (abs(f - frame), f))


#: In each picture the upper left pixel of 2x2 is the object.
OBJECT = [[True, False], [False, False]]


def png(image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


def rgba(*pixels: tuple[int, int, int, int]) -> Image.Image:
    return Image.fromarray(np.array(pixels, np.uint8).reshape(2, 2, 4))


def palette(colours: dict[int, tuple[int, int, int]], *indices: int) -> Image.Image:
    table = [0] * 768
    for index, colour in colours.items():
        table[3 * index : 3 * index + 3] = colour
    image = Image.frombytes("P", (2, 2), bytes(indices))
    image.putpalette(table)
    return image


WHITE, CLEAR = (255, 255, 255, 255), (255, 255, 255, 0)
BLACK, RED = (0, 0, 0, 255), (200, 10, 10, 255)


@pytest.mark.parametrize(
    "image",
    [
        rgba(WHITE, CLEAR, CLEAR, CLEAR),
        rgba(WHITE, CLEAR, BLACK, (0, 0, 0, 0)),
        rgba(WHITE, (255, 255, 255, 90), BLACK, BLACK),
        rgba(RED, CLEAR, CLEAR, CLEAR),
        rgba(RED, BLACK, BLACK, BLACK).convert("RGB"),
        rgba(WHITE, CLEAR, CLEAR, CLEAR).convert("LA"),
        rgba(WHITE, BLACK, BLACK, BLACK).convert("RGB"),
        rgba(WHITE, BLACK, BLACK, BLACK).convert("1"),
        palette({1: (128, 0, 0)}, 1, 0, 0, 0),  # as DAVIS writes them
        palette({0: (255, 255, 255), 3: (0, 0, 0)}, 0, 3, 3, 3),
    ],
)
def test_a_mask_may_say_by_white_alpha_or_one_colour_what_it_marks(image: Image.Image) -> None:
    assert read_mask(png(image)).tolist() == OBJECT


def test_transparent_greys_are_not_marked() -> None:
    grey = Image.fromarray(np.array([[255, 250], [0, 0]], np.uint8))
    assert read_mask(png(grey, transparency=250)).tolist() == OBJECT
    deep = Image.fromarray(np.array([[65535, 60000], [0, 0]], np.uint16))
    assert read_mask(png(deep)).tolist() == [[True, True], [False, False]]
    assert read_mask(png(deep, transparency=60000)).tolist() == OBJECT


def test_a_mask_of_several_colours_does_not_say_which_is_the_object(tmp_path: Path) -> None:
    path = tmp_path / "m.png"
    for image in (
        palette({1: (128, 0, 0), 2: (0, 128, 0)}, 1, 2, 0, 0),
        rgba(RED, (10, 10, 200, 255), CLEAR, CLEAR),
    ):
        path.write_bytes(png(image))
        with pytest.raises(SettingsError, match="has several colours, so it does not say which"):
            pack(Prompts(("hoop",), (Prompt(1, 0, 0, mask=path),)))


def test_a_plain_mask_is_kept_as_it_is_and_any_other_as_it_was_understood(tmp_path: Path) -> None:
    """So that frames change with the digest: it is of what is marked."""
    path = tmp_path / "m.png"

    def kept(image: Image.Image) -> bytes | None:
        path.write_bytes(png(image))
        return unpack(pack(Prompts(("hoop",), (Prompt(1, 0, 0, mask=path),)))).at(0, 0)[0].mask

    plain = rgba(WHITE, BLACK, BLACK, BLACK).convert("L")
    assert kept(plain) == png(plain)
    clear, red = (kept(rgba(pixel, CLEAR, CLEAR, CLEAR)) for pixel in (WHITE, RED))
    assert clear is not None
    assert clear == red != path.read_bytes()
    assert read_mask(clear).tolist() == OBJECT


@given(
    st.sampled_from([rgba(RED, CLEAR, CLEAR, CLEAR), palette({1: (9, 9, 9)}, 1, 0, 0, 0)]),
    st.lists(st.tuples(st.integers(24, 120), st.integers(0, 255)), min_size=1, max_size=4),
    st.integers(0, 200),
)
@settings(max_examples=40)
def test_whatever_a_picture_holds_it_is_a_mask_or_a_reason(
    image: Image.Image, changes: list[tuple[int, int]], cut: int
) -> None:
    content = bytearray(png(image))
    for place, value in changes:
        content[min(place, len(content) - 1)] = value
    told = ""
    ways: list[Callable[[bytes], object]] = [decode_mask, decode_rgb]
    for read in ways:
        try:
            read(bytes(content[: len(content) - cut if cut < 20 else None]))
        except Unreadable as error:
            told = error.why
    assert "\n" not in told
