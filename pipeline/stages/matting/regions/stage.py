"""The stage `matting` by boxes: a network sees subjects at their own size, and nothing else.

Every `LOOK_EVERY` frames the model looks at the whole eyes, small and without memory. A frame waits
until the next look, and its boxes hold what the looks before and after it saw, in either eye; they
stay from look to look. So the boxes of a frame depend on the frames around it and on nothing else,
whatever segment it is in. A subject that reaches the edge of a box is never cut off: the box grows,
and the frame is made again. Decision 025.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
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
        held: frames that wait, uint8 ``[E, 3, H, W]``, with what their 8 bits leave out.
        looks: by the frame's number, float32 ``[h, w]``, both eyes' alpha together.
        most: frames that came in at once.
        window: frames from one look to the next, by their number, for which `followed` are.
    """

    eyes: int
    planner: Planner
    looking: Any
    held: deque[tuple[int, Tensor, Tensor | None]] = field(default_factory=deque)
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
            fine = None if layers.fine is None else layers.fine[t]
            state.held.append((state.newest, picture, fine))
            if state.newest % LOOK_EVERY == 0 or not state.looks:
                self._look(picture, state)
        ready = sum(_next_look(number) <= state.newest for number, *_ in state.held)
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
        rgb = torch.stack([picture for _, picture, _ in given])
        fine = [rest for *_, rest in given if rest is not None]
        layers = Layers(given[0][0], rgb, fine=torch.stack(fine) if fine else None)
        pieces: list[_Piece] = []
        for first, stop in _windows(layers.start, layers.stop):
            self._enter(first, state)
            part = layers.part(first, stop)
            assert part is not None
            for each in state.followed:
                pieces += self._matte(part, each, state)
        return layers.with_matte(_together(layers, pieces))

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

    def _matte(self, layers: Layers, followed: _Followed, state: _State) -> list[_Piece]:
        """Some frames of a box, which grows where the subject reaches its edge.

        The device is waited for once, however many frames there are.
        """
        pieces: list[_Piece] = []
        while True:
            box = followed.box
            memory = tuple(tensor.clone() for tensor in self._model.memory(followed.state))
            part = EyeBatch(layers.rgb[..., box.rows, box.columns], layers.start)
            matte = self._model.matte(part, followed.state)
            cut = _cut_off(matte.alpha, box, state.planner.whole)
            if cut is None:
                return [*pieces, _Piece(box, matte)]
            frames, sides = cut
            if frames:  # they are right; what is remembered after the last of them is not at hand
                pieces.append(_Piece(box, _first(matte, frames)))
                again = self._begun(box, memory, state)
                self._model.matte(EyeBatch(part.rgb[:frames], part.start), again.state)
                memory = tuple(tensor.clone() for tensor in self._model.memory(again.state))
                rest = layers.part(layers.start + frames, layers.stop)
                assert rest is not None
                layers = rest
            grown = state.planner.grown(box, sides)
            begun = self._begun(grown, carried([(box, memory)], grown), state)
            followed.box, followed.state = begun.box, begun.state


@dataclass(frozen=True, slots=True)
class _Piece:
    """Frames of a box."""

    box: Box
    matte: MatteBatch


def _next_look(number: int) -> int:
    return (number // LOOK_EVERY + 1) * LOOK_EVERY


def _windows(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """The frames ``start..stop`` from look to look."""
    while start < stop:
        end = min(stop, _next_look(start))
        yield start, end
        start = end


def _cut_off(alpha: Tensor, box: Box, whole: Box) -> tuple[int, list[str]] | None:
    """Frames before the first in which a subject goes on outside of the box, and on which sides.

    None: there is no such frame. An edge of the eye cuts nothing off.
    """
    edges = {
        "left": (box.left > whole.left, alpha[..., 0]),
        "right": (box.right < whole.right, alpha[..., -1]),
        "top": (box.top > whole.top, alpha[..., 0, :]),
        "bottom": (box.bottom < whole.bottom, alpha[..., -1, :]),
    }
    inside = {side: edge for side, (is_inside, edge) in edges.items() if is_inside}
    if not inside:
        return None
    most = torch.stack([edge.flatten(1).amax(dim=1) for edge in inside.values()], dim=1).tolist()
    for frame, values in enumerate(most):
        cut = [side for side, value in zip(inside, values, strict=True) if value > _CUT]
        if cut:
            return frame, cut
    return None


def _first(matte: MatteBatch, frames: int) -> MatteBatch:
    foreground = None if matte.foreground is None else matte.foreground[:frames]
    return MatteBatch(matte.alpha[:frames], foreground, matte.start)


def _together(layers: Layers, pieces: list[_Piece]) -> MatteBatch:
    """The mattes of boxes in whole eyes; nothing, and no colour, is outside of them."""
    count, eyes, _, height, width = layers.rgb.shape
    if not pieces:
        alpha = torch.zeros(count, eyes, 1, height, width, device=layers.rgb.device)
        return MatteBatch(alpha, None, layers.start)
    like = pieces[0].matte.alpha
    alpha = like.new_zeros(count, eyes, 1, height, width)
    foreground = like.new_zeros(count, eyes, 3, height, width)
    for piece in pieces:
        matte = piece.matte
        at = slice(matte.start - layers.start, matte.stop - layers.start)
        there = alpha[at, ..., piece.box.rows, piece.box.columns]
        colours = foreground[at, ..., piece.box.rows, piece.box.columns]
        assert matte.foreground is not None
        # Boxes that have grown may overlap: what is surer counts.
        surer = matte.alpha >= there
        torch.where(surer, matte.alpha, there, out=there)
        torch.where(surer, matte.foreground, colours, out=colours)
    return MatteBatch(alpha, foreground, layers.start)
