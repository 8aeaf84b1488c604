"""Reads one file's `VideoInfo` and frame index with PyAV, in this process; see `probe.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from pipeline.contract import Layout, ProjectionName, VideoInfo
from pipeline.source.container import open_container, require_container
from pipeline.source.picture.color_tags import color_tags, require_known_colors
from pipeline.source.picture.fields import first_field
from pipeline.source.picture.hdr_tags import dynamic_notes, mastering_data
from pipeline.source.picture.presentation import find_presentation
from pipeline.source.picture.stored_view import find_sphere
from pipeline.source.picture.two_tracks import require_together
from pipeline.source.picture.video_tracks import apart, choose_track
from pipeline.source.signature import Container, find_container
from pipeline.source.sound.tracks import TITLE_CHARACTERS, Sounds
from pipeline.source.timing.notes import of_time
from pipeline.source.timing.packets import frames_of, index_of_frames, scan_packets
from pipeline.source.timing.timecode import timecode_of
from pipeline.source.unchanged import fingerprint
from pipeline.text import printable
from pipeline.vr_tags.in_files import FoundTags, tags_of_frame
from pipeline.vr_tags.mp4_header import RIGHT_LEFT, stored_stereo_mode


def read_video(
    path: Path,
    index_path: Path,
    layout: Layout | None,
    projection: ProjectionName | None = None,
    before_sound: Callable[[VideoInfo], object] = lambda info: None,
) -> VideoInfo:
    """Do the probe in this process.

    Args:
        before_sound: called with the video without its sound, if it has any, before that is tried:
            a decoder of sound that crashes or hangs shall not cost the picture.

    Raises:
        InputError: the file holds no video that can be matted.
        VrmatteError: the index cannot be written.
    """
    path = path.absolute()
    shown = printable(str(path))
    expected = find_container(path)
    with open_container(path, shown) as container:
        require_container(container, expected, shown)
        track = choose_track(container, path, layout, shown)
        stream, frame = track.stream, track.frame
        color_notes = require_known_colors(frame, shown)
        packets = scan_packets(path, container, stream, shown)
        frames = frames_of(packets, path, container, stream, shown)
        index = index_of_frames(frames, stream, shown)
        index.save(index_path)
        stat = path.stat()
        shown_as = find_presentation(path, expected, track)
        upright = shown_as.size
        if track.right is not None:
            layout, upright = "sbs", (2 * upright[0], upright[1])
            require_together(path, expected, track, frames, shown_as, shown)
        sphere = find_sphere(
            path,
            upright,
            container=expected,
            track=_track(container, stream, expected),
            stream_metadata=stream.metadata,
            said=_spherical_tags(path, expected, frame, stream),
            layout=layout,
            projection=projection,
        )
        view = sphere.view
        if track.right is not None:
            if sphere.stored is not None:
                why = "and its pictures would be resampled"
                raise apart(path, stream.index, track.right.index, why, shown)
            reason = f"its eyes are the streams {stream.index} and {track.right.index}"
            view = replace(view, layout_reason=reason)
        begin_s = float(frames.pts[0] * frames.time_base)
        sounds = Sounds(path, expected, container, packets, frames)
        info = VideoInfo(
            path=str(path),
            size_bytes=stat.st_size,
            mtime_ns=stat.st_mtime_ns,
            fingerprint=fingerprint(path, stat.st_size),
            container=container.format.name,
            codec=stream.codec_context.codec.canonical_name,
            width=sphere.width,
            height=sphere.height,
            pixel_format=frame.format.name,
            bit_depth=frame.format.components[0].bits,
            frame_rate=index.frame_rate,
            num_frames=index.num_frames,
            source_frames=len(index.pts),
            variable_rate=index.variable_rate,
            color=color_tags(frame),
            rotation=shown_as.rotation,
            crop=shown_as.crop,
            mirrored=shown_as.mirrored,
            audio=(),
            layout=view.layout,
            layout_reason=view.layout_reason,
            right_first=view.right_first,
            projection=view.projection,
            projection_reason=view.projection_reason,
            sample_aspect=_sample_aspect(stream, turned=shown_as.rotation in (90, 270)),
            timecode=timecode_of(container, stream, index.frame_rate),
            mastering=mastering_data(frame),
            first_field=first_field(path, stream, shown),
            title=printable(container.metadata.get("title", ""), TITLE_CHARACTERS),
            notes=(
                *([view.doubt] if view.doubt else []),
                *track.notes,
                *shown_as.notes,
                *color_notes,
                *sphere.notes,
                *_notes(upright),
                *of_time(path, packets, frames, index, container, stream),
                *dynamic_notes(frame),
            ),
            stream=stream.index,
            right_stream=None if track.right is None else track.right.index,
            begin_s=begin_s,
            pose=sphere.pose,
            stored=sphere.stored,
        )
        if sounds:
            before_sound(info)
        tracks, notes = sounds.tracks()
        return replace(info, audio=tracks, notes=(*info.notes, *notes))


def _track(container: Any, stream: Any, kind: Container) -> int:
    """Which track the picture is, as `pipeline.vr_tags.stored` counts."""
    if kind == "mov":
        return int(stream.id)
    return [video.index for video in container.streams.video].index(stream.index)


def _spherical_tags(path: Path, container: Container, frame: Any, stream: Any) -> FoundTags:
    """What the file's metadata say of its eyes and of its projection."""
    tags = tags_of_frame(frame.side_data, stream.metadata)
    if tags.layout is not None or container != "mov":
        return tags
    if stored_stereo_mode(path, stream.id) == RIGHT_LEFT:
        return replace(tags, layout="sbs", right_first=True)
    return tags


def _sample_aspect(stream: Any, turned: bool) -> Fraction:
    """Of the upright picture; square where the file is silent, or says what nobody means."""
    said = stream.sample_aspect_ratio or Fraction(1)
    if not Fraction(1, 8) <= said <= 8:
        return Fraction(1)
    return Fraction(1 / said) if turned else Fraction(said)


def _notes(upright: tuple[int, int]) -> Iterator[str]:
    if upright[0] % 2 or upright[1] % 2:
        even = tuple(side + side % 2 for side in upright)
        yield f"odd size {upright[0]}x{upright[1]} is padded to {even[0]}x{even[1]}"
