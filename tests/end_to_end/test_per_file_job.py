"""One batch with two models, from files to files: each video as if it had a run of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clips import X264, ClipSpec
from tests.runs import HereRun
from tests.shared_runs import VideosOf

pytestmark = pytest.mark.slow

CLIPS = (
    ClipSpec("green_1_LR.mp4", X264, num_frames=24),
    ClipSpec("green_2_LR.mp4", X264, num_frames=20),
    ClipSpec("room_LR.mp4", X264, num_frames=24),
)

CONFIG = """\
input: {follow_links: true}
matting: {model: depth}
streaming: {segment_frames: 8, lanes: 2}
overrides:
  - match: "*green*"
    model: chroma
  - match: "green_2*"
    processing: {decode_threads: 1}
    encoding: {vp9_crf: 40}
"""


def test_a_batch_of_two_models_gives_what_each_alone_gives(
    videos_of: VideosOf, tmp_path: Path
) -> None:
    """Two lanes and nine segments: while one model ends its video, the other begins."""
    videos = videos_of(CLIPS, links=True)
    config = tmp_path / "settings.yaml"
    config.write_text(CONFIG)
    mixed = HereRun(videos, tmp_path / "mixed", {}, threads=True, config=config)
    assert mixed.run() == 0
    found = mixed.published()
    assert len(found) == 3

    expected: dict[str, str] = {}
    for name, model, crf in (
        ("green_1_LR.mp4", "chroma", 30),
        ("green_2_LR.mp4", "chroma", 40),
        ("room_LR.mp4", "depth", 30),
    ):
        alone = HereRun(videos / name, tmp_path / name, groups(model, crf), threads=True)
        assert alone.run() == 0
        expected |= alone.published()
    assert found == expected

    # The other model would have given something else.
    other = HereRun(
        videos / "green_1_LR.mp4", tmp_path / "other", groups("depth", 30), threads=True
    )
    assert other.run() == 0
    [(name, digest)] = other.published().items()
    assert found[name] != digest


def groups(model: str, crf: int) -> dict[str, dict[str, object]]:
    return {
        "matting": {"model": model},
        "encoding": {"vp9_crf": crf},
        "streaming": {"segment_frames": 8, "lanes": 1},
    }
