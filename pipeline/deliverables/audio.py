"""Sound of a joined file: tracks are copied or converted, and cut to the picture's range."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pipeline.source.signature import CONTAINERS

if TYPE_CHECKING:  # see `pipeline.deliverables.format`
    from pipeline.contract import AudioTrack, EncodingSettings, VideoInfo

# Opus knows these loudspeaker layouts (RFC 7845, mapping family 1). Anything else, first-order
# ambisonics with its 4 channels among them, keeps its channels as they are (family 255).
_OPUS_LAYOUTS = {3: "3.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}


# AAC has these of its own (ISO/IEC 14496-3, channel configurations 1 to 7); seven channels and more
# than eight go into Opus. Four are put into one of its layouts by number, whatever they mean.
_AAC_LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 8: "7.1"}

#: 48000 samples a second of 24 bit, in kbit/s.
_PCM_KBPS = 1152


@dataclass(frozen=True, slots=True)
class SoundForm:
    """What sound a container takes.

    Attributes:
        copied: codecs that it holds and that players of it know.
        encoder: ffmpeg's encoder for everything else.
        packet_s: the longest packet, seconds; a track begins and ends with whole ones.
        languages: other codes for languages than ISO 639-2/T has.
    """

    copied: tuple[str, ...]
    encoder: Literal["libopus", "aac", "pcm_s24le"]
    packet_s: float
    languages: Mapping[str, str] = field(default_factory=dict)

    def kbps_per_channel(self, encoding: EncodingSettings) -> int:
        """Of sound that is converted."""
        if self.encoder == "pcm_s24le":
            return _PCM_KBPS
        aac = self.encoder == "aac"
        return encoding.aac_kbps_per_channel if aac else encoding.opus_kbps_per_channel


WEBM_SOUND = SoundForm(("opus", "vorbis"), "libopus", 0.02)

#: MP4 may hold Opus as well, but few players of MP4 know it there.
MP4_SOUND = SoundForm(("aac", "mp3", "ac3", "eac3", "alac"), "aac", 0.032)

#: What editors read without converting it again.
MOV_SOUND = SoundForm(
    ("pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le", "aac", "alac"),
    "pcm_s24le",
    0.024,
    # QuickTime's list of languages, as FFmpeg writes it, has some by their names in English only.
    {"deu": "ger", "nld": "dut", "swe": "sve", "ell": "gre", "isl": "ice", "zho": "chi"},
)


@dataclass(frozen=True, slots=True)
class AudioPlan:
    """Arguments for ffmpeg; the source is its second input. Both empty where there is no sound."""

    input: tuple[str, ...] = ()
    output: tuple[str, ...] = ()


def plan_audio(
    video: VideoInfo,
    start_frame: int,
    num_frames: int,
    encoding: EncodingSettings,
    form: SoundForm,
) -> AudioPlan:
    """All tracks of `video` for a container, beginning with the picture and as long as it.

    A track that it can hold is copied where it begins and ends within a frame of the picture;
    else it is converted, cut or padded with silence to the picture's length.
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
        whole = start_frame == video.phase == 0 and num_frames == video.num_frames
        if whole and track.codec in form.copied and not track.shifts_s and _fits(track, video):
            output += [f"-c:a:{number}", "copy"]
            if track.codec == "aac":  # MPEG-TS and AVI have headers in it, MP4 and MOV do not
                output += [f"-bsf:a:{number}", "aac_adtstoasc"]
        else:
            output += _convert(number, track, length_s, encoding, form)
        language = form.languages.get(track.language, track.language)
        for key, value in (("language", language), ("title", track.title)):
            if value:
                output += [f"-metadata:s:a:{number}", f"{key}={value}"]
    return AudioPlan(tuple(source), tuple(output))


def _fits(track: AudioTrack, video: VideoInfo) -> bool:
    frame_s = float(1 / video.frame_rate)
    return abs(track.start_s) <= frame_s and abs(track.end_s - video.duration_s) <= frame_s


def _convert(
    number: int, track: AudioTrack, length_s: float, encoding: EncodingSettings, form: SoundForm
) -> list[str]:
    # first_pts=0 begins with the picture; async=1 fills gaps; apad and atrim end with it.
    # Sound of several recordings is to keep to the picture at each of them, not within 0.1 s.
    close = ":min_hard_comp=0.012" if track.shifts_s else ""
    chain = [f"aresample=48000:async=1:first_pts=0{close}"]
    encoder = form.encoder
    if encoder == "aac" and track.channels not in _AAC_LAYOUTS:
        encoder = "libopus"
    options = [f"-c:a:{number}", encoder]
    if encoder != "pcm_s24le":
        options += [f"-b:a:{number}", f"{form.kbps_per_channel(encoding) * track.channels}k"]
    if encoder == "aac" and track.channels == 4:
        chain.append("channelmap=map=0|1|2|3:channel_layout=4.0")
    elif encoder == "aac":
        chain.append(f"aformat=channel_layouts={_AAC_LAYOUTS[track.channels]}")
    elif encoder == "libopus" and track.channels in _OPUS_LAYOUTS:
        chain.append(f"aformat=channel_layouts={_OPUS_LAYOUTS[track.channels]}")
    elif encoder == "libopus" and track.channels > 2:
        options += [f"-mapping_family:a:{number}", "255"]
    chain += [f"apad=whole_dur={length_s:.6f}", f"atrim=end={length_s:.6f}"]
    return [*options, f"-filter:a:{number}", ",".join(chain)]
