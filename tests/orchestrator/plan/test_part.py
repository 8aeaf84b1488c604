"""The part of a video that is made: in times as in frames, and every how many of them."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.plan.discover import discover
from orchestrator.plan.part import Times, frame_from, frames_taken, part_in_words, with_frames
from orchestrator.plan.places import Places
from orchestrator.plan.planner import Planner, Wanted
from orchestrator.words import seconds_of
from pipeline.contract import AudioTrack, VideoInfo, VideoSettings
from pipeline.errors import InputError
from pipeline.source.timing.frame_index import index_of
from tests.indexes import plain_index
from tests.orchestrator.snapshots import ProbeDouble, video_info

INFO = video_info(Path(__file__))
RATES = st.sampled_from([Fraction(24), Fraction(25), Fraction(30000, 1001), Fraction(60000, 1001)])
MILLISECONDS = st.integers(0, 4_000_000)


def video(rate: Fraction, num_frames: int = 240) -> VideoInfo:
    return replace(INFO, frame_rate=rate, num_frames=num_frames)


def text(milliseconds: int) -> str:
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60}:{minutes % 60:02}:{rest // 1000:02}.{rest % 1000:03}"


@given(RATES, st.integers(0, 10**7))
def test_the_time_of_a_frame_leads_back_to_it(rate: Fraction, frame: int) -> None:
    assert frame_from(frame / rate, rate) == frame


@given(RATES, MILLISECONDS)
def test_the_first_frame_is_the_first_that_begins_at_or_after_the_time(
    rate: Fraction, milliseconds: int
) -> None:
    seconds = seconds_of(text(milliseconds))
    frame = frame_from(seconds, rate)
    assert (frame - 1) / rate < seconds <= frame / rate


@given(RATES, MILLISECONDS, MILLISECONDS)
def test_ranges_that_meet_share_no_frame_and_leave_none_out(
    rate: Fraction, first: int, second: int
) -> None:
    begin, end = sorted((first, second))
    info = video(rate, 10**6)
    frames = {"before": Times(end=text(begin)), "in": Times(text(begin), text(end))}
    frames["after"] = Times(start=text(end))
    stop = 0
    for times in frames.values():
        try:
            settings = with_frames(VideoSettings(), times, info, "a")
        except InputError:  # nothing begins between the two
            continue
        found = frames_taken(info, settings)
        assert found[0] == stop
        stop = found[1]
    assert stop == info.num_frames


@given(RATES, st.integers(0, 5000), st.integers(1, 5000), st.integers(1, 9))
def test_a_range_in_times_has_the_fingerprint_of_the_range_in_frames(
    rate: Fraction, start: int, length: int, every: int
) -> None:
    info = video(rate, 6000)
    # Half a frame before the two ends, to the millisecond.
    ends = [
        max(0, int((frame - Fraction(1, 2)) / rate * 1000)) for frame in (start, start + length)
    ]
    asked = VideoSettings(every=every)
    by_time = with_frames(asked, Times(text(ends[0]), text(ends[1])), info, "a")
    in_frames = replace(asked, start_frame=start, max_frames=length)
    by_frame = with_frames(in_frames, Times(), info, "a")
    assert by_time == by_frame
    assert by_time.fingerprint() == by_frame.fingerprint()
    assert (by_time.fingerprint() != with_frames(asked, Times(), info, "a").fingerprint()) is (
        (start, start + length < 6000) != (0, False)
    )


@given(st.integers(1, 300), st.integers(0, 299), st.integers(1, 400), st.integers(1, 50))
def test_of_the_range_one_frame_in_so_many_is_taken(
    num_frames: int, start: int, length: int, every: int
) -> None:
    start = min(start, num_frames - 1)
    info = video(Fraction(25), num_frames)
    asked = VideoSettings(start_frame=start, max_frames=length, every=every)
    settings = with_frames(asked, Times(), info, "a")
    taken = info.every_nth(settings.every, settings.phase)
    numbers = [taken.phase + k * every for k in range(*frames_taken(taken, settings))]
    assert numbers == list(range(start, min(start + length, num_frames), every))
    assert taken.phase_s == Fraction(taken.phase, 25)
    assert taken.frame_rate * every == 25


@given(st.lists(st.integers(1, 9), min_size=1, max_size=60), st.integers(1, 9), st.integers(0, 8))
def test_the_index_of_the_frames_taken_shows_what_the_whole_index_shows(
    gaps: list[int], every: int, phase: int
) -> None:
    stamps = np.cumsum([0, *gaps], dtype=np.int64)
    keys = np.zeros(1, dtype=np.int64)
    num_frames = int(stamps[-1]) // 4 + 1
    whole = plain_index(Fraction(1, 100), stamps, keys, Fraction(25), num_frames)
    phase %= min(every, num_frames)
    some = whole.every_nth(every, phase)
    shown = some.source_frames(0, some.num_frames)
    assert shown.tolist() == whole.source_frames(0, num_frames)[phase::every].tolist()


def test_the_index_at_hand_is_read_as_that_of_the_frames_taken(tmp_path: Path) -> None:
    info = ProbeDouble(num_frames=20)(Path(__file__), tmp_path / "i", layout=None, deadline_s=None)
    taken = info.every_nth(3, 1)
    assert index_of(taken, tmp_path / "i").source_frames(0, 7).tolist() == [1, 4, 7, 10, 13, 16, 19]
    assert index_of(info, tmp_path / "i").num_frames == 20


def test_time_counts_from_the_first_frame_taken() -> None:
    track = AudioTrack(1, "aac", 2, 48000, start_s=0.0, end_s=10.0)
    info = replace(video(Fraction(25), 250), begin_s=1.5, audio=(track,)).every_nth(5, 2)
    assert (info.begin_s, info.frame_rate, info.num_frames) == (1.58, Fraction(5), 50)
    assert (info.audio[0].start_s, info.audio[0].end_s) == pytest.approx((-0.08, 9.92))


def test_the_end_of_the_video_ends_the_range() -> None:
    for times in (Times(end="1:00:00"), Times(end="10"), Times("0", "9.99"), Times()):
        found = with_frames(VideoSettings(max_frames=None), times, video(Fraction(24)), "a")
        assert found == VideoSettings()
    assert with_frames(VideoSettings(max_frames=240), Times(), INFO, "a") == VideoSettings()


@pytest.mark.parametrize(
    ("settings", "times", "told"),
    [
        (VideoSettings(), Times("0:10"), "a.mp4 ends at 0:09.60; the range begins at 0:10"),
        (VideoSettings(), Times("1:00:00"), "a.mp4 ends at 0:09.60; the range begins at 1:00:00"),
        (VideoSettings(start_frame=50), Times(end="1.5"), "between frame 50 (0:02.00) and 1.5"),
        (VideoSettings(), Times("1.01", "1.02"), "no frame of a.mp4 begins between 1.01 and 1.02"),
    ],
)
def test_a_range_without_frames_is_refused_in_one_line(
    settings: VideoSettings, times: Times, told: str
) -> None:
    with pytest.raises(InputError) as raised:
        with_frames(settings, times, video(Fraction(25)), "a.mp4")
    assert told in raised.value.message
    assert "\n" not in str(raised.value)


def test_the_part_is_said_in_frames_and_times_of_the_whole_video() -> None:
    info = video(Fraction(25), 1500)
    for asked, words in (
        (VideoSettings(), None),
        (VideoSettings(every=3), "one frame of every 3"),
        (VideoSettings(start_frame=250), "from frame 250 (0:10.00) on"),
        (
            VideoSettings(start_frame=250, max_frames=500, every=3),
            "frames 250 to 749 (0:10.00 to 0:30.00), one of every 3",
        ),
    ):
        assert part_in_words(info.every_nth(asked.every, asked.phase), asked) == words


def test_a_range_in_times_is_planned_by_each_video_s_own_rate(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a_LR.mp4", "b_LR.mp4", "short_LR.mp4"):
        (folder / name).write_bytes(name.encode())

    class Rates(ProbeDouble):
        def __call__(self, path: Path, *arguments: object, **options: object) -> VideoInfo:
            info = super().__call__(path, *arguments, **options)  # type: ignore[arg-type]
            rate = {"a": Fraction(25), "b": Fraction(30000, 1001), "s": Fraction(240)}
            return replace(info, frame_rate=rate[path.name[0]])

    planner = Planner(
        Places(tmp_path / "out"),
        wanted=lambda source: Wanted(VideoSettings(every=2), times=Times("0:01", "0:02.5")),
        probe=Rates(num_frames=240),
    )
    plan = planner.plan(discover([folder], tmp_path / "out"))
    a, b = plan.jobs
    assert (a.settings.start_frame, a.settings.max_frames, a.segments) == (25, 38, ((12, 31),))
    assert (b.settings.start_frame, b.settings.max_frames, b.segments) == (30, 45, ((15, 38),))
    assert (a.info.frame_rate, a.info.phase, b.info.phase) == (Fraction(25, 2), 1, 0)
    [aside] = plan.set_aside
    assert "short_LR.mp4 ends at 0:01.00; the range begins at 0:01" in str(aside.error)
