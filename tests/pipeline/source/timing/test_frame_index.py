"""Laws of the frame index: which frame of the file each frame of the output shows."""

from __future__ import annotations

import json
import tempfile
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.source.timing.frame_index import FrameIndex, build_index
from pipeline.source.timing.frame_index import index_of as index_for
from pipeline.source.timing.frame_rate import STANDARD_RATES
from pipeline.source.timing.recordings import Packet, frames_in_order
from tests.pipeline.deliverables.test_webm import info

rates = st.sampled_from(STANDARD_RATES)
MILLISECOND = Fraction(1, 1000)


def index_of(pts: list[int], time_base: Fraction, declared: list[Fraction]) -> FrameIndex:
    packets = [Packet(n, tick, None, n % 10 == 0, 0) for n, tick in enumerate(pts)]
    return build_index(frames_in_order([packets], time_base), declared)


@given(rate=rates, count=st.integers(2, 400), begin=st.integers(-500, 10**7))
def test_a_constant_rate_is_found_through_millisecond_rounding(
    rate: Fraction, count: int, begin: int
) -> None:
    pts = [begin + round(k / rate / MILLISECOND) for k in range(count)]
    index = index_of(pts, MILLISECOND, [rate])
    assert index.frame_rate == rate
    assert index.num_frames == count
    assert not index.variable_rate
    assert index.source_frames(0, count).tolist() == list(range(count))


@given(
    rate=rates,
    jitter=st.lists(st.floats(-0.24, 0.24), min_size=2, max_size=200),
)
@example(rate=Fraction(24), jitter=[0.1875, 0.0, 0.1875])  # also half a grid of 60
@example(rate=Fraction(30), jitter=[0.24, -0.24, 0.24, -0.24])
def test_jitter_below_a_quarter_of_a_frame_changes_nothing(
    rate: Fraction, jitter: list[float]
) -> None:
    base = Fraction(1, 90000)
    pts = [round((k + j) / rate / base) for k, j in enumerate(jitter)]
    index = index_of(pts, base, [rate])
    assert index.source_frames(0, index.num_frames).tolist() == list(range(len(jitter)))


@given(
    steps=st.lists(st.integers(20, 300), min_size=2, max_size=200),
    start=st.integers(0, 50),
)
def test_each_output_frame_shows_the_nearest_frame(steps: list[int], start: int) -> None:
    pts = np.cumsum([0, *steps]).tolist()
    index = index_of(pts, MILLISECOND, [Fraction(30)])
    stop = index.num_frames
    shown = index.source_frames(0, stop)
    due = pts[0] + np.arange(stop) / float(index.frame_rate) * 1000
    best = np.abs(np.asarray(pts)[None, :] - due[:, None]).min(axis=1)
    assert np.allclose(np.abs(np.asarray(pts)[shown] - due), best, atol=1e-6)
    assert (np.diff(shown) >= 0).all()
    start = min(start, stop - 1)
    assert (index.source_frames(start, stop) == shown[start:]).all()


@given(frame=st.integers(0, 99))
def test_seek_points_go_back_from_the_last_keyframe_before(frame: int) -> None:
    index = index_of(list(range(0, 1000, 10)), MILLISECOND, [])
    points = [index.seek_s(key) for key in index.keys_before(frame)]
    assert points == sorted(points, reverse=True)
    assert points[0] == pytest.approx(frame // 10 * 0.1)


def test_it_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    index = index_of([0, 33, 67, 100, 500], MILLISECOND, [Fraction(30)])
    index.save(tmp_path / "index.json")
    again = FrameIndex.load(tmp_path / "index.json")
    assert (again.pts == index.pts).all()
    assert (again.keyframes == index.keyframes).all()
    assert (again.seek_ticks == index.seek_ticks).all()
    assert (again.time_base, again.frame_rate) == (index.time_base, index.frame_rate)
    assert again.num_frames == index.num_frames


def test_one_frame_is_a_video() -> None:
    index = index_of([0], MILLISECOND, [Fraction(25)])
    assert index.num_frames == 1
    assert index.source_frames(0, 1).tolist() == [0]


DAMAGE: dict[str, object] = {
    "format": 0,
    "time_base": "1/0",
    "frame_rate": "fast",
    "num_frames": 0,
    "pts": [0, 33, 33, 100, 500],
    "keyframes": [0, 9],
    "seek_ticks": [],
    "clock": [0, 33],
    "begins": [1],
    "key_numbers": [-1],
    "key_offsets": [],
}


@pytest.mark.parametrize("field", [*DAMAGE, "negative", "none", "text", "fraction", "far"])
def test_a_damaged_index_is_an_error_that_is_foreseen(field: str, tmp_path: Path) -> None:
    path = tmp_path / "index.json"
    index_of([0, 33, 67, 100, 500], MILLISECOND, [Fraction(30)]).save(path)
    record = json.loads(path.read_text())
    other = {
        "negative": {"time_base": "-1/1000"},
        "none": {"pts": [], "keyframes": [], "seek_ticks": []},
        "text": {"pts": "01234"},
        "fraction": {"pts": [0, 33.5, 67, 100, 500]},
        "far": {"pts": [0, 33, 67, 100, 1 << 64]},
    }
    path.write_text(json.dumps(record | other.get(field, {field: DAMAGE.get(field)})))
    with pytest.raises(ValueError, match="no sound frame index"):
        FrameIndex.load(path)
    del record["pts"]
    path.write_text(json.dumps(record))
    with pytest.raises(ValueError, match="no sound frame index"):
        FrameIndex.load(path)


@given(cut=st.integers(0, 10**6), flip=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_no_damage_is_more_than_an_error(cut: int, flip: int, bit: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index.json"
        index_of([0, 33, 67, 100, 500], MILLISECOND, [Fraction(30)]).save(path)
        content = bytearray(path.read_bytes())
        content[flip % len(content)] ^= 1 << bit
        del content[cut % (3 * len(content)) :]
        path.write_bytes(content)
        with suppress(ValueError):
            index = FrameIndex.load(path)
            assert len(index.pts) >= 1
            assert index.num_frames >= 1
            assert (np.diff(index.pts) > 0).all()


def test_an_index_is_taken_for_its_own_video_only(tmp_path: Path) -> None:
    path = tmp_path / "index.json"
    index = index_of([0, 33, 67, 100], MILLISECOND, [Fraction(30)])
    video = info(source_frames=4, num_frames=4, frame_rate=Fraction(30))
    with pytest.raises(InputError, match="cannot be read") as caught:
        index_for(video, path)
    assert "\n" not in str(caught.value)
    index.save(path)
    assert (index_for(video, path).pts == index.pts).all()
    for other in ({"source_frames": 5}, {"num_frames": 5}, {"frame_rate": Fraction(25)}):
        with pytest.raises(InputError, match="is not that of"):
            index_for(replace(video, **other), path)
    path.write_text("{")
    with pytest.raises(InputError, match="run again: the file is then read anew"):
        index_for(video, path)
