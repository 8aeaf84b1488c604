"""Encodes VP9 with alpha: raw ``yuva420p`` to WebM, in a child process, by PyAV's libvpx.

As ffmpeg does it (`libavcodec/libvpxenc.c`), bit for bit: colour and alpha are two VP9 streams of
the same options, and what is coded of a picture's alpha goes along with its colour, as Matroska's
BlockAdditional 1. Unlike ffmpeg, which takes 5 GB at 8192x4096, it holds one picture at a time,
lets go of what libvpx clears and never uses, and encodes the two at once.

Where it shows it behaves as ffmpeg does: the last line on the standard
error says why it failed, and its exit status is the lowest byte of the negative errno.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Any, BinaryIO

from pipeline.encode.zero_pages import give_back_zeros
from pipeline.files.child import own_module

_MODULE = "pipeline.encode.vp9_alpha"  # this one, as a child runs it
_CODEC = "libvpx-vp9"
_ALPHA_ID = (1).to_bytes(8, "big")  # BlockAddID: VP9's alpha
_GREY = 128  # of the chroma planes that go with alpha


def command(size: tuple[int, int], rate: Fraction, options: Sequence[str], path: str) -> list[str]:
    """For `pipeline.encode.ffmpeg_pipe.PipeEncoder`, whose environment it needs.

    Args:
        size: width and height, even.
        options: ``-NAME VALUE`` in turn, by libavcodec's names.
    """
    words = (f"{size[0]}x{size[1]}", str(rate), *options, f"file:{path}")
    return own_module(_MODULE, *words)[0]


def encode(
    pictures: BinaryIO, path: str, size: tuple[int, int], rate: Fraction, options: Mapping[str, str]
) -> None:
    """Encode until the pictures end.

    Raises:
        ValueError: they end within one, or an option is not known.
        OSError: the file cannot be written (PyAV's errors are OSErrors with ffmpeg's number).
    """
    import av

    with av.open(path, "w", format="webm", container_options={"fflags": "+bitexact"}) as out:
        stream: Any = out.add_stream(_CODEC, rate=rate)
        stream.metadata["alpha_mode"] = "1"
        colour: Any = stream.codec_context
        alpha: Any = av.CodecContext.create(_CODEC, "w")
        for context in (colour, alpha):
            _open(context, size, rate, options)
        out.start_encoding()
        with ThreadPoolExecutor(1) as other:
            for number, (picture, opacity) in enumerate(_frames(pictures, size)):
                picture.pts = opacity.pts = number
                picture.time_base = opacity.time_base = 1 / rate
                coded = other.submit(alpha.encode, opacity)
                _write(out, stream, colour.encode(picture), coded.result())
            _write(out, stream, colour.encode(None), alpha.encode(None))


def _open(context: Any, size: tuple[int, int], rate: Fraction, options: Mapping[str, str]) -> None:
    context.width, context.height = size
    context.pix_fmt = "yuv420p"
    context.framerate, context.time_base = rate, 1 / rate
    context.options = dict(options)
    context.open()
    # Before there is another thread, and before the next one is opened.
    give_back_zeros()


def _frames(pictures: BinaryIO, size: tuple[int, int]) -> Iterator[tuple[Any, Any]]:
    """Colour and alpha of each picture, both ``yuv420p``.

    Always the same two frames: libvpx has copied a picture when it returns, and another two would
    take 0.1 GB at 8192x4096.
    """
    import av

    width, height = size
    picture, opacity = (av.VideoFrame(width, height, "yuv420p") for _ in range(2))
    y, u, v = picture.planes
    a, *chroma = opacity.planes
    for plane in chroma:
        ctypes.memset(plane.buffer_ptr, _GREY, plane.buffer_size)
    while _fill(pictures, y, may_end=True):
        for plane in (u, v, a):
            _fill(pictures, plane)
        yield picture, opacity


def _fill(pictures: BinaryIO, plane: Any, *, may_end: bool = False) -> bool:
    """Read a plane; False at the end of the pictures, where it may be."""
    room, stride = memoryview(plane).cast("B"), plane.line_size
    width, height = plane.width, plane.height
    lines = [(0, width * height)]
    if stride != width:
        lines = [(line * stride, line * stride + width) for line in range(height)]
    for begin, end in lines:
        got = pictures.readinto(room[begin:end])  # type: ignore[attr-defined]
        if may_end and begin == 0 and got == 0:
            return False
        if got != end - begin:
            raise ValueError("the pictures end within one")
    return True


def _write(out: Any, stream: Any, colour: Sequence[Any], alpha: Sequence[Any]) -> None:
    from av.packet import PacketSideData, packet_sidedata_type_from_literal

    kind = packet_sidedata_type_from_literal("matroska_block_additional")
    for packet, coded in zip(colour, alpha, strict=True):
        added = _ALPHA_ID + bytes(coded)
        side = PacketSideData(kind, len(added))  # type: ignore[call-arg]
        side.update(added)
        packet.set_sidedata(side, move=True)
        packet.stream = stream
        out.mux(packet)


def main(arguments: Sequence[str]) -> int:
    """``WIDTHxHEIGHT RATE [-OPTION VALUE]... file:PATH``, pictures on the standard input."""
    size, rate, *pairs, path = arguments
    width, height = map(int, size.split("x"))
    options = {
        name.removeprefix("-").removesuffix(":v"): value
        for name, value in zip(pairs[::2], pairs[1::2], strict=True)
    }
    try:
        encode(sys.stdin.buffer, path, (width, height), Fraction(rate), options)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        number = error.errno if isinstance(error, OSError) and error.errno else 1
        return -number & 0xFF
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
