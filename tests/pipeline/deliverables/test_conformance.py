"""Conformance: what holds for every format. Painted frames and mattes go in; files are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import av
import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.contract import (
    ColorTags,
    EncodingSettings,
    FinishJob,
    SegmentJob,
    VideoInfo,
    VideoSettings,
)
from pipeline.deliverables.alpha_layer import read_layers
from pipeline.deliverables.base import Deliverable, Joined, make_deliverable
from pipeline.deliverables.cut import Run
from pipeline.deliverables.formats import FORMATS
from pipeline.deliverables.movie import concat_list, ticks_per_second
from pipeline.encode.ffmpeg_pipe import ffmpeg_command, run_ffmpeg
from pipeline.encode.keyframes import count_keyframes, keyframe_interval
from pipeline.errors import EncodeError
from pipeline.files.publish import file_digest
from pipeline.finish import finish_video
from pipeline.pixels.alphapack import unpack
from pipeline.pixels.batches import EyeBatch, FrameBatch, MatteBatch
from pipeline.pixels.layers import Layers
from pipeline.pixels.projection import Equirectangular, Fisheye
from pipeline.pixels.sampling import project
from pipeline.segment import run_segment
from pipeline.source.video_info import read_video
from pipeline.stages.matting.base import ClipSampler, MattingModel, Prepared, load_model
from pipeline.verify.readback import packet_sizes
from pipeline.verify.selfcheck import Sample, take_sample
from pipeline.vr_tags.in_files import write_tags
from tests.chains import chain_around, layered
from tests.clips import (
    BITS,
    SQUARE,
    X264,
    ClipSpec,
    paint,
    read_eye,
    read_number,
    read_samples,
    read_sounds,
)
from tests.finished import Floats, decoded, digests, rgba, samples
from tests.render import CPU, chroma_settings

GetClip = Callable[[ClipSpec], Path]

WIDTH, HEIGHT = 192, 96  # of an eye
#: The second segment has one frame only: what is lost or doubled at a seam is read off.
LENGTHS = (7, 1, 6)
TOTAL = sum(LENGTHS)
SCREEN = (43, 230, 64)  # #2BE640

SOURCE = ClipSpec(
    "source_LR.mkv",
    X264,
    num_frames=TOTAL,
    audio=("aac", "libopus", "pcm_s16le"),
    options=("-metadata", "title=A talk: Ærø"),
)


@dataclass(frozen=True)
class Case:
    """A format, and how it is encoded."""

    format: str
    codec: str = "hevc"

    def __str__(self) -> str:
        return f"{self.format}-{self.codec}" if FORMATS[self.format].codec is None else ""

    @property
    def settings(self) -> VideoSettings:
        encoding = EncodingSettings(codec=self.codec, encoder="software")  # type: ignore[arg-type]
        return VideoSettings(deliverables=(self.format,), encoding=encoding)


CASES = [
    Case("webm"),
    *(Case("greenscreen", codec) for codec in ("hevc", "h264", "av1")),
    *(Case("matte", codec) for codec in ("hevc", "h264", "av1")),
    *(Case("alphapack", codec) for codec in ("hevc", "av1")),
    Case("hevc-alpha"),
    Case("prores"),
    Case("video", "h264"),
]
MOVIES = [case for case in CASES if case.format != "webm"]
NAMES = [str(case) or case.format for case in CASES]
MOVIE_NAMES = [str(case) or case.format for case in MOVIES]


def painted(number: int, eye: int) -> tuple[Tensor, Tensor]:
    """RGB uint8 ``[3, H, W]`` and alpha ``[1, H, W]`` of one eye.

    Opaque are the bar in the eye's colour and the squares of set bits, so that the number can be
    read off the matte as well; a ramp in between has every alpha.
    """
    picture = paint(number, eye, WIDTH, HEIGHT)
    alpha = np.zeros((HEIGHT, WIDTH), dtype=np.float32)
    for bit in range(BITS):
        left = SQUARE + bit * SQUARE
        alpha[SQUARE : 3 * SQUARE, left : left + SQUARE] = number >> bit & 1
    ramp = slice(3 * SQUARE + 4, 3 * SQUARE + 12)
    alpha[ramp] = np.linspace(0, 1, WIDTH, dtype=np.float32)
    picture[ramp] = (200, 120, 90)
    alpha[HEIGHT - 2 * SQUARE : HEIGHT - SQUARE, SQUARE : SQUARE * (BITS + 1)] = 1
    return torch.from_numpy(picture).permute(2, 0, 1), torch.from_numpy(alpha)[None]


def batch(start: int, stop: int, *, despilled: bool = False) -> Layers:
    """Both eyes side by side; with `despilled` the colours come as the matte's foreground."""
    pairs = [[painted(k, eye) for eye in (0, 1)] for k in range(start, stop)]
    rgb = torch.stack([torch.cat([eye[0] for eye in pair], dim=2) for pair in pairs])
    eyes = torch.stack([torch.stack([eye[0] for eye in pair]) for pair in pairs])
    alpha = torch.stack([torch.stack([eye[1] for eye in pair]) for pair in pairs])
    if despilled:
        return layered(
            FrameBatch(torch.zeros_like(rgb), start), MatteBatch(alpha, eyes / 255, start)
        )
    return layered(FrameBatch(rgb, start), MatteBatch(alpha, None, start))


def truth(number: int) -> tuple[Floats, Floats]:
    """(RGB 0..255 ``[H, W, 3]``, alpha 0..1 ``[H, W]``) of the whole picture."""
    eyes = [painted(number, eye) for eye in (0, 1)]
    rgb = torch.cat([eye[0] for eye in eyes], dim=2).permute(1, 2, 0).numpy().astype(np.float64)
    return rgb, torch.cat([eye[1] for eye in eyes], dim=2)[0].numpy().astype(np.float64)


def taken(start: int, stop: int) -> list[Sample]:
    """Samples of all those frames, counted from the first."""
    layers = batch(start, stop)
    return [take_sample(layers, t, t) for t in range(stop - start)]


def write_segments(made: Deliverable, video: VideoInfo, folder: Path) -> list[Path]:
    parts = []
    start = 0
    for number, length in enumerate(LENGTHS):
        path = folder / f"{made.name}-{number:06d}{made.suffix}"
        encoder = made.open_segment(path)
        for k in range(start, start + length, 4):
            encoder.write(made.planes(batch(k, min(k + 4, start + length))))
        encoder.close()
        made.check_segment(path, length, taken(start, start + length))
        parts.append(path)
        start += length
    return parts


@dataclass(frozen=True)
class Made:
    """A finished file, and what it was made of."""

    case: Case
    video: VideoInfo
    deliverable: Deliverable
    parts: list[Path]
    target: Path


@pytest.fixture(scope="module")
def index_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("source") / "index.json"


@pytest.fixture(scope="module")
def source(clip: GetClip, index_path: Path) -> VideoInfo:
    video = read_video(clip(SOURCE), index_path, "sbs")
    return replace(video, projection="equirect180")


MadeOf = Callable[[Case], Made]


@pytest.fixture(scope="module")
def made_of(source: VideoInfo, tmp_path_factory: pytest.TempPathFactory) -> MadeOf:
    """The finished file of a case, made once; no test changes it."""
    return cache(lambda case: finished(case, source, tmp_path_factory.mktemp("made")))


@pytest.fixture(scope="module", params=CASES, ids=NAMES)
def made(request: pytest.FixtureRequest, made_of: MadeOf) -> Made:
    return made_of(request.param)


def finished(case: Case, source: VideoInfo, folder: Path) -> Made:
    deliverable = make_deliverable(case.format, source, case.settings)
    parts = write_segments(deliverable, source, folder)
    target = folder / f"finished{deliverable.suffix}"
    deliverable.join(parts, LENGTHS, target)
    deliverable.verify(target, TOTAL)
    return Made(case, source, deliverable, parts, target)


def seen(made: Made) -> Iterator[Floats]:
    """Every picture as ``[H, W, 4]``, 0..255, where the source has its pixels.

    Of an alpha-packed fisheye, what a player looks up, brought back to the source's geometry.
    """
    for frame in decoded(made.target):
        picture = rgba(frame)
        if made.case.format == "alphapack":
            flat = Equirectangular(HEIGHT, WIDTH)
            rgb = torch.from_numpy(picture[..., :3]).permute(2, 0, 1).float()
            fish = Fisheye(rgb.shape[1], rgb.shape[1])
            colours = project(torch.stack(rgb.chunk(2, dim=2)), fish, flat)
            alpha = unpack(rgb.round().to(torch.uint8)[None], rgb.shape[1])[0] * 255
            eyes = torch.cat([colours, project(alpha, fish, flat)], dim=1)
            picture = torch.cat(list(eyes), dim=2).permute(1, 2, 0).double().numpy()
        yield picture


def test_every_format_is_tried() -> None:
    assert {case.format for case in CASES} == set(FORMATS.built_in) - {"tiff"}  # test_tiff.py


def test_frames_out_are_frames_in(made: Made) -> None:
    pictures = list(seen(made))
    for eye in (0, 1):
        half = slice(eye * WIDTH, (eye + 1) * WIDTH)
        eyes = [picture[:, half, :3].round().astype(np.uint8) for picture in pictures]
        assert [read_number(picture) for picture in eyes] == list(range(TOTAL))
        if made.case.format != "matte":
            assert {read_eye(picture) for picture in eyes} == {eye}


def test_the_time_of_every_frame_is_its_own(made: Made) -> None:
    with av.open(str(made.target)) as container:
        packets = [p for p in container.demux(container.streams.video[0]) if p.size]
        times = [float((p.pts or 0) * (p.time_base or 0)) for p in packets]
    # Matroska counts in milliseconds, MP4 and MOV in whole ticks of the rate.
    slack_s = 0.001 if made.case.format == "webm" else 1e-6
    expected = [float(k / made.video.frame_rate) for k in range(TOTAL)]
    assert times == pytest.approx(expected, abs=slack_s)


def test_the_bytes_of_every_picture_are_told_and_keyframes_are_where_they_should_be(
    made: Made,
) -> None:
    interval = keyframe_interval(made.video, made.case.settings)
    for part, length in zip(made.parts, LENGTHS, strict=True):
        sizes = packet_sizes(part)
        assert len(sizes) == length
        # What is besides them is the container's: an index, and for each frame a few bytes.
        assert 0 <= part.stat().st_size - sum(size for size, _ in sizes) <= 3000 + 64 * length
        keyframes = length if made.case.format == "prores" else count_keyframes(length, interval)
        assert sum(is_keyframe for _, is_keyframe in sizes) == keyframes
        assert sizes[0][1]


def test_alpha_is_what_the_model_gave(made: Made) -> None:
    # At its own resolution: test_alphapack_file.py. The whole picture has none.
    if made.case.format in ("alphapack", "video"):
        return
    for number, picture in enumerate(seen(made)):
        rgb, alpha = truth(number)
        if made.case.format == "matte":
            found = picture[..., :3].mean(axis=2) / 255
        elif made.case.format == "greenscreen":
            found = recovered_alpha(picture, rgb)
        else:
            found = picture[..., 3] / 255
        assert float(np.abs(found - alpha).mean()) <= 0.01


def recovered_alpha(picture: Floats, rgb: Floats) -> Floats:
    """Alpha of a subject whose colours are known, over a screen whose colour is known."""
    span = rgb - SCREEN
    far = (span**2).sum(axis=2)
    alpha = ((picture[..., :3] - SCREEN) * span).sum(axis=2) / np.maximum(far, 1)
    # Green that was cut out of the source is too near to the screen to tell: it is the screen.
    found: Floats = np.where(far > 150**2, alpha, 0.0).clip(0, 1)
    return found


def test_colours_of_the_subject_are_kept(made: Made) -> None:
    bar = slice(HEIGHT - 2 * SQUARE + 4, HEIGHT - SQUARE - 4), slice(SQUARE + 4, SQUARE * BITS - 4)
    for number, picture in enumerate(seen(made)):
        rgb, _ = truth(number)
        for left in (0, WIDTH):
            inside = bar[0], slice(bar[1].start + left, bar[1].stop + left)
            if made.case.format == "matte":  # which has none: the subject is white
                rgb[inside] = 255
            assert np.abs(picture[inside][..., :3] - rgb[inside]).mean() <= 2.5


def test_where_nothing_is_kept_nothing_of_the_source_is_seen(made: Made) -> None:
    """Black, or the screen's colour; two pixels from the subject on, for chroma has no more."""
    if made.case.format in ("alphapack", "video"):  # they keep the background
        return
    behind = SCREEN if made.case.format == "greenscreen" else (0, 0, 0)
    for number, picture in enumerate(seen(made)):
        _, alpha = truth(number)
        near = np.pad(alpha > 0, 4)
        empty = ~np.lib.stride_tricks.sliding_window_view(near, (9, 9)).any(axis=(2, 3))
        assert empty.mean() > 0.2
        off = np.abs(picture[..., :3] - behind)[empty]
        assert off.mean() <= 2.5


def test_a_joined_file_has_the_pixels_of_its_segments(made: Made) -> None:
    apart = [digest for part in made.parts for digest in digests(part)]
    assert digests(made.target) == apart


def test_runs_cut_out_of_a_joined_file_join_to_the_very_same_file(
    made: Made, tmp_path: Path
) -> None:
    first, second = LENGTHS[0], LENGTHS[0] + LENGTHS[1]
    begin, end = (tmp_path / f"kept-{k}{made.deliverable.suffix}" for k in (0, 2))
    runs = [Run(0, first, begin), Run(second, TOTAL, end)]
    digest = made.deliverable.cut(made.target, runs, made.parts[1])
    assert digest == file_digest(made.target)
    middle = tmp_path / f"middle{made.deliverable.suffix}"
    middle.write_bytes(made.parts[1].read_bytes())
    again = tmp_path / f"again{made.deliverable.suffix}"
    made.deliverable.join([begin, middle, end], LENGTHS, again)
    found = made.deliverable.verify(again, TOTAL)
    if made.case.format == "hevc-alpha":  # in which parameter sets are repeated, and may be
        assert read_layers(again).frames == read_layers(made.target).frames
        assert digests(again) == digests(made.target)
        return
    assert found == digest


def test_a_run_is_cut_where_a_segment_begins(made: Made, tmp_path: Path) -> None:
    if made.case.format == "prores":  # every picture is a keyframe
        return
    run = Run(2, TOTAL, tmp_path / f"kept{made.deliverable.suffix}")
    with pytest.raises(EncodeError, match="is no keyframe"):
        made.deliverable.cut(made.target, [run], made.parts[1])


def test_the_same_frames_give_the_same_segments(made: Made, tmp_path: Path) -> None:
    again = write_segments(made.deliverable, made.video, tmp_path)
    assert [p.read_bytes() for p in again] == [p.read_bytes() for p in made.parts]


def test_every_track_is_there_and_in_time(made: Made) -> None:
    sounds = read_sounds(made.target)
    if made.case.format == "matte":
        assert sounds == []
        return
    german = "ger" if made.case.format == "prores" else "deu"  # the code that QuickTime knows
    assert [sound.language for sound in sounds] == ["eng", german, "fra"]
    frame_s = float(1 / made.video.frame_rate)
    for number, sound in enumerate(sounds):
        heard, begin_s = read_samples(made.target, number)
        assert abs(begin_s) <= frame_s
        assert abs(begin_s + len(heard) / 48000 - TOTAL * frame_s) <= frame_s + 0.024
        # The tone of that track, and no other.
        spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard))))
        assert abs(float(spectrum.argmax()) * 48000 / len(heard) - 440 * (number + 1)) < 8
        assert sound.channels == 2


KEPT = {
    "webm": ["opus", "opus", "opus"],
    "greenscreen": ["aac", "aac", "aac"],
    "alphapack": ["aac", "aac", "aac"],
    "prores": ["aac", "pcm_s24le", "pcm_s16le"],
    "hevc-alpha": ["aac", "aac", "aac"],
    "video": ["aac", "aac", "aac"],
}


def test_sound_has_the_codec_that_players_of_the_format_know(made: Made) -> None:
    codecs = [sound.codec.removeprefix("lib") for sound in read_sounds(made.target)]
    assert codecs == KEPT.get(made.case.format, [])


def test_colour_and_title_are_tagged(made: Made) -> None:
    frame = next(decoded(made.target))
    assert (int(frame.colorspace), int(frame.color_range)) == (1, 1)  # BT.709, limited
    with av.open(str(made.target)) as container:
        assert container.metadata.get("title") == "A talk: Ærø"
        if str(made.case).endswith("hevc"):
            assert container.streams.video[0].codec_context.codec_tag == "hvc1"


def test_another_number_of_frames_is_noticed(made: Made) -> None:
    with pytest.raises(EncodeError, match=f"{TOTAL} frames instead of {TOTAL + 1}"):
        made.deliverable.verify(made.target, TOTAL + 1)
    with pytest.raises(EncodeError, match="frames instead of 3"):
        made.deliverable.check_segment(made.parts[0], 3, [])


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_file_that_is_cut_off_is_noticed(share: float, made: Made, tmp_path: Path) -> None:
    whole = made.target.read_bytes()
    cut = tmp_path / f"cut{made.deliverable.suffix}"
    cut.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(EncodeError):
        made.deliverable.verify(cut, TOTAL)


def test_a_lost_last_byte_is_noticed(made: Made, tmp_path: Path) -> None:
    if made.case.format == "webm":  # what is last there is an index that no player needs
        return
    cut = tmp_path / f"cut{made.deliverable.suffix}"
    cut.write_bytes(made.target.read_bytes()[:-1])
    with pytest.raises(EncodeError):
        made.deliverable.verify(cut, TOTAL)


def test_a_segment_twice_or_lost_is_noticed(made: Made, tmp_path: Path) -> None:
    bad = tmp_path / f"bad{made.deliverable.suffix}"
    for parts in (made.parts[:2], [*made.parts, made.parts[1]]):
        lengths = [LENGTHS[made.parts.index(part)] for part in parts]
        made.deliverable.join(parts, lengths, bad)
        with pytest.raises(EncodeError, match="frames instead of"):
            made.deliverable.verify(bad, TOTAL)


def delivered_parts(path: Path) -> dict[str, bytes]:
    """A picture's bytes, those of its alpha where these are beside it, and a sound's: the longest
    of each in the file."""
    found: dict[str, bytes] = {}
    with av.open(str(path)) as container:
        for packet in container.demux():
            parts: dict[str, bytes] = {packet.stream.type: bytes(packet)}
            if packet.has_sidedata("matroska_block_additional"):
                # After the number of the addition, 8 bytes that the file has elsewhere.
                parts["alpha"] = bytes(packet.get_sidedata("matroska_block_additional"))[8:]
            for name, content in parts.items():
                found[name] = max(found.get(name, b""), content, key=len)
    return found


def test_a_flipped_bit_of_whatever_is_delivered_is_refused(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = made.target.read_bytes()
    parts = delivered_parts(made.target)
    assert ("alpha" in parts) == (made.case.format == "webm")
    for name, content in parts.items():
        place = whole.index(content) + len(content) // 2

        def flip(path: Path, *rest: Any, place: int = place) -> None:
            write_tags(path, *rest)
            damaged = bytearray(path.read_bytes())
            damaged[place] ^= 1
            path.write_bytes(damaged)

        target = tmp_path / f"{name}{made.deliverable.suffix}"
        with monkeypatch.context() as patch:
            patch.setattr("pipeline.deliverables.movie.write_tags", flip)
            with pytest.raises(EncodeError, match=r"does not hold the (pictures|sound)"):
                made.deliverable.join(made.parts, LENGTHS, target)
        assert sorted(tmp_path.iterdir()) == [target]
        target.unlink()


def test_what_was_compared_is_what_is_verified(made: Made, tmp_path: Path) -> None:
    """Both digests are those of the file, so that a change in between is seen."""
    target = tmp_path / f"again{made.deliverable.suffix}"
    joined = (made.deliverable.join(made.parts, LENGTHS, target) or Joined()).digest
    assert joined == made.deliverable.verify(target, TOTAL) == file_digest(target)


def altered(made: Made, folder: Path, *options: str) -> Path:
    path = folder / f"altered{made.deliverable.suffix}"
    run_ffmpeg(ffmpeg_command("-i", str(made.target), "-map", "0", *options, f"file:{path}"))
    return path


@pytest.mark.parametrize("case", MOVIES, ids=MOVIE_NAMES)
def test_what_is_missing_is_noticed(case: Case, made_of: MadeOf, tmp_path: Path) -> None:
    made = made_of(case)
    other = ("-c:v", "libx264", "-pix_fmt", "yuv444p", "-c:a", "copy")
    with pytest.raises(EncodeError, match="yuv444p pictures instead of"):
        made.deliverable.verify(altered(made, tmp_path, *other), TOTAL)
    late = ("-c", "copy", "-bsf:v", "setts=ts=TS+DURATION*gte(N\\,5)")
    with pytest.raises(EncodeError, match="off its time"):
        made.deliverable.verify(altered(made, tmp_path, *late), TOTAL)
    if case.format != "matte":
        with pytest.raises(EncodeError, match="0 audio tracks instead of 3"):
            made.deliverable.verify(altered(made, tmp_path, "-c", "copy", "-an"), TOTAL)
    if str(case).endswith("hevc"):
        tagged = altered(made, tmp_path, "-c", "copy", "-tag:v", "hev1")
        with pytest.raises(EncodeError, match="hev1 instead of hvc1"):
            made.deliverable.verify(tagged, TOTAL)


@pytest.mark.parametrize("case", MOVIES, ids=MOVIE_NAMES)
def test_segments_of_another_encoder_are_not_joined(
    case: Case, made_of: MadeOf, tmp_path: Path
) -> None:
    made = made_of(case)
    foreign = made_of(Case("matte", "h264" if case.codec == "hevc" else "hevc")).parts[1]
    mixed = [made.parts[0], foreign, made.parts[2]]
    with pytest.raises(EncodeError, match=r"different encoders|has no alpha"):
        made.deliverable.join(mixed, LENGTHS, tmp_path / "mixed.mp4")
    assert not (tmp_path / "mixed.mp4").exists()


CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "black": torch.zeros_like,
    "shifted": lambda planes: planes.roll(planes.shape[1] // 3, 1),
    "half": lambda planes: torch.cat(
        [planes[:, : planes.shape[1] // 3], torch.zeros_like(planes[:, planes.shape[1] // 3 :])], 1
    ),
}


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_a_segment_that_is_not_what_the_model_gave_is_refused(
    case: Case, source: VideoInfo, tmp_path: Path
) -> None:
    made = make_deliverable(case.format, source, case.settings)
    for name, change in CHANGES.items():
        part = tmp_path / f"{name}{made.suffix}"
        encoder = made.open_segment(part)
        encoder.write(change(made.planes(batch(0, 2))))
        encoder.close()
        with pytest.raises(EncodeError, match="is not what was made"):
            made.check_segment(part, 2, taken(0, 2))


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_exchanged_eyes_are_refused(case: Case, source: VideoInfo, tmp_path: Path) -> None:
    """Though the planes are what a format made of the frames that it was given."""
    made = make_deliverable(case.format, source, case.settings)
    layers = batch(5, 6)
    alpha = layers.matte.alpha.clone()
    alpha[:, 0] *= 0.5  # the eyes of the painted mattes are the same
    part = tmp_path / f"part{made.suffix}"
    encoder = made.open_segment(part)
    encoder.write(made.planes(Layers(5, layers.rgb.flip(1), alpha.flip(1))))
    encoder.close()
    sample = take_sample(Layers(5, layers.rgb, alpha), 0, 0)
    with pytest.raises(EncodeError, match=r"in the (left|right) eye|the left eye for the right"):
        made.check_segment(part, 1, [sample])


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_a_sampled_frame_that_is_not_there_is_noticed(
    case: Case, source: VideoInfo, tmp_path: Path
) -> None:
    made = make_deliverable(case.format, source, case.settings)
    part = tmp_path / f"part{made.suffix}"
    encoder = made.open_segment(part)
    encoder.write(made.planes(batch(0, 1)))
    encoder.close()
    with pytest.raises(EncodeError, match="frame 1 of"):
        made.check_segment(part, 1, taken(0, 2))


def test_a_green_that_covers_too_little_is_refused(source: VideoInfo, tmp_path: Path) -> None:
    """The matte is as good as its average: a speckled screen is no wrong average."""
    case = Case("greenscreen", "h264")
    made = make_deliverable(case.format, source, case.settings)
    part = tmp_path / "part.mp4"
    encoder = made.open_segment(part)
    planes = made.planes(batch(0, 1))
    luma = planes[:, : 2 * WIDTH * HEIGHT].view(-1, HEIGHT, 2 * WIDTH)
    luma[:, -12:, ::2] += 60
    luma[:, -12:, 1::2] -= 60
    encoder.write(planes)
    encoder.close()
    with pytest.raises(EncodeError, match="of flat screen instead of"):
        made.check_segment(part, 1, taken(0, 1))


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_the_worst_quality_is_no_failure(case: Case, source: VideoInfo, tmp_path: Path) -> None:
    worst = EncodingSettings(
        codec=case.settings.encoding.codec,
        encoder="software",
        vp9_crf=63,
        hevc_crf=51,
        h264_crf=51,
        av1_crf=63,
    )
    made = make_deliverable(case.format, source, replace(case.settings, encoding=worst))
    part = tmp_path / f"part{made.suffix}"
    encoder = made.open_segment(part)
    encoder.write(made.planes(batch(0, 3)))
    encoder.close()
    made.check_segment(part, 3, taken(0, 1))


FLAT = [case for case in CASES if case.format not in ("alphapack", "video")]
FLAT_NAMES = [str(case) or case.format for case in FLAT]


@pytest.mark.parametrize("case", FLAT, ids=FLAT_NAMES)
def test_the_foreground_replaces_the_source(case: Case, source: VideoInfo, tmp_path: Path) -> None:
    made = make_deliverable(case.format, source, case.settings)
    plain, despilled = made.planes(batch(0, 2)), made.planes(batch(0, 2, despilled=True))
    assert torch.equal(plain, despilled)


def test_an_edge_has_as_much_screen_as_alpha_says(source: VideoInfo) -> None:
    case = Case("greenscreen")
    made = make_deliverable("greenscreen", source, case.settings)
    rgb = torch.zeros(1, 3, HEIGHT, 2 * WIDTH, dtype=torch.uint8)
    levels = torch.linspace(0, 1, 11)
    for level in levels:
        alpha = torch.full((1, 2, 1, HEIGHT, WIDTH), float(level))
        planes = made.planes(layered(FrameBatch(rgb, 0), MatteBatch(alpha, None, 0)))[0]
        pixels = HEIGHT * 2 * WIDTH
        y, u, v = (float(planes[k]) for k in (0, pixels, pixels * 5 // 4))
        luma = (y - 16) / 219
        red, blue = luma + 1.5748 * (v - 128) / 224, luma + 1.8556 * (u - 128) / 224
        green = (luma - 0.2126 * red - 0.0722 * blue) / 0.7152
        expected = np.array(SCREEN) * (1 - float(level))
        assert np.array([red, green, blue]) * 255 == pytest.approx(expected, abs=2.5)


@pytest.mark.parametrize("layout", ["mono", "tb"])
@pytest.mark.parametrize("case", FLAT, ids=FLAT_NAMES)
def test_other_layouts_keep_their_eyes_in_place(case: Case, layout: str, source: VideoInfo) -> None:
    eyes = 1 if layout == "mono" else 2
    video = replace(source, layout=layout, width=WIDTH, height=HEIGHT * eyes)  # type: ignore[arg-type]
    made = make_deliverable(case.format, video, case.settings)
    alpha = torch.zeros(1, eyes, 1, HEIGHT, WIDTH)
    alpha[:, -1, :, 32:64, 64:128] = 1
    rgb = torch.full((1, 3, HEIGHT * eyes, WIDTH), 255, dtype=torch.uint8)
    planes = made.planes(
        layered(FrameBatch(rgb, 0), MatteBatch(alpha, None, 0), layout)  # type: ignore[arg-type]
    )[0]
    pixels = HEIGHT * eyes * WIDTH
    luma = planes.view(torch.int16)[:pixels].float() / 4 if case.format == "prores" else planes
    luma = luma[:pixels].view(HEIGHT * eyes, WIDTH).float()
    last = luma[HEIGHT * (eyes - 1) :]
    assert float(last[32:64, 64:128].min()) >= 234
    assert float(luma.sum() - last[32:64, 64:128].sum()) < 200 * (pixels - 32 * 64)
    assert int((luma > 230).sum()) == 32 * 64


@pytest.mark.parametrize("rate", ["30", "24000/1001", "60000/1001", "25", "119.88", "7/3"])
def test_a_night_of_segments_ends_on_its_tick(rate: str) -> None:
    exact = Fraction(rate)
    ticks = ticks_per_second(exact)
    assert ticks >= 10_000
    assert (ticks / exact).denominator == 1
    lengths = [601] * 2000
    text = concat_list([Path("x.mp4")] * 2000, lengths, exact)
    durations = [Fraction(line.split()[1]) for line in text.splitlines() if "duration" in line]
    assert abs(sum(durations) - sum(lengths) / exact) <= Fraction(1, 1_000_000)


def test_an_odd_rate_has_ticks_that_a_header_can_hold() -> None:
    assert ticks_per_second(Fraction(29_970_029, 1_000_000)) <= 1_000_000


@pytest.mark.parametrize("channels", [1, 4, 6, 8])
@pytest.mark.parametrize("case", [Case("greenscreen", "h264"), Case("prores")], ids=str)
def test_channels_are_kept_when_sound_is_converted(
    channels: int, case: Case, clip: GetClip, tmp_path: Path
) -> None:
    spec = ClipSpec("h.mkv", X264, num_frames=TOTAL, audio=("flac",), audio_channels=channels)
    video = read_video(clip(spec), tmp_path / "index.json", "sbs")
    made = finished(case, video, tmp_path)
    (sound,) = read_sounds(made.target)
    assert sound.channels == channels


def test_sound_with_headers_of_its_container_is_copied_without_them(
    clip: GetClip, tmp_path: Path
) -> None:
    """AAC of MPEG-TS: what goes into an MP4 is compared as it goes in."""
    spec = ClipSpec("h_LR.ts", X264, num_frames=TOTAL, audio=("aac",))
    video = read_video(clip(spec), tmp_path / "index.json", "sbs")
    made = make_deliverable("greenscreen", video, Case("greenscreen", "h264").settings)
    part = tmp_path / "part.mp4"
    encoder = made.open_segment(part)
    encoder.write(made.planes(batch(0, TOTAL)))
    encoder.close()
    target = tmp_path / "joined.mp4"
    assert (made.join([part], [TOTAL], target) or Joined()).digest == made.verify(target, TOTAL)
    with av.open(video.path) as source, av.open(str(target)) as joined:
        given, kept = (
            [bytes(packet) for packet in container.demux(audio=0) if packet.size]
            for container in (source, joined)
        )
    headers = {len(packet) - len(copy) for packet, copy in zip(given, kept, strict=True)}
    assert headers == {7}  # ADTS


def test_a_range_has_the_sound_of_its_range(source: VideoInfo, tmp_path: Path) -> None:
    """Frames 4 to the end: no track is copied, all begin with the picture and end with it."""
    settings = replace(Case("greenscreen", "h264").settings, start_frame=4)
    made = make_deliverable("greenscreen", source, settings)
    part = tmp_path / "part.mp4"
    encoder = made.open_segment(part)
    encoder.write(made.planes(batch(4, TOTAL)))
    encoder.close()
    made.join([part], [TOTAL - 4], tmp_path / "range.mp4")
    made.verify(tmp_path / "range.mp4", TOTAL - 4)
    numbers = [
        read_number(rgba(f)[:, :WIDTH, :3].astype(np.uint8))
        for f in decoded(tmp_path / "range.mp4")
    ]
    assert numbers == list(range(4, TOTAL))


def test_other_colour_tags_go_into_the_file(source: VideoInfo, tmp_path: Path) -> None:
    tags = ColorTags("bt2020nc", "bt2020", "smpte2084", full_range=True)
    for case in MOVIES:
        made = make_deliverable(case.format, replace(source, color=tags), case.settings)
        part = tmp_path / f"{case.format}-{case.codec}{made.suffix}"
        encoder = made.open_segment(part)
        encoder.write(made.planes(batch(5, 6)))
        encoder.close()
        frame = next(decoded(part))
        found = (int(frame.colorspace), int(frame.color_primaries), int(frame.color_trc))
        assert found == (9, 9, 16)
        assert int(frame.color_range) == 1
        values: Sequence[Floats] = samples(frame)
        assert len(values) == (4 if case.format in ("prores", "hevc-alpha") else 3)


class Counted:
    """`chroma`, which counts the frames it is asked for. See `pipeline.stages.matting.base`."""

    name: ClassVar[str] = "chroma"

    def __init__(self, model: MattingModel) -> None:
        self._model = model
        self.warmup_frames = model.warmup_frames
        self.frames = 0

    def prepare(self, clip: ClipSampler) -> Prepared:
        return self._model.prepare(clip)

    def start(self, eyes: int, height: int, width: int, prepared: Prepared) -> Any:
        return self._model.start(eyes, height, width, prepared)

    def matte(self, eyes: EyeBatch, state: Any) -> MatteBatch:
        self.frames += len(eyes)
        return self._model.matte(eyes, state)


def test_all_formats_come_of_one_inference(
    source: VideoInfo, index_path: Path, tmp_path: Path
) -> None:
    formats = tuple(FORMATS.built_in)
    settings = replace(chroma_settings(), deliverables=formats)
    model = Counted(load_model(settings.matting, settings.processing, CPU))
    jobs = [
        SegmentJob(source, settings, number, a, b, str(index_path), str(tmp_path))
        for number, (a, b) in enumerate([(0, 8), (8, TOTAL)])
    ]
    chain = chain_around(model, settings)
    results = tuple(run_segment(job, chain, CPU) for job in jobs)
    assert model.frames == TOTAL + model.warmup_frames
    outputs = tuple(str(tmp_path / f"talk-{name}") for name in formats)
    done = finish_video(FinishJob(source, settings, results, outputs, str(tmp_path)))
    assert [file.deliverable for file in done] == list(formats)
    for name, output in zip(formats, outputs, strict=True):
        if name == "tiff":
            continue
        pictures = [rgba(frame) for frame in decoded(Path(output))]
        assert len(pictures) == TOTAL
        if name not in ("matte", "alphapack"):
            left = [picture[:, :WIDTH, :3].round().astype(np.uint8) for picture in pictures]
            assert [read_number(picture) for picture in left] == list(range(TOTAL))
