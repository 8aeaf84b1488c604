"""The stage `matting` by boxes: a network sees subjects at their own size, and nothing else.

Every `LOOK_EVERY` frames the model looks at the whole eyes, small and without memory. A frame waits
until the next look, and its boxes hold what the looks before and after it saw, in either eye; they
stay from look to look. So the boxes of a frame depend on the frames around it and on nothing else,
whatever segment it is in. A subject that reaches the edge of a box is never cut off: the box grows,
and the frame is made again. Decision 025.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from pipeline.contract import EyeShape
from pipeline.pixels.batches import EyeBatch, MatteBatch
from pipeline.pixels.layers import Layers
from pipeline.stages.base import ClipSampler, Prepared, Stage
from pipeline.stages.matting.base import BoxModel
from pipeline.stages.matting.catalogue import LOOK_EVERY
from pipeline.stages.matting.regions.boxes import Box, Planner
from pipeline.stages.matting.regions.memory import carried

#: Alpha at the edge of a box from which on a subject is cut off there.
_CUT = 0.5


@dataclass(slots=True)
class _Followed:
    """A box, and what the model knows of it."""

    box: Box
    state: Any


@dataclass(slots=True)
class _State:
    """Of one segment of large eyes.

    Attributes:
        held: frames that wait, uint8 ``[E, 3, H, W]``.
        looks: by the frame's number, float32 ``[h, w]``, both eyes' alpha together.
        most: frames that came in at once.
        window: frames from one look to the next, by their number, for which `followed` are.
    """

    eyes: int
    planner: Planner
    looking: Any
    held: deque[tuple[int, Tensor]] = field(default_factory=deque)
    looks: dict[int, Any] = field(default_factory=dict)
    most: int = 1
    newest: int = -1
    window: int | None = None
    followed: list[_Followed] = field(default_factory=list)


@dataclass(slots=True)
class _Small:
    """Of one segment of eyes that the network sees whole, and at their own size."""

    whole: Any


class RegionMatting(Stage):
    """Alpha and foreground of every frame by a model that can be given boxes.

    Args:
        subject_pixels: see `MattingSettings`.
    """

    name: ClassVar[str] = "matting"
    lookahead_frames = LOOK_EVERY

    def __init__(self, model: BoxModel, subject_pixels: int) -> None:
        self._model = model
        self._subject_pixels = subject_pixels
        self.warmup_frames = model.warmup_frames

    def prepare(self, clip: ClipSampler) -> Prepared:
        return self._model.prepare(clip)

    def start(self, eye: EyeShape, prepared: Prepared) -> _State | _Small:
        ratio = self._model.whole_ratio(eye.height, eye.width)
        if ratio == 1:
            return _Small(self._model.start(eye.eyes, eye.height, eye.width, prepared))
        planner = Planner(eye.height, eye.width, self._subject_pixels, ratio)
        return _State(eye.eyes, planner, self._model.start_looking(eye.eyes, eye.height, eye.width))

    def run(self, layers: Layers, state: _State | _Small) -> Layers | None:
        if isinstance(state, _Small):
            return layers.with_matte(self._model.matte(layers.eyes, state.whole))
        state.most = max(state.most, len(layers))
        for t, picture in enumerate(layers.rgb):
            state.newest = layers.start + t
            state.held.append((state.newest, picture))
            if state.newest % LOOK_EVERY == 0 or not state.looks:
                self._look(picture, state)
        ready = sum(_next_look(number) <= state.newest for number, _ in state.held)
        return self._give(min(ready, len(layers)), state)

    def flush(self, state: _State | _Small) -> Layers | None:
        if isinstance(state, _Small):
            return None
        if state.held and state.newest not in state.looks:
            self._look(state.held[-1][1], state)
        return self._give(min(len(state.held), state.most), state)

    def _look(self, picture: Tensor, state: _State) -> None:
        seen = self._model.look(picture, state.looking)
        state.looks[state.newest] = seen.amax(dim=0).float().cpu().numpy()

    def _give(self, count: int, state: _State) -> Layers | None:
        if not count:
            return None
        given = [state.held.popleft() for _ in range(count)]
        start = given[0][0]
        rgb = torch.stack([picture for _, picture in given])
        alpha: Tensor | None = None
        foreground: Tensor | None = None
        for t, (number, picture) in enumerate(given):
            self._enter(number, state)
            made = [self._matte(number, picture, each, state) for each in state.followed]
            for each, matte in zip(state.followed, made, strict=True):
                if alpha is None or foreground is None:
                    alpha, foreground = _empty(rgb, matte)
                _lay(each.box, matte, alpha[t], foreground[t])
        if alpha is None or foreground is None:
            eyes, _, height, width = rgb.shape[1:]
            alpha = torch.zeros(count, eyes, 1, height, width, device=rgb.device)
            return Layers(start, rgb, alpha)
        return Layers(start, rgb, alpha, foreground)

    def _enter(self, number: int, state: _State) -> None:
        """Follow the boxes for that frame, with what is remembered of others before it."""
        window = number // LOOK_EVERY
        if window == state.window:
            return
        state.window = window
        begin, end = window * LOOK_EVERY, (window + 1) * LOOK_EVERY
        around = [look for at, look in state.looks.items() if begin <= at <= end]
        state.looks = {at: look for at, look in state.looks.items() if at >= begin}
        boxes = state.planner.boxes(state.planner.regions(around))
        before = [(each.box, self._model.memory(each.state)) for each in state.followed]
        kept = {each.box: each for each in state.followed}
        state.followed = [
            kept.get(box) or self._begun(box, carried(before, box), state) for box in boxes
        ]

    def _begun(self, box: Box, memory: tuple[Tensor, ...], state: _State) -> _Followed:
        made = self._model.start_box(state.eyes, box.height, box.width, box.ratio)
        if memory:
            self._model.remember(made, memory)
        return _Followed(box, made)

    def _matte(
        self, number: int, picture: Tensor, followed: _Followed, state: _State
    ) -> MatteBatch:
        """One frame of a box, which grows where the subject reaches its edge."""
        while True:
            box = followed.box
            memory = tuple(tensor.clone() for tensor in self._model.memory(followed.state))
            part = picture[None, :, :, box.rows, box.columns]
            matte = self._model.matte(EyeBatch(part, number), followed.state)
            sides = _cut_off(matte.alpha, box, state.planner.whole)
            if not sides:
                return matte
            box = state.planner.grown(box, sides)
            grown = self._begun(box, carried([(followed.box, memory)], box), state)
            followed.box, followed.state = grown.box, grown.state


def _next_look(number: int) -> int:
    return (number // LOOK_EVERY + 1) * LOOK_EVERY


def _cut_off(alpha: Tensor, box: Box, whole: Box) -> list[str]:
    """The sides on which a subject goes on outside of the box, but not of the eye."""
    edges = {
        "left": (box.left > whole.left, alpha[..., 0]),
        "right": (box.right < whole.right, alpha[..., -1]),
        "top": (box.top > whole.top, alpha[..., 0, :]),
        "bottom": (box.bottom < whole.bottom, alpha[..., -1, :]),
    }
    inside = [side for side, (is_inside, _) in edges.items() if is_inside]
    if not inside:
        return []
    most = torch.stack([edges[side][1].amax() for side in inside]).tolist()
    return [side for side, value in zip(inside, most, strict=True) if value > _CUT]


def _empty(rgb: Tensor, like: MatteBatch) -> tuple[Tensor, Tensor]:
    """Alpha and foreground of whole eyes where nothing is: memory that costs nothing until used."""
    count, eyes, _, height, width = rgb.shape
    alpha = like.alpha.new_zeros(count, eyes, 1, height, width)
    return alpha, like.alpha.new_zeros(count, eyes, 3, height, width)


def _lay(box: Box, matte: MatteBatch, alpha: Tensor, foreground: Tensor) -> None:
    """The box's matte into the eyes' ``[E, 1, H, W]`` and ``[E, 3, H, W]``."""
    there = alpha[..., box.rows, box.columns]
    colours = foreground[..., box.rows, box.columns]
    assert matte.foreground is not None
    # Boxes that have grown may overlap: what is surer counts.
    surer = matte.alpha[0] >= there
    torch.where(surer, matte.alpha[0], there, out=there)
    torch.where(surer, matte.foreground[0], colours, out=colours)
