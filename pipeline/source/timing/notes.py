"""What a person should know of a file's time: recordings, missing frames, a cut-off end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.contract.video import CUT_OFF
from pipeline.source.timing.frame_index import FrameIndex
from pipeline.source.timing.frame_rate import missing_frames
from pipeline.source.timing.recordings import Frames
from pipeline.vr_tags.mp4_header import stored_films

if TYPE_CHECKING:
    from pipeline.source.timing.packets import Packets

#: What may be missing of what a header promises before a file counts as cut off.
_SHORT_FRAMES = 1
_SHORT_S = 0.5


def of_time(
    path: Path, packets: Packets, frames: Frames, index: FrameIndex, container: Any, stream: Any
) -> Iterator[str]:
    """Notes on the video, one line each."""
    yield from another_behind(path, container)
    yield from cut_off(packets, container, stream)
    if len(frames.begins) > 1:
        places = [float(i) / float(index.frame_rate) for i in frames.begins[1:4].tolist()]
        more = ", ..." if len(frames.begins) > 4 else ""
        at = ", ".join(f"{place:.2f} s" for place in places) + more
        yield (
            f"{len(frames.begins)} recordings with clocks of their own are in the file; they are"
            f" shown one after the other (at {at})"
        )
    missing = missing_frames(index.pts, index.time_base, index.frame_rate)
    if missing is None or index.num_frames != len(index.pts) + len(missing):
        if index.variable_rate:
            yield f"variable frame rate made constant at {float(index.frame_rate):.3f} frames/s"
    elif len(missing):
        at_s = float(missing[0] / index.frame_rate)
        where = "the first " if len(missing) > 1 else ""
        frames_are = "1 frame is" if len(missing) == 1 else f"{len(missing)} frames are"
        yield (
            f"{frames_are} missing in the file ({where}at {at_s:.2f} s):"
            " the nearest one is shown instead"
        )


def another_behind(path: Path, container: Any) -> Iterator[str]:
    """A note if another MP4 or MOV file was glued to the end of this one: no program shows it."""
    if "mov" in container.format.name.split(",") and stored_films(path) > 1:
        yield (
            "another film follows in the file, which players do not show: cut the file there, or"
            " join such files by ffmpeg's concat demuxer"
        )


def cut_off(packets: Packets, container: Any, stream: Any) -> Iterator[str]:
    """A note if the file holds less than its header promises."""
    names = container.format.name.split(",")
    if "mov" in names and stream.frames - packets.count > _SHORT_FRAMES:
        yield f"{CUT_OFF}: it holds {packets.count} of {stream.frames} frames"
    promised_s = 0.0
    if "matroska" in names and container.duration:
        promised_s = container.duration / 1_000_000
    elif "avi" in names:  # it counts in ticks, with those in which no frame begins
        promised_s = float(stream.frames * stream.time_base)
    last_s = [sound.clock.end_s[-1] for sound in packets.sounds.values()]
    last_s.append(max(p.tick + p.duration for p in packets.picture) * float(stream.time_base))
    if promised_s - max(last_s) > _SHORT_S:
        yield f"{CUT_OFF}: it holds {max(last_s):.1f} of {promised_s:.1f} s"
