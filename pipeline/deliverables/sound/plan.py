"""Sound of a joined file, planned: which tracks, copied or converted, cut to the picture's range.

What the channels of a track are decides how they are written: loudspeakers that the codec knows
keep their places; a sound field is named as one; all others are kept as they are, one by one. A
codec that is told wrong places damages them: the one for bass keeps 120 Hz.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pipeline.source.signature import CONTAINERS

if TYPE_CHECKING:  # see `pipeline.deliverables.format`
    from pipeline.contract import (
        Ambisonics,
        AudioMode,
        AudioTrack,
        EncodingSettings,
        VideoInfo,
        VideoSettings,
    )

_Encoder = Literal["libopus", "aac", "pcm_s24le"]

# Layouts that an encoder knows, by FFmpeg's names, and what they become: RFC 7845 has places at the
# side or at the back (mapping family 1), AAC has channel configurations (ISO/IEC 14496-3).
_OPUS_LAYOUTS = {
    "mono": "mono",
    "stereo": "stereo",
    "3.0": "3.0",
    "quad": "quad",
    "quad(side)": "quad",
    "5.0": "5.0",
    "5.0(side)": "5.0",
    "5.1": "5.1",
    "5.1(side)": "5.1",
    "6.1": "6.1",
    "7.1": "7.1",
}
_AAC_LAYOUTS = {
    "mono": "mono",
    "stereo": "stereo",
    "3.0": "3.0",
    "4.0": "4.0",
    "5.0": "5.0",
    "5.0(side)": "5.0",
    "5.1": "5.1",
    "5.1(side)": "5.1",
    "7.1": "7.1",
    "7.1(wide)": "7.1(wide)",
}
#: Channels whose places are not said, but can be no others.
_BY_NUMBER = {1: "mono", 2: "stereo"}
#: For an input of ffmpeg: more channels than these are given no places that nobody said.
KNOWN_PLACES_ONLY = ("-guess_layout_max", str(max(_BY_NUMBER)))
#: Players expect a sound field of the first order in AAC of four channels, none of them for bass.
_AAC_FIELD = "4.0"
#: Opus's mapping families: a sound field; channels without places.
_FIELD_FAMILY, _NO_PLACES_FAMILY = "2", "255"

#: Of an option of ffmpeg: for the first audio track of its output.
_FIRST = ":a:0"

#: 48000 samples a second of 24 bit, in kbit/s.
_PCM_KBPS = 1152

#: A track that ends so much before the picture is worth a note.
_SHORT_S = 1.0
#: Silence that is added beside what is known to be missing: decoders drop some samples at the end.
_SPARE_S = 0.1


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
    encoder: _Encoder
    packet_s: float
    languages: Mapping[str, str] = field(default_factory=dict)

    def kbps_per_channel(self, encoding: EncodingSettings) -> int:
        """Of sound that is converted."""
        if self.encoder == "pcm_s24le":
            return _PCM_KBPS
        aac = self.encoder == "aac"
        return encoding.aac_kbps_per_channel if aac else encoding.opus_kbps_per_channel

    def encoder_for(self, track: AudioTrack) -> _Encoder:
        """AAC has no way to say that channels have no places: those go into Opus."""
        if self.encoder != "aac" or _layout(track) in _AAC_LAYOUTS:
            return self.encoder
        return "aac" if _is_first_order(track.ambisonics) else "libopus"

    def can_copy(self, track: AudioTrack) -> bool:
        """Whether it holds the track as it is."""
        opus = track.codec == "opus" and self.encoder_for(track) == "libopus"
        return track.codec in self.copied or opus


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
    """Arguments for ffmpeg; all empty where there is no sound.

    Attributes:
        input: the source, which is ffmpeg's only input.
        each_output: what becomes of each of its tracks, alone in a file.
        labels: of the same tracks in the joined file.
        tracks: of the source, in that order.
        copied: for each, whether its packets stay as they are.
        length_s: of the picture.
        notes: what is given up, one line each.
    """

    input: tuple[str, ...] = ()
    each_output: tuple[tuple[str, ...], ...] = ()
    labels: tuple[str, ...] = ()
    tracks: tuple[AudioTrack, ...] = ()
    copied: tuple[bool, ...] = ()
    length_s: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def output(self) -> tuple[str, ...]:
        """What becomes of its tracks, together in a file."""
        numbered = enumerate(self.each_output)
        return tuple(
            word.replace(_FIRST, f":a:{number}") if word.startswith("-") else word
            for number, words in numbered
            for word in words
        )

    @property
    def sound_fields(self) -> tuple[Ambisonics | None, ...]:
        return tuple(track.ambisonics for track in self.tracks)


def plan_sound(
    video: VideoInfo, settings: VideoSettings, num_frames: int, form: SoundForm | None
) -> AudioPlan:
    """The sound of one file under these settings; of none where its format has no sound."""
    if form is None or settings.audio == "none":
        return AudioPlan()
    first = settings.first_frame
    return plan_audio(video, first, num_frames, settings.encoding, form, settings.audio)


def plan_audio(
    video: VideoInfo,
    start_frame: int,
    num_frames: int,
    encoding: EncodingSettings,
    form: SoundForm,
    mode: AudioMode = "keep",
) -> AudioPlan:
    """All tracks of `video` for a container, beginning with the picture and as long as it.

    A track that it can hold is copied where it begins and ends within a frame of the picture;
    else it is converted, cut or padded with silence to the picture's length; or left out, if only
    copies are asked for.
    """
    begin_s = float(start_frame / video.frame_rate)
    length_s = float(num_frames / video.frame_rate)
    whole = start_frame == video.phase == 0 and num_frames == video.num_frames
    outputs: list[tuple[str, ...]] = []
    labels: list[str] = []
    tracks: list[AudioTrack] = []
    copied: list[bool] = []
    notes: list[str] = []
    for track in video.audio:
        name = f"audio stream {track.stream}"
        as_it_is = whole and not track.shifts_s and form.can_copy(track) and _fits(track, video)
        if mode == "copy" and not as_it_is:
            notes.append(f"{name} ({track.codec}) is left out: it cannot be copied")
            continue
        number = len(tracks)
        output = ["-map", f"0:{track.stream}"]
        if as_it_is:
            output += [f"-c{_FIRST}", "copy"]
        else:
            output += _convert(track, begin_s, length_s, encoding, form)
            notes += [f"{name}: {words}" for words in _given_up(track, form)]
        silence_s = begin_s + length_s - max(track.end_s, begin_s)
        if silence_s > _SHORT_S:
            notes.append(f"{name} ends {silence_s:.1f} s before the picture: silence follows")
        language = form.languages.get(track.language, track.language)
        for key, value in (("language", language), ("title", track.title)):
            if value:
                labels += [f"-metadata:s:a:{number}", f"{key}={value}"]
        outputs.append(tuple(output))
        tracks.append(track)
        copied.append(as_it_is)
    if not tracks:
        return AudioPlan(notes=tuple(notes))
    return AudioPlan(
        _source(video, begin_s),
        tuple(outputs),
        tuple(labels),
        tuple(tracks),
        tuple(copied),
        length_s,
        tuple(notes),
    )


def _source(video: VideoInfo, begin_s: float) -> tuple[str, ...]:
    # The time is one of the file's own clock, not counted from whatever stream begins first.
    source = ["-seek_timestamp", "1", "-ss", f"{video.begin_s + begin_s:.6f}"]
    # Nothing in the source may name another file or an address.
    source += ["-protocol_whitelist", "file,pipe", "-format_whitelist", ",".join(CONTAINERS)]
    return (*source, *KNOWN_PLACES_ONLY, "-i", f"file:{video.path}")


def _fits(track: AudioTrack, video: VideoInfo) -> bool:
    frame_s = float(1 / video.frame_rate)
    return abs(track.start_s) <= frame_s and abs(track.end_s - video.duration_s) <= frame_s


def _convert(
    track: AudioTrack,
    begin_s: float,
    length_s: float,
    encoding: EncodingSettings,
    form: SoundForm,
) -> list[str]:
    encoder = form.encoder_for(track)
    options = [f"-c{_FIRST}", encoder]
    if encoder != "pcm_s24le":
        options += [f"-b{_FIRST}", f"{form.kbps_per_channel(encoding) * track.channels}k"]
    places, family = _places(track, encoder)
    if family:
        options += [f"-mapping_family{_FIRST}", family]
    # first_pts=0 begins with the picture; async=1 fills gaps; apad and atrim end with it.
    # Sound of several recordings is to keep to the picture at each of them, not within 0.1 s.
    close = ":min_hard_comp=0.012" if track.shifts_s else ""
    chain = [f"aresample=48000:async=1:first_pts=0{close}", *places]
    chain += [_padding(track, begin_s, length_s), f"atrim=end={length_s:.6f}"]
    return [*options, f"-filter{_FIRST}", ",".join(chain)]


def _padding(track: AudioTrack, begin_s: float, length_s: float) -> str:
    """Silence for what is known to be missing, and no more: what cannot be read is then missed."""
    if track.last_s is None or track.last_s <= begin_s:
        return f"apad=whole_dur={length_s:.6f}"
    missing_s = max(0.0, begin_s + length_s - track.last_s)
    return f"apad=pad_dur={missing_s + _SPARE_S:.6f}"


def _places(track: AudioTrack, encoder: _Encoder) -> tuple[list[str], str]:
    """(filters that give the channels their places, Opus's mapping family or "")."""
    layout = _layout(track)
    known: Mapping[str, str] = {layout: layout}
    if encoder != "pcm_s24le":
        known = _AAC_LAYOUTS if encoder == "aac" else _OPUS_LAYOUTS
    channel_map = "|".join(map(str, range(track.channels)))
    if encoder == "aac" and _is_first_order(track.ambisonics):
        return [f"channelmap=map={channel_map}:channel_layout={_AAC_FIELD}"], ""
    if track.channels in _BY_NUMBER and track.layout != layout:
        return [f"channelmap=map={channel_map}:channel_layout={layout}"], ""
    if layout and layout in known:
        return [f"aformat=channel_layouts={known[layout]}"], ""
    # C, not c: channels without places, where c stands for FFmpeg's own guess.
    as_they_are = [f"channelmap=map={channel_map}:channel_layout={track.channels}C"]
    if encoder != "libopus":
        return as_they_are, ""
    in_order = track.ambisonics is not None and track.ambisonics.in_order
    return as_they_are, _FIELD_FAMILY if in_order else _NO_PLACES_FAMILY


def _given_up(track: AudioTrack, form: SoundForm) -> Iterator[str]:
    """What is lost by converting a track, besides what any converting loses."""
    layout = _layout(track)
    encoder = form.encoder_for(track)
    if form.encoder == "aac" and encoder == "libopus":
        yield f"its {track.channels} channels are kept in Opus, which few players of MP4 know"
    if encoder == "libopus" and layout and layout not in _OPUS_LAYOUTS:
        yield f"Opus cannot say where its channels are heard ({layout})"
    turned = track.ambisonics is not None and not track.ambisonics.in_order
    if form.encoder == "libopus" and turned:
        yield "Opus cannot say in which order the channels of its sound field are"


def _layout(track: AudioTrack) -> str:
    """The places of its channels; empty where they have none that are known."""
    if track.ambisonics is not None:
        return ""
    if track.channels in _BY_NUMBER:
        return _BY_NUMBER[track.channels]
    return track.layout


def _is_first_order(said: Ambisonics | None) -> bool:
    return said is not None and len(said.channel_map) == 4
