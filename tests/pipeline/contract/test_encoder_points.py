"""The numbers of each quality by encoder, values that override it, and the fingerprint."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contract import ColorTags, EncodingSettings, VideoInfo, VideoSettings
from pipeline.contract.encoder_points import POINTS, Quality, QualityPoint
from pipeline.deliverables import movie
from pipeline.deliverables.base import make_deliverable

NAMES = [field.name for field in dataclasses.fields(QualityPoint)]
VIDEO = VideoInfo(
    "/talk.mkv", 1, 1, "", "matroska", "h264", 256, 128, "yuv420p", 8, Fraction(30), 300, 300,
    False, ColorTags(), 0, (), "sbs", "",
)  # fmt: skip


def settings(form: str, encoding: EncodingSettings) -> VideoSettings:
    return VideoSettings(deliverables=(form,), encoding=encoding)


def command(form: str, encoding: EncodingSettings, monkeypatch: pytest.MonkeyPatch) -> str:
    """What would encode a segment."""
    seen: list[list[str]] = []
    with monkeypatch.context() as patch:
        patch.setattr(movie, "PipeEncoder", seen.append)
        make_deliverable(form, VIDEO, settings(form, encoding)).open_segment(Path("/x"))
    return " ".join(seen[0])


@pytest.mark.parametrize(
    ("form", "codec", "words"),
    [
        (
            "webm",
            "hevc",
            (
                "-deadline realtime -cpu-used 8 -crf 34 -b:v 0",
                "-deadline realtime -cpu-used 6 -crf 30 -b:v 0",
                "-deadline good -cpu-used 3 -crf 24 -b:v 0",
            ),
        ),
        (
            "greenscreen",
            "hevc",
            (
                "libx265 -preset ultrafast -crf 20",
                "libx265 -preset veryfast -crf 18",
                "libx265 -preset medium -crf 14",
            ),
        ),
        (
            "hevc-alpha",
            "av1",
            (
                "libx265 -preset ultrafast -crf 20",
                "libx265 -preset veryfast -crf 18",
                "libx265 -preset medium -crf 14",
            ),
        ),
        (
            "matte",
            "h264",
            (
                "libx264 -preset veryfast -crf 24",
                "libx264 -preset veryfast -crf 18",
                "libx264 -preset medium -crf 14",
            ),
        ),
        (
            "greenscreen",
            "av1",
            (
                "libsvtav1 -preset 10 -crf 30",
                "libsvtav1 -preset 6 -crf 24",
                "libsvtav1 -preset 6 -crf 18",
            ),
        ),
    ],
)
def test_each_encoder_is_told_what_the_quality_stands_for(
    form: str, codec: Any, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for quality, expected in zip(get_args(Quality), words, strict=True):
        encoding = EncodingSettings(quality=quality, codec=codec, encoder="software")
        assert f" {expected} " in command(form, encoding, monkeypatch)
    encoding = EncodingSettings(codec=codec, encoder="software")
    assert words[1] in command(form, encoding, monkeypatch), "balanced is the default"


def test_nvenc_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    for quality, words in {
        "draft": "-preset p3 -tune hq -rc vbr -cq 28 ",
        "balanced": "-preset p5 -tune hq -rc vbr -cq 22 ",
        "best": "-preset p7 -tune hq -rc vbr -cq 18 ",
    }.items():
        encoding = EncodingSettings(quality=quality, encoder="nvenc")  # type: ignore[arg-type]
        assert f"hevc_nvenc {words}" in command("greenscreen", encoding, monkeypatch)


def test_a_number_set_by_hand_goes_before_the_quality(monkeypatch: pytest.MonkeyPatch) -> None:
    encoding = EncodingSettings(quality="best", encoder="software", vp9_crf=50, hevc_preset="fast")
    assert "-deadline good -cpu-used 3 -crf 50 " in command("webm", encoding, monkeypatch)
    assert "-preset fast -crf 14 " in command("greenscreen", encoding, monkeypatch)
    assert "-crf 0 " in command("webm", replace(encoding, vp9_crf=0), monkeypatch)


#: Numbers as people set them by hand: none, those of a quality, or others.
BY_HAND = st.fixed_dictionaries(
    {},
    optional={
        name: st.sampled_from([getattr(point, name) for point in POINTS.values()]) for name in NAMES
    },
)
ENCODINGS = st.builds(
    lambda quality, by_hand: EncodingSettings(quality=quality, **by_hand),
    st.sampled_from(get_args(Quality)),
    BY_HAND,
)


@given(st.sampled_from(get_args(Quality)), BY_HAND)
def test_what_is_set_holds_and_the_rest_is_by_quality(
    quality: Quality, by_hand: dict[str, Any]
) -> None:
    point = EncodingSettings(quality=quality, **by_hand).point()
    for name in NAMES:
        assert getattr(point, name) == by_hand.get(name, getattr(POINTS[quality], name))


@given(ENCODINGS, ENCODINGS)
def test_fingerprints_are_of_the_numbers_not_of_the_word(
    one: EncodingSettings, other: EncodingSettings
) -> None:
    same = one.point() == other.point()
    assert (settings("webm", one).fingerprint() == settings("webm", other).fingerprint()) == same
    typed = replace(other, **dataclasses.asdict(one.point()))
    assert settings("webm", typed).fingerprint() == settings("webm", one).fingerprint()


def test_qualities_differ_in_their_fingerprints_for_every_encoder() -> None:
    for one, other in itertools.combinations(POINTS, 2):
        plain = [settings("webm", EncodingSettings(quality=q)).fingerprint() for q in (one, other)]
        assert plain[0] != plain[1]
        for codec in ("vp9", "hevc", "h264", "av1", "nvenc"):
            names = [name for name in NAMES if name.startswith(codec)]
            points = [[getattr(POINTS[q], name) for name in names] for q in (one, other)]
            assert points[0] != points[1]


@pytest.mark.parametrize("form", ["webm", "greenscreen"])
def test_a_better_quality_is_a_larger_file(form: str, tmp_path: Path) -> None:
    """Of a picture with detail at every scale; the last points differ in speed as well."""
    sizes = []
    for quality in get_args(Quality):
        encoding = EncodingSettings(quality=quality, codec="h264", encoder="software")
        made = make_deliverable(form, VIDEO, settings(form, encoding))
        target = tmp_path / f"{quality}{made.suffix}"
        encoder = made.open_segment(target)
        encoder.write(moving_noise(6, 5 if form == "webm" else 3))
        encoder.close()
        sizes.append(target.stat().st_size)
    assert sizes == sorted(set(sizes))


def moving_noise(frames: int, half_pictures: int) -> torch.Tensor:
    """Raw frames of smooth noise with some grain, two pixels a frame to the right."""
    width, height = VIDEO.even_width, VIDEO.even_height * half_pictures // 2
    random = torch.Generator().manual_seed(7)
    coarse = torch.rand(1, 1, height // 8, width // 8, generator=random)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")[0, 0]
    grain = 0.2 * torch.rand(height, width, generator=random)
    picture = ((smooth + grain) / 1.2 * 219 + 16).to(torch.uint8)
    return torch.stack([picture.roll(2 * k, dims=1).flatten() for k in range(frames)])
