"""`sam2+rvm`: who stays is SAM 2's word, where the edge runs is the other model's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from pipeline.pixels.batches import EyeBatch, MatteBatch
from pipeline.stages.matting.base import ClipSampler, Prepared
from pipeline.stages.matting.sam2.edge import SubjectEdges, _State
from pipeline.stages.matting.sam2.sight import Answer
from pipeline.stages.matting.sam2.tracker import SubjectTracker
from pipeline.stages.matting.sam2.window import Window
from tests.pipeline.demo_truth import Clip
from tests.pipeline.sam2_networks import random_network
from tests.pipeline.stages.matting.sam2.test_sam2 import RedIsTheSubject

SIDE = 256

pytestmark = pytest.mark.usefixtures("one_thread")


class Halves:
    """An edge model: alpha 0.9 where it is blue, foreground 0.25; counts frames in its state."""

    name: ClassVar[str] = "blue"
    warmup_frames = 30

    def prepare(self, clip: ClipSampler) -> Prepared:
        return {"seen": torch.tensor(7)}

    def start(self, eyes: int, height: int, width: int, prepared: Prepared) -> list[int]:
        assert int(prepared["seen"]) == 7
        return []

    def matte(self, eyes: EyeBatch, state: list[int]) -> MatteBatch:
        state += range(eyes.start, eyes.stop)
        alpha = (eyes.rgb[:, :, 2:] > 200).float() * 0.9
        return MatteBatch(alpha, torch.full(eyes.rgb.shape, 0.25), eyes.start)


@pytest.fixture(scope="module")
def model() -> SubjectEdges:
    tracker = SubjectTracker(random_network(256, slim=True), RedIsTheSubject())
    return SubjectEdges(tracker, Halves())


def scene(num_frames: int = 1) -> Tensor:
    """SAM 2 is told of the upper 160 rows of the left half; all of the upper 120 are people.

    What is red is the subject: its upper part is blue as well (the edge model has it), its lower
    part not (what the subject holds). To the right stand other people, blue only.
    """
    rgb = torch.zeros(num_frames, 1, 3, SIDE, SIDE, dtype=torch.uint8)
    rgb[:, :, 0, 20:200, 20:110] = 255
    rgb[:, :, 2, 20:110, 20:110] = 255
    rgb[:, :, 2, 20:110, 170:240] = 255
    return rgb


def matte(model: SubjectEdges, rgb: Tensor, chunks: Sequence[int] = (99,)) -> MatteBatch:
    state = model.start(1, SIDE, SIDE, model.prepare(Clip(rgb)))
    parts, at = [], 0
    for length in (*chunks, 99):
        if at < len(rgb):
            parts.append(model.matte(EyeBatch(rgb[at : at + length], 5 + at), state))
            at += length
    colours = [part.foreground for part in parts if part.foreground is not None]
    return MatteBatch(torch.cat([part.alpha for part in parts]), torch.cat(colours), 5)


def test_others_go_and_what_is_held_stays(model: SubjectEdges) -> None:
    found = matte(model, scene())
    alpha = found.alpha[0, 0, 0]
    assert (alpha[30:80, 30:100] - 0.9).abs().max() < 0.05  # the edge model's own
    assert alpha[:, 150:].max() < 0.01
    assert alpha[140:185, 40:95].min() > 0.8
    assert alpha[215:].max() < 0.1
    assert found.foreground is not None
    assert (found.foreground[0, 0, :, 30:70, 30:100] - 0.25).abs().max() < 0.05
    assert found.foreground[0, 0, 0, 140:185, 40:95].min() > 0.8  # the source's red


def seen(logits: Tensor) -> Answer:
    """SAM 2's answer of a whole eye, of one object."""
    return Answer(Window(0, 0, SIDE, SIDE), logits[0])


def test_it_fades_and_does_not_switch(model: SubjectEdges) -> None:
    """What SAM 2 gives up from one frame to the next is gone by halves."""
    rgb = scene()[0, 0]
    state = model.start(1, SIDE, SIDE, model.prepare(Clip(scene())))
    edge = torch.full((1, SIDE, SIDE), 0.9)
    inside, outside = torch.full((1, 1, 64, 64), 12.0), torch.full((1, 1, 64, 64), -12.0)
    alphas = []
    for logits in (inside, outside, outside, outside):
        alpha, _ = model._of_subject(edge, seen(logits), rgb, 0, state)
        alphas.append(float(alpha.mean()))
    assert alphas == pytest.approx([0.9, 0.45, 0.225, 0.1125], abs=0.02)


def test_what_moves_is_whole_and_what_flashes_elsewhere_is_not(model: SubjectEdges) -> None:
    rgb = scene()[0, 0]
    state = model.start(1, SIDE, SIDE, model.prepare(Clip(scene())))
    edge = torch.ones((1, SIDE, SIDE))
    alphas = []
    for left in (10, 16, 22):  # cells: farther than the edge model is believed beyond SAM 2's
        logits = torch.full((1, 1, 64, 64), -12.0)
        logits[..., left : left + 8] = 12.0
        if left == 22:
            logits[..., 50:58] = 12.0
        alphas.append(model._of_subject(edge, seen(logits), rgb, 0, state)[0][0, 128])
    for left, alpha in zip((10, 16, 22), alphas, strict=True):
        assert alpha[4 * left : 4 * (left + 8)].min() > 0.95
    assert alphas[2][4 * 51 : 4 * 57].max() < 0.6
    assert 0.4 < alphas[2][4 * 12 : 4 * 14].max() < 0.6  # where it was, what is there fades


def test_chunks_do_not_matter_and_both_models_see_every_frame(model: SubjectEdges) -> None:
    rgb = scene(5)
    at_once, cut = matte(model, rgb), matte(model, rgb, (2, 1))
    assert torch.equal(at_once.alpha, cut.alpha)
    assert at_once.foreground is not None
    assert cut.foreground is not None
    assert torch.equal(at_once.foreground, cut.foreground)
    state: _State = model.start(1, SIDE, SIDE, model.prepare(Clip(rgb)))
    model.matte(EyeBatch(rgb, 5), state)
    assert state.edge == [5, 6, 7, 8, 9]
    assert model.warmup_frames == 30


def test_without_a_subject_there_is_nothing(model: SubjectEdges) -> None:
    rgb = scene()
    rgb[:, :, 0] = 0
    assert matte(model, rgb).alpha.max() == 0
