"""Whether two tracks of one eye each go together: both eyes at all times, of one size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.source.container import first_frame, open_container
from pipeline.source.picture.color_tags import color_tags
from pipeline.source.picture.presentation import Presentation, find_presentation
from pipeline.source.picture.video_tracks import ChosenTrack, apart
from pipeline.source.signature import Container
from pipeline.source.timing.packets import frames_of, scan_packets
from pipeline.source.timing.recordings import Frames

#: One eye may have so many frames more than the other at its end, as cameras stop.
_LATER_END = 2
#: Two frames of one moment lie this far apart at most, as a share of the usual distance of two.
_TOGETHER = 0.25


def require_together(
    path: Path,
    kind: Container,
    track: ChosenTrack,
    left: Frames,
    shown_as: Presentation,
    shown: str,
) -> None:
    """See to it that the frames of the left eye's index are those of the right one, too.

    Args:
        left: the frames of the left eye.
        shown_as: how its pictures are shown.

    Raises:
        InputError: they are not, or cannot be read.
    """
    assert track.right is not None
    streams = track.stream.index, track.right.index
    if shown_as.size[0] % 2:
        raise apart(path, *streams, f"each {shown_as.size[0]} pixels wide", shown)
    with open_container(path, shown) as container:
        stream = container.streams[track.right.index]
        videos = [video.index for video in container.streams.video]
        place = videos.index(track.right.index)
        frame = first_frame(path, track.right.index, shown)
        other = find_presentation(path, kind, ChosenTrack(stream, frame, place, ()))
        if unlike := _unlike(track, shown_as, stream, frame, other):
            raise apart(path, *streams, f"of unlike {unlike}", shown)
        packets = scan_packets(path, container, stream, shown)
        right = frames_of(packets, path, container, stream, shown)
    if left.clock is not None or right.clock is not None:
        raise apart(path, *streams, "in several recordings", shown)
    count = min(len(left.pts), len(right.pts))
    if abs(len(left.pts) - len(right.pts)) > _LATER_END:
        why = f"of {len(left.pts)} and {len(right.pts)} frames"
        raise apart(path, *streams, why, shown)
    seconds = [eye.pts[:count].astype(np.float64) * float(eye.time_base) for eye in (left, right)]
    off = float(np.abs(seconds[0] - seconds[1]).max())
    usual = float(np.median(np.diff(seconds[0]))) if count > 1 else np.inf
    if off > _TOGETHER * usual:
        why = f"whose frames lie up to {off:.3g} s apart"
        raise apart(path, *streams, why, shown)


def _unlike(
    track: ChosenTrack, shown_as: Presentation, stream: Any, frame: Any, other: Presentation
) -> str:
    """In what the pictures of two tracks differ, in words; nothing where they are alike."""
    turned = [(each.crop, each.mirrored, each.rotation) for each in (shown_as, other)]
    if turned[0] != turned[1]:
        return "crop or rotation"
    if color_tags(track.frame) != color_tags(frame):
        return "colours, by their tags"
    if (track.stream.sample_aspect_ratio or 1) != (stream.sample_aspect_ratio or 1):
        return "shapes of pixels"
    return ""
