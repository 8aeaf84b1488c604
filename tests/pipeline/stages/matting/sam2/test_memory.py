"""What is forgotten is what is never read: against the stock predictor's own bookkeeping.

The networks in it are a line of arithmetic each (`ArithmeticPredictor`), so that thousands of
frames cost a second; the real ones are in `test_sam2_predictor.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pipeline.stages.matting.sam2.memory import ForgottenFrameError, Reach
from pipeline.stages.matting.sam2.predictor import BoundedPredictor, TrackedFrame, Tracking
from tests.pipeline.sam2_networks import ArithmeticPredictor, digest, frames_of

NUM_FRAMES = 40
SIDE = 8

Answer = tuple[int, tuple[int, ...], int]


@dataclass(frozen=True)
class Prompt:
    object_id: int
    frame: int
    as_mask: bool = False


@dataclass(frozen=True)
class Pass:
    first: int
    count: int
    reverse: bool = False


class Stock:
    """The stock predictor, its state made without a folder of pictures, nothing ever dropped."""

    def __init__(self, network: ArithmeticPredictor, num_frames: int) -> None:
        self.network = network
        frames = frames_of(network, num_frames)
        self.state = BoundedPredictor(network).start(frames, SIDE, SIDE).stock

    def do(self, step: Prompt | Pass) -> Iterator[Answer]:
        network: Any = self.network
        if isinstance(step, Pass):
            answers = network.propagate_in_video(
                self.state, step.first, step.count - 1, reverse=step.reverse
            )
        elif step.as_mask:
            answers = [network.add_new_mask(self.state, step.frame, step.object_id, mask(step))]
        else:
            point = [[1.0 + step.object_id, 2.0 + step.frame % 5]]
            answers = [
                network.add_new_points_or_box(
                    self.state, step.frame, step.object_id, points=point, labels=[1]
                )
            ]
        for frame, object_ids, logits in answers:
            yield frame, tuple(object_ids), digest(logits)


class Bounded:
    def __init__(
        self, network: ArithmeticPredictor, num_frames: int, *, rewinds: bool = False
    ) -> None:
        self.predictor = BoundedPredictor(network)
        frames = frames_of(network, num_frames)
        self.tracking = self.predictor.start(frames, SIDE, SIDE, rewinds=rewinds)

    def do(self, step: Prompt | Pass) -> Iterator[Answer]:
        answers: Iterable[TrackedFrame]
        if isinstance(step, Pass):
            answers = self.predictor.propagate(
                self.tracking, step.first, step.count, reverse=step.reverse
            )
        elif step.as_mask:
            answers = [
                self.predictor.add_mask(self.tracking, step.frame, step.object_id, mask(step))
            ]
        else:
            point = [(1.0 + step.object_id, 2.0 + step.frame % 5)]
            answers = [
                self.predictor.add_points(self.tracking, step.frame, step.object_id, point, [1])
            ]
        for answer in answers:
            yield answer.frame, answer.object_ids, digest(answer.logits)


def mask(prompt: Prompt) -> Tensor:
    made = torch.Generator().manual_seed(100 * prompt.object_id + prompt.frame)
    return torch.rand(SIDE, SIDE, generator=made) > 0.5


def held_tensors(tracking: Tracking) -> list[Tensor]:
    """Every tensor that the state holds on to, found by looking everywhere but in the frames."""
    found: list[Tensor] = []
    rest: list[Any] = [value for key, value in tracking.stock.items() if key != "images"]
    while rest:
        value = rest.pop()
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, dict):
            rest += value.values()
        elif isinstance(value, list | tuple):
            rest += value
    return found


def num_entries(value: Any) -> int:
    """Of all the dictionaries in a state, at any depth."""
    if isinstance(value, dict):
        return len(value) + sum(num_entries(inner) for inner in value.values())
    return 0


networks = st.builds(
    ArithmeticPredictor,
    num_maskmem=st.integers(1, 5),
    memory_temporal_stride_for_eval=st.integers(1, 3),
    max_obj_ptrs_in_encoder=st.integers(2, 8),
    max_cond_frames_in_attn=st.sampled_from([-1, 2, 3]),
    only_obj_ptrs_in_the_past_for_eval=st.booleans(),
    add_all_frames_to_correct_as_cond=st.booleans(),
)
# Some often, so that prompts and passes meet.
frame_numbers = st.sampled_from(range(0, NUM_FRAMES, 8)) | st.integers(0, NUM_FRAMES - 1)
prompts = st.builds(Prompt, st.integers(1, 3), frame_numbers, st.booleans())


@st.composite
def passes(draw: st.DrawFn) -> Pass:
    reverse = draw(st.booleans())
    # From frame 0 the stock predictor goes nowhere in reverse.
    first = draw(frame_numbers.filter(bool) if reverse else frame_numbers)
    return Pass(first, draw(st.integers(1, first + 1 if reverse else NUM_FRAMES - first)), reverse)


@settings(max_examples=100)
@given(networks, prompts, st.lists(prompts | passes(), max_size=8), st.booleans())
def test_any_answer_is_the_stock_answer_or_refused(
    network: ArithmeticPredictor,
    first: Prompt,
    steps: list[Prompt | Pass],
    rewinds: bool,
) -> None:
    stock = Stock(network, NUM_FRAMES)
    bounded = Bounded(network, NUM_FRAMES, rewinds=rewinds)
    for step in [first, Pass(first.frame, NUM_FRAMES - first.frame), *steps]:
        try:
            ours = list(bounded.do(step))
        except ForgottenFrameError:
            continue
        assert ours == list(stock.do(step))


@settings(max_examples=40)
@given(networks, st.booleans(), st.data())
def test_going_on_is_never_refused(
    network: ArithmeticPredictor, reverse: bool, data: st.DataObject
) -> None:
    """Either way in chunks; prompts ahead, at the next frame, and corrections of the latest."""
    stock, bounded = Stock(network, NUM_FRAMES), Bounded(network, NUM_FRAMES)
    way = -1 if reverse else 1
    order = range(NUM_FRAMES)[::way]
    steps: list[Prompt | Pass] = [Prompt(1, order[0])]
    done = 0
    while done < NUM_FRAMES - 1:
        count = min(data.draw(st.sampled_from([1, 1, 2, 3, 8, 20])), NUM_FRAMES - 1 - done)
        steps.append(Pass(order[done], count, reverse))
        done += count
        place = data.draw(st.sampled_from(["none", "latest", "next", "ahead"]))
        if place != "none":
            ahead = data.draw(st.integers(done, NUM_FRAMES - 1))
            number = {"latest": done - 1, "next": done, "ahead": ahead}[place]
            steps.append(Prompt(data.draw(st.integers(1, 2)), order[number]))
    for step in steps:
        assert list(bounded.do(step)) == list(stock.do(step))


@settings(max_examples=25)
@given(networks, st.sets(frame_numbers, min_size=1, max_size=4), st.data())
def test_with_rewinds_tracking_begins_again_at_any_prompt(
    network: ArithmeticPredictor, prompted: set[int], data: st.DataObject
) -> None:
    stock = Stock(network, NUM_FRAMES)
    bounded = Bounded(network, NUM_FRAMES, rewinds=True)
    steps: list[Prompt | Pass] = [
        Prompt(data.draw(st.integers(1, 2)), frame) for frame in sorted(prompted)
    ]
    for frame in data.draw(st.lists(st.sampled_from(sorted(prompted)), min_size=2, max_size=3)):
        pause = data.draw(st.integers(frame + 1, NUM_FRAMES))
        steps += [Pass(frame, pause - frame)]
        steps += [Pass(pause, NUM_FRAMES - pause)] if pause < NUM_FRAMES else []
        steps += [Pass(frame, frame + 1, reverse=True)] if frame else []
    for step in steps:
        assert list(bounded.do(step)) == list(stock.do(step))


class Recorder(dict[int, Any]):
    """Outputs by frame, noting when a part of one was read last."""

    def __init__(self) -> None:
        super().__init__()
        self.now = -1
        self.last_read: dict[tuple[int, str], int] = {}

    def get(self, frame: int, default: Any = None) -> Any:
        output = super().get(frame, default)
        return None if output is None else Noting(output, self, frame)


class Noting(dict[str, Any]):
    def __init__(self, output: dict[str, Any], recorder: Recorder, frame: int) -> None:
        super().__init__(output)
        self.recorder, self.frame = recorder, frame

    def __getitem__(self, part: str) -> Any:
        self.recorder.last_read[self.frame, part] = self.recorder.now
        return super().__getitem__(part)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_nothing_is_held_that_is_not_read_again(reverse: bool, stride: int) -> None:
    """By later frames, or by a correction of the latest."""
    network = ArithmeticPredictor(memory_temporal_stride_for_eval=stride)
    stock, bounded = Stock(network, NUM_FRAMES), Bounded(network, NUM_FRAMES)
    order = range(NUM_FRAMES)[:: -1 if reverse else 1]
    list(stock.do(Prompt(1, order[0])))
    list(bounded.do(Prompt(1, order[0])))

    noted = Recorder()
    stock.state["output_dict_per_obj"][0]["non_cond_frame_outputs"] = noted
    answers = stock.do(Pass(order[0], NUM_FRAMES, reverse))
    for position in range(NUM_FRAMES):
        noted.now = position
        next(answers)

    tracked = bounded.tracking.stock["output_dict_per_obj"][0]["non_cond_frame_outputs"]
    held_after = [
        {(frame, part) for frame, output in tracked.items() for part in output}
        for _ in bounded.do(Pass(order[0], NUM_FRAMES, reverse))
    ]
    for position in range(NUM_FRAMES - 20):  # the last are held for frames that never come
        past = set(order[: position + 1])
        read_again = {
            (frame, part)
            for (frame, part), when in noted.last_read.items()
            if frame in past and when >= position
        }
        memories = {frame for frame, part in read_again if part == "maskmem_features"}
        pointers = {frame for frame, part in read_again if part == "obj_ptr"}
        held = held_after[position]
        assert {frame for frame, part in held if part == "maskmem_features"} == memories
        assert {frame for frame, part in held if part == "obj_ptr"} == memories | pointers


@pytest.mark.parametrize("rewinds", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_what_is_held_does_not_grow_with_the_frames(rewinds: bool, reverse: bool) -> None:
    network = ArithmeticPredictor(max_cond_frames_in_attn=2)
    bounded = Bounded(network, 300, rewinds=rewinds)
    begin = 299 if reverse else 0
    for object_id in (1, 2, 3):
        list(bounded.do(Prompt(object_id, begin, as_mask=object_id == 2)))
    sizes = []
    for number, _ in enumerate(bounded.do(Pass(begin, 300, reverse))):
        if number in (60, 120, 240):
            tensors = held_tensors(bounded.tracking)
            num_bytes = sum(tensor.untyped_storage().nbytes() for tensor in tensors)
            sizes.append((len(tensors), num_bytes, num_entries(bounded.tracking.stock)))
    assert sizes[0] == sizes[1] == sizes[2]


@pytest.mark.parametrize("reverse", [False, True])
def test_prompts_on_the_way_are_capped_like_attention(reverse: bool) -> None:
    """A prompt every twenty frames, as continuous correction gives them."""
    network = ArithmeticPredictor(max_cond_frames_in_attn=2)
    stock, bounded = Stock(network, 400), Bounded(network, 400)
    sizes, order = [], range(400)[:: -1 if reverse else 1]
    for first in order[::20]:
        for step in (Prompt(1, first, as_mask=True), Pass(first, 20, reverse)):
            assert list(bounded.do(step)) == list(stock.do(step))
        sizes.append((len(held_tensors(bounded.tracking)), num_entries(bounded.tracking.stock)))
    assert len(set(sizes[4:])) == 1
    outputs = bounded.tracking.stock["output_dict_per_obj"][0]
    assert list(outputs["cond_frame_outputs"]) == list(order[-60::20])


def test_prompts_closer_to_each_other_than_memory_reaches() -> None:
    """Those that are too many for attention are read as if they were not prompted."""
    network = ArithmeticPredictor(max_cond_frames_in_attn=2)
    stock, bounded = Stock(network, NUM_FRAMES), Bounded(network, NUM_FRAMES)
    for first in range(0, NUM_FRAMES, 2):
        for step in (Prompt(1, first), Pass(first, 2)):
            assert list(bounded.do(step)) == list(stock.do(step))


def test_two_videos_in_turns_are_as_one_alone() -> None:
    network = ArithmeticPredictor()
    alone, one, other = (Bounded(network, 30) for _ in range(3))
    for bounded, as_mask in ((alone, False), (one, False), (other, True)):
        list(bounded.do(Prompt(1, 0, as_mask)))
    in_turns = zip(one.do(Pass(0, 30)), other.do(Pass(0, 30)), strict=True)
    assert [answer for answer, _ in in_turns] == list(alone.do(Pass(0, 30)))


@pytest.mark.parametrize(
    "step",
    [
        Pass(12, 5),
        Pass(12, 5, reverse=True),
        Pass(8, 2),  # 8 is prompted, and 9 follows from what was before
        Prompt(1, 12),
        Prompt(2, 12),
    ],
    ids=str,
)
@pytest.mark.parametrize("pointers", [16, NUM_FRAMES])  # with as many, only memories are dropped
def test_what_would_need_forgotten_frames_is_refused(step: Prompt | Pass, pointers: int) -> None:
    network = ArithmeticPredictor(max_obj_ptrs_in_encoder=pointers)
    bounded = Bounded(network, NUM_FRAMES)
    for done in (Prompt(1, 0), Prompt(1, 8), Pass(0, 32)):
        list(bounded.do(done))
    with pytest.raises(ForgottenFrameError, match="no longer held"):
        list(bounded.do(step))
    assert [frame for frame, _, _ in bounded.do(Pass(32, 8))] == list(range(32, 40))


def test_prompts_that_were_dropped_are_missed_where_they_would_be_read() -> None:
    network = ArithmeticPredictor(max_cond_frames_in_attn=2)
    stock, bounded = Stock(network, 200), Bounded(network, 200)
    for frame in (0, 50, 100, 150):
        for step in (Prompt(1, frame), Pass(frame, 1)):
            assert list(bounded.do(step)) == list(stock.do(step))
    with pytest.raises(ForgottenFrameError, match="prompts that frame 30 depends on"):
        list(bounded.do(Pass(30, 2)))  # between the one that was dropped and the next
    assert list(bounded.do(Pass(120, 2))) == list(stock.do(Pass(120, 2)))


def test_frames_that_are_not_there_and_prompts_that_say_nothing() -> None:
    bounded = Bounded(ArithmeticPredictor(), NUM_FRAMES)
    with pytest.raises(RuntimeError, match="No input points or masks"):
        list(bounded.do(Pass(0, 1)))
    for frame in (-1, NUM_FRAMES):
        with pytest.raises(ValueError, match=f"of a video of {NUM_FRAMES}"):
            list(bounded.do(Prompt(1, frame)))
    list(bounded.do(Prompt(1, 0)))
    for beyond in (Pass(0, 0), Pass(0, NUM_FRAMES + 1), Pass(3, 5, reverse=True), Pass(-1, 2)):
        with pytest.raises(ValueError, match=f"of a video of {NUM_FRAMES}"):
            list(bounded.do(beyond))
    with pytest.raises(ValueError, match="0 points, 0 labels"):
        bounded.predictor.add_points(bounded.tracking, 0, 1)
    with pytest.raises(ValueError, match="mask must be bool"):
        bounded.predictor.add_mask(bounded.tracking, 0, 1, torch.zeros(4, 4))
    with pytest.raises(ValueError, match="eval mode"):
        BoundedPredictor(ArithmeticPredictor().train())


def test_reach_is_the_published_one() -> None:
    """SAM 2.1: six spatial memories, fifteen object pointers."""
    reach = Reach.of(ArithmeticPredictor(), NUM_FRAMES)
    assert sorted(reach.memory_frames(100, reverse=False)) == list(range(94, 100))
    assert sorted(reach.pointer_frames(100, reverse=True)) == list(range(101, 116))
    assert reach.furthest == 15
