"""Encodes raw pictures from its standard input, in a child process, by PyAV's libraries.

It writes what ffmpeg would write when called with the same options (`ffmpeg_pipe.raw_command`), and
is there for NVENC alone: PyAV's libraries need an older driver than ffmpeg's program
(docs/decisions/033-nvenc-in-three-ways.md). It fails as ffmpeg does: what libavcodec said is on the
standard error, and the exit status is the lowest byte of the negative errno.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, BinaryIO

from pipeline.encode.raw_pictures import RawPictures
from pipeline.files.child import own_module

_MODULE = "pipeline.encode.pyav_pipe"  # this one, as a child runs it

#: Options that are neither the encoder's nor the muxer's, but ours to obey.
_OURS = ("c", "pix_fmt", "tag")
_MUXERS = ("video_track_timescale", "movflags", "fflags")


def command(pictures: RawPictures, options: Sequence[str], container: str, path: str) -> list[str]:
    """See `pipeline.encode.raw_pictures.RawCommand`."""
    width, height = pictures.size
    words = (f"{width}x{height}", str(pictures.rate), pictures.pixel_format)
    target = f"file:{path}"
    return own_module(_MODULE, *words, *options, *pictures.colours, container, target)[0]


@dataclass(frozen=True, slots=True)
class _Options:
    """ffmpeg's options, by whom they are for."""

    codec: str
    pixel_format: str
    tag: str | None
    encoder: Mapping[str, str]
    muxer: Mapping[str, str]

    @classmethod
    def of(cls, pairs: Sequence[str]) -> _Options:
        """`pairs`: ``-NAME VALUE`` in turn."""
        given: dict[str, str] = {}
        for name, value in zip(pairs[::2], pairs[1::2], strict=True):
            given[name.removeprefix("-").removesuffix(":v")] = value
        return cls(
            given["c"],
            given["pix_fmt"],
            given.get("tag"),
            {k: v for k, v in given.items() if k not in (*_OURS, *_MUXERS)},
            {k: v for k, v in given.items() if k in _MUXERS},
        )


def encode(
    source: BinaryIO, pictures: RawPictures, options: _Options, container: str, path: str
) -> None:
    """Encode until the pictures end.

    Raises:
        ValueError: they end within one, or an option is not known.
        av.error.FFmpegError: the encoder cannot be opened, or the file cannot be written.
    """
    import av

    with av.open(path, "w", format=container, container_options=dict(options.muxer)) as out:
        stream: Any = out.add_stream(options.codec, rate=pictures.rate)
        context: Any = stream.codec_context
        context.width, context.height = pictures.size
        context.pix_fmt = options.pixel_format
        context.framerate, context.time_base = pictures.rate, 1 / pictures.rate
        if options.tag is not None:
            context.codec_tag = options.tag
        context.options = dict(options.encoder)
        context.open()  # before a picture is waited for
        out.start_encoding()
        for number, picture in enumerate(_frames(source, pictures)):
            if options.pixel_format != pictures.pixel_format:
                picture = picture.reformat(format=options.pixel_format)
            picture.pts, picture.time_base = number, 1 / pictures.rate
            out.mux(context_packets(context, stream, picture))
        out.mux(context_packets(context, stream, None))


def context_packets(context: Any, stream: Any, picture: Any) -> list[Any]:
    packets = context.encode(picture)
    for packet in packets:
        packet.stream = stream
    return list(packets)


def _frames(source: BinaryIO, pictures: RawPictures) -> Iterator[Any]:
    """Each picture in a frame of its own: an encoder may hold some of them for a while."""
    import av

    while True:
        frame = av.VideoFrame(*pictures.size, pictures.pixel_format)
        for place, plane in enumerate(frame.planes):
            if not _fill(source, frame, plane, may_end=place == 0):
                return
        yield frame


def _fill(source: BinaryIO, frame: Any, plane: Any, *, may_end: bool) -> bool:
    """Read a plane; False at the end of the pictures, where it may be."""
    room, stride = memoryview(plane).cast("B"), plane.line_size
    line = plane.width * (2 if frame.format.components[0].bits > 8 else 1)
    parts = [(0, line * plane.height)]
    if stride != line:
        parts = [(row * stride, row * stride + line) for row in range(plane.height)]
    for begin, end in parts:
        got = source.readinto(room[begin:end])  # type: ignore[attr-defined]
        if may_end and begin == 0 and got == 0:
            return False
        if got != end - begin:
            raise ValueError("the pictures end within one")
    return True


def main(arguments: Sequence[str]) -> int:
    """``WIDTHxHEIGHT RATE FORMAT [-OPTION VALUE]... CONTAINER file:PATH``."""
    import av

    size, rate, pixel_format, *pairs, container, path = arguments
    width, height = map(int, size.split("x"))
    pictures = RawPictures((width, height), Fraction(rate), pixel_format)
    av.logging.set_level(av.logging.WARNING)
    with av.logging.Capture() as said:
        try:
            encode(sys.stdin.buffer, pictures, _Options.of(pairs), container, path)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            # Our line first: the last line is the one that says why.
            lines = [str(error), *(f"[{who}] {line.strip()}" for _, who, line in said)]
            sys.stderr.write("\n".join(lines) + "\n")
            return -(getattr(error, "errno", None) or 1) & 0xFF
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
