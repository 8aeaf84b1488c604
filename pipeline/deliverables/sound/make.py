"""Makes the sound of a joined file from the source, in a file of its own, before it is joined.

The source's sound is decoded where it can harm no picture, and what is wrong with it is told from
what is wrong with reading it. Packets that cannot be decoded are a damaged track, which is left out
or silent there. Sound that ends where the source still has packets was not read to its end: that is
an error, and never silence.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pipeline.contract import AudioTrack, VideoInfo
from pipeline.deliverables.sound.plan import AudioPlan, SoundForm
from pipeline.encode.ffmpeg_pipe import ffmpeg_command, run_ffmpeg
from pipeline.errors import EncodeError, SoundFault
from pipeline.source.unchanged import require_unchanged
from pipeline.text import printable
from pipeline.verify.readback import sound_times

#: FFmpeg 9 names the stream of its input in front of the decoder.
_DAMAGED = re.compile(r"\[aist#0:(\d+)/.*(?:Error submitting packet to decoder|Decoding error): ")
_REPEATED = re.compile(r"\s+Last message repeated (\d+) times")
_NO_INPUT = "Error opening input"
_UNREAD = "Error during demuxing: "

#: Damaged packets explain that sound is missing if they last at least this share of it.
_EXPLAINED = 0.5

_ADVICE = "check the disk or the share it is on, then run again"


def make_sound(
    video: VideoInfo, plan: AudioPlan, form: SoundForm, container: str, path: Path
) -> tuple[str, ...]:
    """Write the tracks of `plan` to `path`.

    Returns:
        What was given up, one line each.

    Raises:
        SoundFault: a track of the source cannot be had; nothing is wrong with the others.
        EncodeError: the source could not be read to the end of its sound, or ffmpeg failed.
        InputError: the source is gone, or is another one.
        DiskError: `path` cannot be written.
    """
    heard = _Heard()
    try:
        _run(plan, plan.output, container, path, heard)
    except EncodeError as error:
        require_unchanged(video)
        if not heard.no_input and (streams := _at_fault(plan, container, path)):
            raise SoundFault(error.message, error.advice, streams) from error
        raise
    require_unchanged(video)
    times = sound_times(path)
    if len(times) != len(plan.tracks):
        raise EncodeError(
            f"the sound of {printable(video.path)} has {len(times)} tracks instead of"
            f" {len(plan.tracks)}"
        )
    slack_s = float(1 / video.frame_rate) + form.packet_s
    shorter, streams = set(), {}
    for track, copied, (begin, end) in zip(plan.tracks, plan.copied, times, strict=True):
        lost_s = plan.length_s - end
        if lost_s > slack_s:
            if copied or track.last_s is None or not heard.explains(track, lost_s):
                raise _not_read(video, track, end, heard)
            shorter.add(track.stream)
        elif abs(begin) > slack_s or -lost_s > slack_s:
            streams[track.stream] = f"it plays from {begin:.3f} to {end:.3f} s"
    if shorter or streams:
        raise SoundFault("some of its sound cannot be had", "", streams, shorter)
    return tuple(
        f"audio stream {track.stream}: {heard.damaged[track.stream]} of its packets cannot be"
        " decoded and are silent"
        for track in plan.tracks
        if heard.damaged[track.stream]
    )


def without(tracks: Sequence[AudioTrack], fault: SoundFault) -> tuple[AudioTrack, ...]:
    """The tracks that can be had, as they can be had."""
    return tuple(
        replace(track, last_s=None) if track.stream in fault.shorter else track
        for track in tracks
        if track.stream not in fault.streams
    )


@dataclass
class _Heard:
    """What ffmpeg says while it reads the source.

    Attributes:
        damaged: packets that could not be decoded, by stream.
        no_input: it could not open the source.
        unread: why it could not read on; empty if it did not say so.
    """

    damaged: Counter[int] = field(default_factory=Counter)
    no_input: bool = False
    unread: str = ""
    _last: int | None = None

    def __call__(self, line: str) -> None:
        if repeated := _REPEATED.match(line):
            if self._last is not None:
                self.damaged[self._last] += int(repeated[1])
            return
        found = _DAMAGED.match(line)
        self._last = int(found[1]) if found else None
        if self._last is not None:
            self.damaged[self._last] += 1
        elif _UNREAD in line:
            self.unread = line.partition(_UNREAD)[2]
        elif _NO_INPUT in line:
            self.no_input = True

    def explains(self, track: AudioTrack, lost_s: float) -> bool:
        """Whether damaged packets of a track are why so much of it is missing."""
        if track.packets == 0:
            return self.damaged[track.stream] > 0
        packet_s = (track.end_s - track.start_s) / track.packets
        return self.damaged[track.stream] * packet_s >= _EXPLAINED * lost_s


def _run(plan: AudioPlan, output: Sequence[str], container: str, path: Path, heard: _Heard) -> None:
    bitexact = ("-map_metadata", "-1", "-fflags", "+bitexact")
    command = ffmpeg_command(*plan.input, *output, *bitexact, "-f", container, f"file:{path}")
    run_ffmpeg(command, on_message=heard)


def _at_fault(plan: AudioPlan, container: str, path: Path) -> dict[int, str]:
    """Tracks that fail alone as well, and why. What failed for another reason does so no more."""
    found = {}
    for track, output in zip(plan.tracks, plan.each_output, strict=True):
        heard = _Heard()
        try:
            _run(plan, output, container, path, heard)
        except EncodeError as error:
            if heard.no_input:
                raise
            found[track.stream] = error.message
    return found


def _not_read(video: VideoInfo, track: AudioTrack, end_s: float, heard: _Heard) -> EncodeError:
    why = f" ({printable(heard.unread)})" if heard.unread else ""
    return EncodeError(
        f"the sound of {printable(video.path)} could not be read to its end: audio stream"
        f" {track.stream} from {end_s:.1f} s on{why}",
        _ADVICE,
    )
