"""`tiff`: the mattes as one TIFF of many pages, without loss, for programs that read masks.

Page k is frame k: grey, 8 bit, both eyes as in the source, deflated (TIFF 6.0, and Adobe's
technical note 3 on Deflate). It holds alpha, or with `encoding.tiff_pages: labels` the number of
the object that each pixel belongs to. Pages are joined by copying their compressed strips; the
joined file is read back whole, strips and tables.
"""

from __future__ import annotations

import hashlib
import io
import logging
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.contract import VideoInfo, VideoSettings
from pipeline.deliverables.base import Joined
from pipeline.deliverables.cut import Run
from pipeline.deliverables.formats import TIFF
from pipeline.encode.ffmpeg_pipe import Encoder
from pipeline.errors import EncodeError
from pipeline.files.disk import writing
from pipeline.files.hashed_file import HashedFile
from pipeline.pixels.batches import MatteBatch
from pipeline.pixels.eyes import join_eyes, split
from pipeline.pixels.labels import object_labels
from pipeline.pixels.layers import Layers
from pipeline.verify.selfcheck import Sample, grid

#: Pixels of a strip, at the most: a reader that wants a part of a page unpacks so much.
_STRIP_PIXELS = 1 << 18

#: zlib's fastest level, after each pixel's difference to its left neighbour: smaller than without
#: on soft edges, and no slower. Packed here and not by tifffile, which takes whatever library it
#: finds. Another version of zlib may pack the same pixels into other bytes.
_LEVEL = 1

#: Offsets of a classic TIFF have 32 bits. Segments are BigTIFFs, whose tables are the larger ones,
#: so that their sizes bound that of the joined file.
_CLASSIC_BYTES = 1 << 32
_HEADER_BYTES = 1 << 16

_DEFLATED, _GREY, _HORIZONTAL_DIFFERENCE = 8, 1, 2

#: StripOffsets, StripByteCounts.
_PLACES = (273, 279)

Pixels = NDArray[np.uint8]

# What tifffile logs of a damaged file is an error here, and said once.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


class Tiff:
    """See `pipeline.deliverables.base.Deliverable`."""

    name: ClassVar[str] = TIFF.name
    suffix: ClassVar[str] = TIFF.suffix

    def __init__(self, video: VideoInfo, settings: VideoSettings) -> None:
        self._video = video
        self._shape = video.even_height, video.even_width
        self._labels = settings.encoding.tiff_pages == "labels"
        # Of a mean. A pixel's alpha was rounded: it is off by half of that; labels are whole.
        self._tolerance = 1e-5 if self._labels else 1 / 255

    def planes(self, layers: Layers) -> Tensor:
        if self._labels:
            return self._label_planes(layers.matte)
        alpha = join_eyes(layers.matte.alpha, self._video.layout, self._video.right_first)
        out = torch.empty(len(alpha), alpha[0].numel(), dtype=torch.uint8, device=alpha.device)
        for picture, row in zip(alpha, out, strict=True):  # at 8K a batch of floats is large
            # Half is added because the cast cuts off.
            row.copy_(picture.float().mul(255).add_(0.5).clamp_(0, 255).view(-1))
        return out

    def _label_planes(self, matte: MatteBatch) -> Tensor:
        pages = [
            join_eyes(object_labels(matte, t)[None], self._video.layout, self._video.right_first)
            for t in range(len(matte))
        ]
        return torch.cat(pages).flatten(1)

    def open_segment(self, path: Path) -> Encoder:
        return StackEncoder(path, self._shape)

    def check_segment(self, path: Path, num_frames: int, samples: Sequence[Sample]) -> None:
        given = {sample.frame: sample for sample in samples}
        with _opened(path) as (stack, _):
            self._require_pages(path, stack, num_frames)
            for number, sample in given.items():
                if number >= num_frames:
                    raise EncodeError(f"frame {number} of {path.name} is not there")
                page = torch.from_numpy(_pixels(stack, stack.pages[number]))[None, None]
                eyes = split(page, self._video.layout, self._video.right_first)[0]
                expected = sample.labels if self._labels else sample.alpha
                off = float((grid(eyes) - expected).abs().max())
                if off > self._tolerance:
                    what = f"{'labels' if self._labels else 'alpha'} off by {off:.3f}"
                    raise EncodeError(f"frame {number} of {path.name} is not what was made: {what}")

    def join(self, segments: Sequence[Path], frames: Sequence[int], target: Path) -> Joined:
        from tifffile import TiffWriter

        total = 0
        for segment in segments:
            with writing(segment):
                total += segment.stat().st_size
        text = self._description(sum(frames))
        expected, found = hashlib.sha256(), hashlib.sha256()
        with writing(target), target.open("wb") as file:
            writer = TiffWriter(file, bigtiff=needs_bigtiff(total), byteorder="<")
            for number, strips in enumerate(_packed_pages(segments)):
                _write_page(writer, strips, self._shape, "" if number else text)
                _feed(expected, strips)
            writer.close()
            file.flush()
        with _opened(target, hashed=True) as (stack, hashed):
            for strips in _packed_of(stack):
                _feed(found, strips)
            if found.digest() != expected.digest():
                raise EncodeError(f"{target.name} does not hold the pages of its segments")
            return Joined(hashed.digest())

    def cut(self, path: Path, runs: Sequence[Run], like: Path) -> str:
        from tifffile import TiffWriter

        with _opened(path, hashed=True) as (stack, hashed):
            for run in runs:
                copied, found = hashlib.sha256(), hashlib.sha256()
                with writing(run.target), run.target.open("wb") as file:
                    writer = TiffWriter(file, bigtiff=True, byteorder="<")
                    for number in range(run.start, run.stop):
                        strips = list(_packed(stack, stack.pages[number]))
                        _write_page(writer, strips, self._shape)
                        _feed(copied, strips)
                    writer.close()
                    file.flush()
                for strips in _packed_pages([run.target]):
                    _feed(found, strips)
                if found.digest() != copied.digest():
                    raise EncodeError(f"{run.target.name} does not hold the pages of {path.name}")
            return hashed.digest()

    def _description(self, num_frames: int) -> str:
        """What the first page of the joined file says."""
        text = f"{num_frames} frames, {self._video.frame_rate} frames/s"
        return f"{text}, numbers of objects" if self._labels else text

    def overhead_bytes(self, num_frames: int) -> int:
        """What the joined file takes on disk besides what its segments do, at the most."""
        return _HEADER_BYTES

    def verify(self, path: Path, num_frames: int) -> str:
        with _opened(path, hashed=True) as (stack, hashed):
            self._require_pages(path, stack, num_frames)
            self._require_tables(path, stack, self._description(num_frames))
            for number in {0, num_frames - 1}:
                _pixels(stack, stack.pages[number])
            return hashed.digest()

    def _require_tables(self, path: Path, stack: Any, description: str) -> None:
        """Raises EncodeError unless every page's table is the one that was written, but for where
        its strips lie."""
        first, other = _tables(self._shape, description, big=stack.is_bigtiff)
        for number, page in enumerate(stack.pages):
            if _table(page) != (other if number else first):
                raise EncodeError(f"the table of frame {number} of {path.name} is not as written")

    def _require_pages(self, path: Path, stack: Any, num_frames: int) -> None:
        """Raises EncodeError unless every page has the right form, and lies in the file."""
        if len(stack.pages) != num_frames:
            raise EncodeError(
                f"{path.name} holds {len(stack.pages)} frames instead of {num_frames}"
            )
        # tifffile takes a wrong pointer to a next page for the end, and other readers do not.
        stack.filehandle.seek(stack.pages.next_page_offset)
        if any(stack.filehandle.read(stack.tiff.offsetsize)):
            raise EncodeError(f"{path.name} does not end with its last page")
        size = path.stat().st_size
        form = (*self._shape, 8, 1, _DEFLATED, _GREY, _HORIZONTAL_DIFFERENCE)
        rows = _rows_of_strip(self._shape)
        for number, page in enumerate(stack.pages):
            found = (
                *(page.imagelength, page.imagewidth, page.bitspersample, page.samplesperpixel),
                *(page.compression, page.photometric, page.predictor),
            )
            offsets, lengths = page.dataoffsets, page.databytecounts
            whole = len(offsets) == len(lengths) == -(-self._shape[0] // rows) and all(
                offset > 0 and 0 < length <= size - offset
                for offset, length in zip(offsets, lengths, strict=True)
            )
            if found != form or page.rowsperstrip != rows or not whole:
                raise EncodeError(f"frame {number} of {path.name} is not a page as it was written")


class StackEncoder:
    """Writes one segment page by page, holding none. See `pipeline.encode.ffmpeg_pipe.Encoder`.

    Args:
        shape: (height, width) of a page.
    """

    def __init__(self, path: Path, shape: tuple[int, int]) -> None:
        from tifffile import TiffWriter

        self._path = path
        self._shape = shape
        with writing(path):
            # A file of our own: tifffile is silent about what fails when it closes one.
            self._file = path.open("wb")
            self._writer = TiffWriter(self._file, bigtiff=True, byteorder="<")

    def write(self, planes: Tensor) -> None:
        with writing(self._path):
            for plane in planes:
                picture = plane.view(self._shape).numpy()
                _write_page(self._writer, _strips(picture), self._shape)

    def close(self) -> None:
        with writing(self._path), self._file:
            self._writer.close()
            self._file.flush()

    def abort(self) -> None:
        for part in (self._writer, self._file):
            with suppress(OSError, ValueError):
                part.close()


def read_back(path: Path, whole: bool) -> tuple[int, Iterator[tuple[int, NDArray[np.float32]]]]:
    """See `pipeline.deliverables.base.ReadBack`; unpacked by tifffile, as other programs do."""
    from tifffile import TiffFile

    def pages(numbers: Iterable[int]) -> Iterator[tuple[int, NDArray[np.float32]]]:
        with TiffFile(path) as stack:
            for number in numbers:
                yield number, stack.pages[number].asarray().astype(np.float32) / np.float32(255)

    with TiffFile(path) as stack:
        count = len(stack.pages)
    return count, pages(range(count) if whole else sorted({0, count // 2, count - 1}))


def needs_bigtiff(segment_bytes: int) -> bool:
    """Whether pages of segments that large together may not fit into a classic TIFF."""
    return segment_bytes + _HEADER_BYTES >= _CLASSIC_BYTES


def _rows_of_strip(shape: Sequence[int]) -> int:
    return min(shape[0], max(1, _STRIP_PIXELS // shape[1]))


def _strips(picture: Pixels) -> Iterator[bytes]:
    difference = picture.copy()
    difference[:, 1:] -= picture[:, :-1]
    rows = _rows_of_strip(picture.shape)
    for top in range(0, len(picture), rows):
        yield zlib.compress(difference[top : top + rows].tobytes(), _LEVEL)


def _write_page(
    writer: Any, strips: Iterable[bytes], shape: tuple[int, int], description: str = ""
) -> None:
    writer.write(
        iter(strips),
        shape=shape,
        dtype=np.uint8,
        photometric="minisblack",
        compression="adobe_deflate",
        predictor=True,
        rowsperstrip=_rows_of_strip(shape),
        contiguous=False,
        metadata=None,
        software=False,
        description=description or None,
    )


def _packed(stack: Any, page: Any) -> Iterator[bytes]:
    """The strips of a page."""
    for offset, length in zip(page.dataoffsets, page.databytecounts, strict=True):
        stack.filehandle.seek(offset)
        strip = stack.filehandle.read(length)
        if len(strip) != length:
            raise ValueError("it is cut off")
        yield strip


def _packed_pages(paths: Sequence[Path]) -> Iterator[list[bytes]]:
    """The strips of page after page of all files."""
    for path in paths:
        with _opened(path) as (stack, _):
            yield from _packed_of(stack)


def _packed_of(stack: Any) -> Iterator[list[bytes]]:
    for page in stack.pages:
        yield list(_packed(stack, page))


def _table(page: Any) -> list[tuple[Any, ...]]:
    """What a page's table says: (code, type, count, value) of each tag, but of its strips' places
    and sizes only how many there are."""
    return [
        (tag.code, tag.dtype, tag.count, None if tag.code in _PLACES else tag.value)
        for tag in page.tags
    ]


def _tables(
    shape: tuple[int, int], description: str, *, big: bool
) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """The tables of the first page and of any other, as they are written; made in memory."""
    from tifffile import TiffFile, TiffWriter

    content = io.BytesIO()
    strips = [b"\0"] * -(-shape[0] // _rows_of_strip(shape))
    with TiffWriter(content, bigtiff=big, byteorder="<") as writer:
        for text in (description, ""):
            _write_page(writer, strips, shape, text)
    content.seek(0)
    with TiffFile(content) as stack:
        return _table(stack.pages[0]), _table(stack.pages[1])


def _feed(digest: Any, strips: Iterable[bytes]) -> None:
    for strip in strips:
        digest.update(len(strip).to_bytes(8, "big"))
        digest.update(strip)


def _pixels(stack: Any, page: Any) -> Pixels:
    content = b"".join(map(zlib.decompress, _packed(stack, page)))
    difference = np.frombuffer(content, dtype=np.uint8).reshape(page.imagelength, -1)
    return np.cumsum(difference, axis=1, dtype=np.uint8)


@contextmanager
def _opened(path: Path, *, hashed: bool = False) -> Iterator[tuple[Any, HashedFile]]:
    """A `tifffile.TiffFile`, and what it is read through, which with `hashed` tells the digest.

    Raises:
        EncodeError: it is not as it was written.
    """
    from tifffile import TiffFile

    try:
        with HashedFile(path) as file, TiffFile(cast(IO[bytes], file) if hashed else path) as stack:
            yield stack, file
    except (OSError, ValueError, LookupError, TypeError, struct.error, zlib.error) as error:
        raise EncodeError(f"cannot read back {path.name}: {error}") from error
