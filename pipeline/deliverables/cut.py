"""Cuts runs of coded pictures out of a joined movie, as files like those of segments.

Packets are copied with all that comes beside them (alpha of WebM, layers of HEVC). Times are made
anew from the numbers of the frames, as an encoder makes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from pipeline.errors import EncodeError
from pipeline.files.disk import writing
from pipeline.verify.readback import opened


@dataclass(frozen=True, slots=True)
class Run:
    """Frames of a joined file, half open, and the file that gets them."""

    start: int
    stop: int
    target: Path


@dataclass(frozen=True, slots=True)
class Form:
    """How the files are written.

    Attributes:
        like: a segment, whose stream theirs is like: that of the joined file has tags, which the
            next joined file would have twice.
        container: FFmpeg's name of it.
        rate: frames a second.
        ticks: of the container's clock in a second; None where it has its own.
        filters: FFmpeg's bitstream filters for coded pictures that are copied.
    """

    like: Path
    container: str
    rate: Fraction
    ticks: int | None
    filters: str = "null"


def cut_movie(path: Path, runs: Sequence[Run], form: Form) -> None:
    """Write each run; runs ascend.

    Raises:
        EncodeError: the file cannot be read, or a run does not begin with a keyframe.
        DiskError: a run cannot be written.
    """
    with opened(path) as (source, _):
        (stream,) = source.streams.video
        packets = (p for p in source.demux(stream) if p.pts is not None and p.size)
        number = 0
        for run in runs:
            for _ in range(run.start - number):
                next(packets, None)
            _copy(path, packets, run, form)
            number = run.stop


def _copy(path: Path, packets: Iterator[Any], run: Run, form: Form) -> None:
    begin_s: Fraction | None = None
    with _written(run.target, form) as (copy, stream, filtered):
        for number in range(run.start, run.stop):
            packet = next(packets, None)
            if packet is None:
                raise EncodeError(f"{path.name} ends before frame {number}")
            if begin_s is None:
                if not packet.is_keyframe:
                    raise EncodeError(f"frame {number} of {path.name} is no keyframe")
                begin_s = packet.pts * packet.time_base
            per_tick = packet.time_base * form.rate
            shown = round(packet.pts * per_tick - begin_s * form.rate)
            # Where pictures are coded out of order, some are decoded before they are shown.
            early = 0 if packet.dts is None else round((packet.pts - packet.dts) * per_tick)
            packet.time_base = 1 / form.rate
            packet.pts, packet.dts, packet.duration = shown, shown - early, 1
            for each in filtered.filter(packet):
                each.stream = stream
                copy.mux(each)


@contextmanager
def _written(target: Path, form: Form) -> Iterator[tuple[Any, Any, Any]]:
    """A new file, its stream, and the filters before it."""
    import av

    with writing(target):
        target.unlink(missing_ok=True)
    try:
        with ExitStack() as files:
            like, _ = files.enter_context(opened(form.like))
            (template,) = like.streams.video
            options = {"fflags": "+bitexact"}
            copy = files.enter_context(
                av.open(f"file:{target}", "w", format=form.container, container_options=options)
            )
            stream = copy.add_mux_stream(template.codec_context.name, rate=form.rate)
            # It takes over all that is known of the other, and of what the filters make of it.
            filtered = av.BitStreamFilterContext(form.filters, template, stream)
            clock = template.time_base if form.ticks is None else Fraction(1, form.ticks)
            stream.time_base = clock
            stream.metadata.update(template.metadata)  # WebM's note that there is alpha
            yield copy, stream, filtered
    except av.FFmpegError as error:
        if isinstance(error, OSError):
            with writing(target):
                raise OSError(error.errno, error.strerror) from error
        raise EncodeError(f"cannot cut {target.name}: {error}") from error
