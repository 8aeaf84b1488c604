"""How large outputs will be: what a trial's pictures say of a whole video, and what is guessed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.estimate.output_sizes import foretold
from orchestrator.estimate.trial import CodedBytes, Stages
from orchestrator.fleet.jobs import VideoJob
from orchestrator.out.room import SHARE_OF_QUALITY, output_bytes
from orchestrator.plan.planner import segment_grid
from pipeline.contract import AudioTrack, EncodingSettings, VideoSettings
from tests.orchestrator.worlds import make_job


def trial(*coded: CodedBytes) -> Stages:
    return Stages("cpu", "CPU", 1, 0, 1.0, 1.0, 0.0, (), coded)


def job_of(
    *formats: str, frames: int = 600, segment: int = 600, start: int = 0, tracks: int = 0
) -> VideoJob:
    job = make_job("a", 1, start + frames)
    track = AudioTrack(1, "aac", 2, 48000, 0.0, frames / 30)
    return replace(
        job,
        info=replace(job.info, audio=(track,) * tracks),
        settings=VideoSettings(deliverables=formats),
        segments=segment_grid(start, start + frames, segment),
    )


@given(
    frames=st.integers(1, 700),
    start=st.integers(0, 200),
    segment=st.integers(1, 300),
    key=st.integers(1000, 2000),
    other=st.integers(1, 999),
)
def test_keyframes_and_the_frames_between_are_counted_apart(
    frames: int, start: int, segment: int, key: int, other: int
) -> None:
    """As an encoder makes them: at a segment's start, and every two seconds from there."""
    job = job_of("webm", frames=frames, start=start, segment=segment)
    true = sum(
        key if (frame - begin) % 60 == 0 else other
        for begin, end in job.segments
        for frame in range(begin, end)
    )
    size = foretold(job, trial(CodedBytes("webm", 1, key, 19, 19 * other)))
    assert (size.pictures, size.sound, size.by_trial) == (true, 0, True)


def test_where_all_frames_are_alike_so_are_those_to_come() -> None:
    coded = CodedBytes("prores", 20, 2000, 0, 0), CodedBytes("tiff", 0, 0, 20, 600)
    size = foretold(job_of("prores", "tiff"), trial(*coded))
    assert size.pictures == 600 * 100 + 600 * 30


def test_the_file_of_each_object_counts() -> None:
    """A trial knows no prompts: in it object 1 is all of the subject."""
    coded = CodedBytes("webm.1", 20, 2000, 0, 0), CodedBytes("webm.2", 20, 20, 0, 0)
    assert foretold(job_of("webm.1", "webm.2"), trial(*coded)).pictures == 2 * 600 * 100


def test_sound_is_added_for_the_formats_that_have_some() -> None:
    """Two tracks of two channels, for 20 s; scratch holds none of it."""
    job = job_of("webm", "greenscreen", "matte", tracks=2)
    coded = [CodedBytes(name, 1, 10, 19, 19) for name in job.settings.deliverables]
    size = foretold(job, trial(*coded))
    assert size.sound == 20 * 4 * (80 + 96) * 125
    assert size.output == size.pictures + size.sound


def test_it_is_guessed_by_the_quality_where_there_was_no_trial_of_every_format() -> None:
    job = job_of("webm", "tiff")
    for stages in (None, trial(CodedBytes("webm", 1, 10, 19, 19))):
        size = foretold(job, stages)
        assert size.pictures == output_bytes(job.info, 600, ("webm", "tiff"))
        assert not size.by_trial
    for codec, shares in SHARE_OF_QUALITY.items():
        name = "webm" if codec == "vp9" else "greenscreen"
        for quality, share in shares.items():
            encoding = EncodingSettings(quality=quality)
            if codec != "vp9":
                encoding = replace(encoding, codec=codec)  # type: ignore[arg-type]
            settings = VideoSettings(deliverables=(name,), encoding=encoding)
            size = foretold(replace(job, settings=settings), None)
            assert size.pictures == pytest.approx(share * output_bytes(job.info, 600), abs=1)
