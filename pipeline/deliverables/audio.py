"""Sound for a joined file: which tracks are copied, which converted, cut to the picture's range."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.signature import CONTAINERS
from pipeline.spec import AudioTrack, VideoInfo

_WEBM_CODECS = ("opus", "vorbis")

# Opus knows these loudspeaker layouts (RFC 7845, mapping family 1). Anything else, first-order
# ambisonics with its 4 channels among them, keeps its channels as they are (family 255).
_OPUS_LAYOUTS = {3: "3.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}


@dataclass(frozen=True, slots=True)
class AudioPlan:
    """Arguments for ffmpeg; the source is its second input. Both empty where there is no sound."""

    input: tuple[str, ...] = ()
    output: tuple[str, ...] = ()


def plan_audio(
    video: VideoInfo, start_frame: int, num_frames: int, kbps_per_channel: int
) -> AudioPlan:
    """All tracks of `video` for WebM, beginning with the picture and as long as it.

    A track that WebM can hold is copied where it begins and ends within a frame of the picture;
    else it is converted to Opus, cut or padded with silence to the picture's length.
    """
    if not video.audio:
        return AudioPlan()
    begin_s = start_frame / video.frame_rate
    length_s = float(num_frames / video.frame_rate)
    # The time is one of the file's own clock, not counted from whatever stream begins first.
    seek_s = video.begin_s + float(begin_s)
    source = ["-seek_timestamp", "1", "-ss", f"{seek_s:.6f}"]
    # Nothing in the source may name another file or an address.
    source += ["-protocol_whitelist", "file,pipe", "-format_whitelist", ",".join(CONTAINERS)]
    source += ["-i", f"file:{video.path}"]
    output: list[str] = []
    for number, track in enumerate(video.audio):
        output += ["-map", f"1:{track.stream}"]
        if _can_copy(track, video, start_frame, num_frames):
            output += [f"-c:a:{number}", "copy"]
        else:
            output += _convert(number, track, length_s, kbps_per_channel)
        for key, value in (("language", track.language), ("title", track.title)):
            if value:
                output += [f"-metadata:s:a:{number}", f"{key}={value}"]
    return AudioPlan(tuple(source), tuple(output))


def _can_copy(track: AudioTrack, video: VideoInfo, start_frame: int, num_frames: int) -> bool:
    whole = start_frame == 0 and num_frames == video.num_frames
    frame_s = float(1 / video.frame_rate)
    fits = abs(track.start_s) <= frame_s and abs(track.end_s - video.duration_s) <= frame_s
    return track.codec in _WEBM_CODECS and whole and fits


def _convert(number: int, track: AudioTrack, length_s: float, kbps: int) -> list[str]:
    # first_pts=0 begins with the picture; async=1 fills gaps; apad and atrim end with it.
    chain = ["aresample=48000:async=1:first_pts=0"]
    options = [f"-c:a:{number}", "libopus", f"-b:a:{number}", f"{kbps * track.channels}k"]
    if track.channels in _OPUS_LAYOUTS:
        chain.append(f"aformat=channel_layouts={_OPUS_LAYOUTS[track.channels]}")
    elif track.channels > 2:
        options += [f"-mapping_family:a:{number}", "255"]
    chain += [f"apad=whole_dur={length_s:.6f}", f"atrim=end={length_s:.6f}"]
    return [*options, f"-filter:a:{number}", ",".join(chain)]
