"""What of a source each format keeps, and notes on what it does not. Loads no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from pipeline.contract import VideoInfo, VideoSettings
from pipeline.deliverables.format import Format, parted
from pipeline.deliverables.formats import FORMATS


def needs_fine(video: VideoInfo, settings: VideoSettings) -> bool:
    """Whether a chosen format holds more of a picture than 8 bits (`pipeline.pixels.fine`).

    A picture that decoding resamples is drawn in 8 bits.
    """
    return video.stored is None and any(
        "rgb" in row.needs and row.bits_of(video, settings.encoding) > 8 for row in _rows(settings)
    )


def with_fields(video: VideoInfo, settings: VideoSettings) -> VideoInfo:
    """The video with what `deinterlace` makes of its fields, and a note on it."""
    if video.first_field is None:
        return video
    if settings.deinterlace == "auto":
        note = f"interlaced ({video.first_field} field first): made whole by bwdif"
        return replace(video, notes=(*video.notes, note))
    note = "interlaced: its fields are left woven (input.deinterlace: off)"
    return replace(video, first_field=None, notes=(*video.notes, note))


def losses(video: VideoInfo, settings: VideoSettings) -> Iterator[str]:
    """One line for each thing that not all formats keep.

    Args:
        video: as formats see it, after the stages.
    """
    rows, encoding = _rows(settings), settings.encoding
    pictures = [row for row in rows if "rgb" in row.needs]
    by_bits: dict[int, list[str]] = {}
    for row in pictures:
        by_bits.setdefault(row.bits_of(video, encoding), []).append(row.name)
    if video.stored is not None and video.bit_depth > 8:
        yield f"the source's {video.bit_depth} bits are resampled as 8"
    for bits, names in sorted(by_bits.items()):
        if bits < video.bit_depth:
            yield f"the source's {video.bit_depth} bits are delivered as {bits} in {_in(names)}"
    if video.mastering is not None:
        yield from _missing(
            "mastering data (HDR10) are not kept", pictures, lambda row: row.mastering(encoding)
        )
    if video.timecode:
        counted = round(video.frame_rate) >= 1
        yield from _missing(
            f"the time code {video.timecode} is not kept",
            rows,
            lambda row: counted and row.suffix == ".mov",
        )
    aspect = f"{video.sample_aspect.numerator}:{video.sample_aspect.denominator}"
    if video.sample_aspect != 1 and video.projection != "flat":
        yield f"pixels of {aspect} are called square: VR players spread pictures by pixels alone"
    elif video.sample_aspect != 1:
        yield from _missing(
            f"the pixel aspect ratio {aspect} is not kept", rows, lambda row: row.is_film
        )


def _rows(settings: VideoSettings) -> list[Format]:
    return [FORMATS[name] for name in dict.fromkeys(parted(n)[0] for n in settings.deliverables)]


def _missing(what: str, rows: list[Format], keeps: Callable[[Format], bool]) -> Iterator[str]:
    names = [row.name for row in rows if not keeps(row)]
    if names:
        yield f"{what} in {_in(names)}"


def _in(names: list[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
