"""A second opinion: a matte that leaves out the person whom RVM sees is doubted."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from pipeline.contract import Finding, MattingSettings, VideoSettings
from pipeline.judge.doubt import doubts_of
from pipeline.judge.findings import SOURCE, SUMS
from pipeline.judge.opinion import SecondOpinion
from pipeline.pixels.batches import EyeBatch, MatteBatch
from pipeline.pixels.layers import Layers
from pipeline.stages.matting.rvm.facts import RvmOptions
from tests.pipeline.stages.matting.rvm.test_graph import small_rvm

CPU = torch.device("cpu")
#: What the judge says of two frames with a matte that is right by itself.
JUDGED = Finding(SOURCE, SUMS, 0, 1, values=(2.0, 0, 0, 200, 0, 0, 0, 0, 0))


class Sees:
    """An RVM that finds a person in some columns of the picture."""

    name: ClassVar[str] = "rvm"
    warmup_frames = 0

    def __init__(self, first: int, last: int) -> None:
        self.columns = slice(first, last)

    def prepare(self, clip: object) -> dict[str, Tensor]:
        return {}

    def start(self, eyes: int, height: int, width: int, prepared: object) -> None:
        assert (eyes, height, width) == (2, 8, 100)

    def matte(self, eyes: EyeBatch, state: Any) -> MatteBatch:
        return MatteBatch(matte(self.columns), None, eyes.start)


def matte(columns: slice) -> Tensor:
    alpha = torch.zeros(1, 2, 1, 8, 100)
    alpha[..., columns] = 1
    return alpha


def layers(frame: int, first: int, last: int) -> Layers:
    rgb = torch.zeros(1, 2, 3, 8, 100, dtype=torch.uint8)
    return Layers(frame, rgb, alpha=matte(slice(first, last)))


def kinds(seen: tuple[int, int], *mattes: tuple[int, int]) -> list[str]:
    opinion = SecondOpinion(Sees(*seen))
    found = [opinion.of(layers(frame, *columns)) for frame, columns in enumerate(mattes)]
    return [doubt.kind for doubt in doubts_of([JUDGED, *found], "depth")]


def test_a_matte_that_holds_the_person_is_not_doubted() -> None:
    assert kinds((10, 40), (10, 40), (12, 60)) == []


def test_a_matte_of_something_else_is_doubted_and_rvm_is_named() -> None:
    assert kinds((10, 40), (50, 90), (60, 90)) == ["elsewhere"]
    opinion = SecondOpinion(Sees(10, 40)).of(layers(0, 50, 90))
    [doubt] = doubts_of([JUDGED, opinion], "depth")
    assert (
        doubt.seen
        == "the matte leaves out the person in 1 of the 1 frames in which rvm sees a person"
    )
    assert "rvm" in doubt.advice


def test_one_frame_of_several_does_not_decide() -> None:
    assert kinds((10, 40), (10, 40), (10, 40), (50, 90)) == []


def test_where_rvm_sees_nobody_it_has_no_opinion() -> None:
    assert kinds((0, 0), (50, 90)) == []


def with_rvm(model: str, folder: Path) -> VideoSettings:
    options = (RvmOptions(weights=str(folder / "rvm.json")),)
    return VideoSettings(matting=MattingSettings(model=model, options=options))


def test_it_is_asked_where_rvm_is_at_hand_and_of_models_that_do_not_ask_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert SecondOpinion.at_hand(with_rvm("depth", tmp_path), CPU) is None
    small_rvm(tmp_path)
    assert SecondOpinion.at_hand(with_rvm("depth", tmp_path), CPU) is not None
    for model in ("rvm", "sam2", "sam2+rvm"):
        assert SecondOpinion.at_hand(with_rvm(model, tmp_path), CPU) is None
    (tmp_path / "rvm.bin").write_bytes(b"damaged")
    assert SecondOpinion.at_hand(with_rvm("depth", tmp_path), CPU) is None
