"""Trying models on a few frames: real ones, on the demo's clips."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.estimate.model_trial import SAMPLES, ModelTrial, Tried, try_models
from orchestrator.estimate.model_trial_child import samples, try_each
from pipeline.contract import MattingSettings, ModelOptions, ProcessingSettings, VideoSettings
from pipeline.errors import MachineError
from pipeline.source.video_info import read_video
from pipeline.stages.matting.rvm.facts import RvmOptions

Tries = Callable[..., list[Tried]]


@given(
    start=st.integers(0, 500), length=st.integers(1, 3000), gop=st.integers(1, 400),
)  # fmt: skip
def test_samples_lie_in_the_range_and_all_over_it(start: int, length: int, gop: int) -> None:
    stop = start + length
    found = samples(start, stop, list(range(0, stop + gop, gop)))
    assert found == sorted(set(found))
    assert 1 <= len(found) <= SAMPLES
    assert all(start <= number < stop for number in found)
    if length >= 20 * SAMPLES:
        assert len(found) >= SAMPLES // 2
        assert found[0] < start + length / 3
        assert found[-1] >= stop - length / 3


def test_keyframes_are_taken_where_they_are_near() -> None:
    assert samples(0, 600, []) == [50, 150, 250, 350, 450, 550]
    assert samples(0, 600, [0, 60, 180, 240, 420, 600]) == [60, 180, 240, 350, 420, 550]


@pytest.fixture
def tries(demo_folder: Path, tmp_path: Path) -> Tries:
    """What becomes of models on a clip; the last one's options may be given."""

    def make(clip: str, *models: str, options: tuple[ModelOptions, ...] = ()) -> list[Tried]:
        index = tmp_path / "index.json"
        info = read_video(demo_folder / clip, index, None)
        info = replace(info, projection="equirect180")
        settings = VideoSettings(processing=ProcessingSettings(engine="torch"))
        candidates = tuple(
            replace(settings, matting=MattingSettings(model=name, options=options))
            for name in models
        )
        return try_each(ModelTrial(info, candidates, str(index)), torch.device("cpu"), tmp_path)

    return make


@pytest.mark.slow
def test_a_screen_that_fills_the_picture_is_keyed(tries: Tries) -> None:
    [tried] = tries("demo_green_LR_180.mp4", "chroma", "depth")
    assert tried.suits
    assert "green screen fills" in tried.why


@pytest.mark.slow
def test_without_a_screen_the_next_model_is_tried(tries: Tries, tmp_path: Path) -> None:
    gone = (RvmOptions(weights=str(tmp_path / "gone.json")),)
    chroma, rvm, depth = tries(
        "demo_room_LR_180.mp4", "chroma", "rvm", "depth", "plate", options=gone
    )
    assert (chroma.suits, rvm.suits, depth.suits) == (False, False, True)
    assert chroma.why == "no green or blue screen fills the picture"
    assert "no weights" in rvm.why


def test_the_child_s_last_words_are_told(demo_folder: Path, tmp_path: Path) -> None:
    index = tmp_path / "index.json"
    info = read_video(demo_folder / "demo_room_LR_180.mp4", index, None)
    gone = replace(info, path=str(tmp_path / "gone.mp4"))
    with pytest.raises(MachineError, match=r"gone\.mp4"):
        try_models(ModelTrial(gone, (VideoSettings(),), str(index)), "cpu")
    assert try_models(ModelTrial(gone, (), str(index)), "cpu") == []
