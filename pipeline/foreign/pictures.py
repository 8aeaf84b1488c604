"""Reads pictures of others: their size is read from the header before anything is decoded.

A file of some kilobytes can say that it is a picture of terabytes. What a mask marks is decided
here, too, because it depends on how a picture says which pixels are there: in white, in one
colour, or by its alpha.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.foreign.files import Unreadable

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

#: A frame of 16384x8192, both eyes in it.
MOST_PIXELS = 1 << 27

#: Of a channel of 8 bits: what differs by no more is grey (JPEG rounds), what is no more is black.
_NEARLY = 8

_STRIP_PIXELS = 1 << 22  # of a mask, looked at together

_NO_PICTURE = "cannot be read as a picture"
_WHITE_ON_BLACK = "paint the object white on black, one mask for each object"


@dataclass(frozen=True, slots=True)
class Mask:
    """What a picture marks.

    Attributes:
        marked: ``[H, W]``.
        plain: it is a PNG of greys without alpha, which every program reads alike.
    """

    marked: NDArray[np.bool_]
    plain: bool


def decode_rgb(content: bytes) -> NDArray[np.uint8]:
    """RGB uint8 ``[H, W, 3]`` of a PNG, JPEG, TIFF or BMP, turned as its orientation says.

    Raises:
        Unreadable: it is none, is damaged, or has more than `MOST_PIXELS` pixels.
    """
    import cv2  # only where there are pictures: planning loads this module too

    with _opened(content) as image:
        size = image.size
    try:
        decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        decoded = None
    if decoded is None or sorted(decoded.shape[:2]) != sorted(size):
        raise Unreadable(_NO_PICTURE)
    return np.ascontiguousarray(decoded[..., ::-1], dtype=np.uint8)


def decode_mask(content: bytes) -> Mask:
    """Which pixels a picture marks.

    Of greys, those above half the range. Of colours, those of the one colour that is there beside
    black. What is transparent by more than half is never marked.

    Raises:
        Unreadable: see `decode_rgb`; or it has several colours, so that the object is not known.
    """
    from PIL import ImageOps

    with _opened(content) as image:
        is_png = image.format == "PNG"
        level = image.info.get("transparency")
        try:
            upright = ImageOps.exif_transpose(image)
            if upright.mode in ("1", "L") and level is None:
                return Mask(np.asarray(upright.convert("L")) > 127, is_png)
            if upright.mode.startswith("I") and is_png:  # grey of 16 bits
                values = np.asarray(upright).astype(np.int32)
                clear = values == level if isinstance(level, int) else False
                return Mask((values > 32767) & ~np.asarray(clear), level is None)
            if upright.mode not in ("1", "L", "P", "PA", "LA", "RGB", "RGBA"):
                raise Unreadable(f"has pixels of another kind ({upright.mode})", "give a PNG")
            pixels = np.asarray(upright.convert("RGBA"))
        except Unreadable:
            raise
        except Exception:  # a decoder of what others wrote may fail in any way
            raise Unreadable(_NO_PICTURE, "give a PNG") from None
        return _of_colours(pixels, is_png and upright.mode == "RGB" and level is None)


def encode_mask(marked: NDArray[np.bool_]) -> bytes:
    """As a PNG of two greys."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(marked).convert("1").save(file, "PNG", compress_level=6)
    return file.getvalue()


def _opened(content: bytes) -> ImageFile:
    """A picture of which only the header was read; of a kind that cannot run other programs."""
    from PIL.BmpImagePlugin import BmpImageFile
    from PIL.JpegImagePlugin import JpegImageFile
    from PIL.PngImagePlugin import PngImageFile
    from PIL.TiffImagePlugin import TiffImageFile

    kinds: dict[bytes, type[ImageFile]] = {
        b"\x89PNG\r\n\x1a\n": PngImageFile,
        b"\xff\xd8\xff": JpegImageFile,
        b"II*\0": TiffImageFile,
        b"MM\0*": TiffImageFile,
        b"II+\0": TiffImageFile,
        b"MM\0+": TiffImageFile,
        b"BM": BmpImageFile,
    }
    kind = next((kind for magic, kind in kinds.items() if content.startswith(magic)), None)
    if kind is None:
        raise Unreadable(_NO_PICTURE, "give a PNG, JPEG, TIFF or BMP")
    try:
        image = kind(io.BytesIO(content))
        width, height = image.size
    except Exception:  # see above
        raise Unreadable(_NO_PICTURE) from None
    if not 0 < width * height <= MOST_PIXELS:
        image.close()
        raise Unreadable(
            f"is a picture of {width}x{height} pixels, which are too many", "make it smaller"
        )
    return image


def _of_colours(pixels: NDArray[np.uint8], may_be_plain: bool) -> Mask:
    """What RGBA ``[H, W, 4]`` marks."""
    height, width = pixels.shape[:2]
    rows = max(1, _STRIP_PIXELS // width)
    by_grey = np.zeros((height, width), np.bool_)
    by_colour = np.zeros((height, width), np.bool_)
    is_grey, is_exact, one_colour = True, True, True
    colour: np.uint32 | None = None
    for top in range(0, height, rows):
        strip = pixels[top : top + rows]
        there = strip[..., 3] > 127
        channels = strip[..., :3]
        low, high = channels.min(axis=2), channels.max(axis=2)
        spread = high - low
        is_exact &= not spread.any()
        is_grey &= not (spread[there] > _NEARLY).any()
        by_grey[top : top + rows] = there & (channels[..., 1] > 127)
        codes = (channels.astype(np.uint32) << np.array([16, 8, 0], np.uint32)).sum(
            axis=2, dtype=np.uint32
        )
        painted = there & (high > _NEARLY)
        if colour is None and painted.any():
            colour = codes[painted][0]
        one_colour &= colour is None or not (codes[painted] != colour).any()
        by_colour[top : top + rows] = painted
    if is_grey:
        return Mask(by_grey, may_be_plain and is_exact)
    if not one_colour:
        raise Unreadable(
            "has several colours, so it does not say which is the object", _WHITE_ON_BLACK
        )
    return Mask(by_colour, False)
