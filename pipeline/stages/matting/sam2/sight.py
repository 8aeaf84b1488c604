"""What SAM 2 is shown of a segment: the whole eye, or a window of it that follows the subject.

It keeps the state of a segment, tells the predictor what is said, and lays its answers out. What it
remembers is of one window: in another it begins anew, with the masks of the frame before as its
prompts. Decision 032. Who is meant, and when it is said, is `tracker.py`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from sam2.sam2_video_predictor import SAM2VideoPredictor
from torch import Tensor

from pipeline.pixels.batches import EyeBatch
from pipeline.prompts.store import Said, SaidOfVideo
from pipeline.stages.matting.sam2.frames import LazyFrames
from pipeline.stages.matting.sam2.predictor import BoundedPredictor, TrackedFrame, Tracking
from pipeline.stages.matting.sam2.subjects import moved_mask
from pipeline.stages.matting.sam2.window import Extent, Window, Windows, carried, joined

#: A segment's length is not known when it starts; nothing depends on it but in its first frames.
_ENDLESS = 1 << 31

#: The logit of an object where it is not known yet, as of one that is out of sight (SAM 2's own).
NOT_THERE = -1024.0

#: Cells of the objects' logits to one of the network, along a side, where windows are finer.
_FINER = 2

#: How often a frame is made in wider windows, before the whole eye is seen.
_MOST_TIMES = 4


class _Stream:
    """The frames of one eye, of which the current batch is at hand, and the frame before it."""

    def __init__(self) -> None:
        self._pictures = torch.empty(0)
        self._begin = 0
        self._before: Tensor | None = None

    def feed(self, pictures: Tensor, begin: int, *, keep_last: bool) -> None:
        if keep_last and len(self._pictures):
            self._before = self._pictures[-1].clone()
        self._pictures, self._begin = pictures, begin

    def frame(self, number: int) -> Tensor:
        if number < self._begin:
            assert self._before is not None
            return self._before
        return self._pictures[number - self._begin]


@dataclass(frozen=True, slots=True)
class Words:
    """What is said of an object, to be read `shift` pixels of the eye farther to the right."""

    said: Said
    shift: float = 0.0

    @property
    def object_id(self) -> int:
        return self.said.object_id


@dataclass(frozen=True, slots=True)
class Shown:
    """An object by its mask in the whole eye, bool ``[h, w]`` of any size."""

    object_id: int
    mask: Tensor


@dataclass(frozen=True, slots=True)
class Answer:
    """Where the objects are in a frame of an eye.

    Attributes:
        window: the part of the eye that `logits` are of.
        logits: float32 ``[N, h, w]``, above 0 is inside.
    """

    window: Window
    logits: Tensor


@dataclass(slots=True)
class Eye:
    """One eye of a segment.

    Attributes:
        tracking: of the segment's window.
        known: objects that were pointed out.
        searching: the seed model is asked for those that were not.
        told: what pointed objects out in this frame for the first time.
        before: the answer in the frame before this one.
    """

    stream: _Stream
    tracking: Tracking
    known: set[int] = field(default_factory=set)
    searching: bool = True
    told: list[Words | Shown] = field(default_factory=list)
    before: Answer | None = None


@dataclass(slots=True)
class Subjects:
    """What is known in a segment; `num_frames` so far.

    Attributes:
        seed: the seed model's state.
        size: height and width of an eye.
        window: what the network sees of either eye.
    """

    seed: Any
    eyes: list[Eye]
    said: SaidOfVideo
    size: tuple[int, int]
    windows: Windows
    window: Window
    num_frames: int = 0

    @property
    def num_objects(self) -> int:
        return len(self.said.names)


class Sight:
    """SAM 2 and what it sees; changes nothing of itself.

    Args:
        network: on the device, in eval mode.
        dtype: what the network computes in where it may; float32 leaves it as it is.
        follow: it sees a window that follows the subject, in place of whole eyes.
    """

    def __init__(self, network: SAM2VideoPredictor, dtype: torch.dtype, *, follow: bool) -> None:
        self._predictor = BoundedPredictor(network)
        self._dtype = dtype
        self._follow = follow
        self._device: torch.device = network.device
        self._image_size = int(network.image_size)
        self._cells = self._image_size // 4  # of the network's own answer

    def start(self, eyes: int, height: int, width: int, said: SaidOfVideo, seed: Any) -> Subjects:
        """The state of a segment in which nothing was said yet."""
        windows = Windows(height, width, self._image_size, self._cells)
        each = []
        for _ in range(eyes):
            stream = _Stream()
            each.append(Eye(stream, self._tracking(stream, windows.whole)))
        return Subjects(seed, each, said, (height, width), windows, windows.whole)

    def feed(self, eyes: EyeBatch, state: Subjects) -> None:
        """The frames that come next, from number ``state.num_frames`` on."""
        for number, eye in enumerate(state.eyes):
            eye.stream.feed(eyes.rgb[:, number], state.num_frames, keep_last=self._follow)

    def answered(
        self, answers: Callable[[], list[Answer | None]], state: Subjects
    ) -> list[Answer | None]:
        """The answers of this frame, by the window that suits it; the frame is done then.

        Args:
            answers: asks for those of the window that is shown; may be called again.
        """
        found = self._followed(answers, state) if self._follow else answers()
        for eye, answer in zip(state.eyes, found, strict=True):
            eye.told = []
            eye.before = answer if self._follow else None
        state.num_frames += 1
        return found

    def nowhere(self, eyes: EyeBatch, state: Subjects) -> Tensor:
        """Logits of all objects as long as nobody is found, float32 ``[T, E, N, h, w]``."""
        side = self._side_of_objects
        shape = (len(eyes), eyes.eyes, state.num_objects, side, side)
        return torch.full(shape, NOT_THERE, device=self._device)

    def objects(self, answer: Answer, state: Subjects) -> Tensor:
        """Logits of all objects over the whole eye, float32 ``[N, h, w]``."""
        side = self._side_of_objects
        return carried(answer.logits, answer.window, state.windows.whole, (side, side), NOT_THERE)

    @property
    def _side_of_objects(self) -> int:
        return self._cells * (_FINER if self._follow else 1)

    def tell(self, eye: Eye, told: Words | Shown, state: Subjects) -> None:
        """Point out an object that was not known yet; it may be anywhere in the eye."""
        self.see_whole(state)
        eye.told.append(told)
        eye.known.add(told.object_id)
        self.say(eye, told, state)

    def say(self, eye: Eye, told: Words | Shown, state: Subjects) -> None:
        """Tell of this frame, in the window's place what stands in the eye's."""
        _, width = state.size
        frame, object_id, window = state.num_frames, told.object_id, state.window
        if isinstance(told, Shown):
            self.add_mask(eye, frame, object_id, state.windows.cropped(told.mask, window))
            return
        said, shift = told.said, told.shift
        if said.mask is not None:
            mask = moved_mask(said, shift, width)
            self.add_mask(eye, frame, object_id, state.windows.cropped(mask, window))
            return
        shift -= window.left
        across, down = self._cells / window.width, self._cells / window.height
        box = None
        if said.box is not None:
            left, top, right, bottom = said.box
            box = (
                (left + shift) * across,
                (top - window.top) * down,
                (right + shift) * across,
                (bottom - window.top) * down,
            )
        with self._autocast():
            self._predictor.add_points(
                eye.tracking,
                frame,
                object_id,
                [((p.x + shift) * across, (p.y - window.top) * down) for p in said.points],
                [int(point.inside) for point in said.points],
                box,
            )

    def add_mask(self, eye: Eye, frame: int, object_id: int, mask: Tensor) -> None:
        """By a mask of the window."""
        with self._autocast():
            self._predictor.add_mask(eye.tracking, frame, object_id, mask)

    def track(self, eye: Eye, state: Subjects) -> TrackedFrame:
        with self._autocast():
            (answer,) = self._predictor.propagate(eye.tracking, state.num_frames, 1)
        return answer

    def _autocast(self) -> torch.autocast:
        lower = self._dtype != torch.float32
        return torch.autocast(self._device.type, self._dtype if lower else None, enabled=lower)

    # -- the window ------------------------------------------------------------------------------

    def _followed(
        self, answers: Callable[[], list[Answer | None]], state: Subjects
    ) -> list[Answer | None]:
        """The answers of this frame, in a window that holds the subject."""
        found = answers()
        if state.window == state.windows.whole:
            extent = self._extent(found, state)
            window = state.window if extent is None else state.windows.around(extent)
            if window == state.window:
                return found
            if any(len(eye.told) < len(eye.known) for eye in state.eyes):
                self._go_on(window, found, state)
                return found
            self._show(window, state)  # all are told of just now, and can be again
            found = answers()
        before = self._extent([eye.before for eye in state.eyes], state)
        for times_left in reversed(range(_MOST_TIMES)):
            extent = self._extent(found, state)
            wider: Window | None = state.windows.whole
            if extent is not None and times_left:
                wider = state.windows.after_cut(state.window, extent, before)
            if wider is None or wider == state.window:
                break
            self._show(wider, state)
            found = answers()
        if extent is not None and state.windows.too_large(state.window, extent):
            self._go_on(state.windows.around(extent), found, state)
        return found

    def _extent(self, found: list[Answer | None], state: Subjects) -> Extent | None:
        """Of all known objects in both eyes; None where one of them is out of sight."""
        return joined(
            answer.window.extent(answer.logits[object_id - 1] > 0)
            for eye, answer in zip(state.eyes, found, strict=True)
            if answer is not None
            for object_id in sorted(eye.known)
        )

    def _show(self, window: Window, state: Subjects) -> None:
        """Begin this frame anew in a window, by the masks of the one before and what is told."""
        state.window = window
        for eye in state.eyes:
            eye.tracking = self._tracking(eye.stream, window)
            self._recall(eye, eye.before, state.num_frames - 1, state)
            for told in eye.told:
                self.say(eye, told, state)

    def see_whole(self, state: Subjects) -> None:
        """Begin this frame anew in the whole eye, unless it is seen."""
        if state.window != state.windows.whole:
            self._show(state.windows.whole, state)

    def _go_on(self, window: Window, found: list[Answer | None], state: Subjects) -> None:
        """Begin anew in a window after this frame, whose answers stand."""
        state.window = window
        for eye, answer in zip(state.eyes, found, strict=True):
            eye.tracking = self._tracking(eye.stream, window)
            self._recall(eye, answer, state.num_frames, state)

    def _recall(self, eye: Eye, answer: Answer | None, frame: int, state: Subjects) -> None:
        """Point out the objects of an answer to that frame by their masks."""
        if answer is None:
            return
        side = self._image_size, self._image_size
        logits = carried(answer.logits, answer.window, state.window, side, NOT_THERE)
        for object_id in sorted(eye.known):
            mask = logits[object_id - 1] > 0
            if bool((answer.logits[object_id - 1] > NOT_THERE).any()):  # else it is new
                self.add_mask(eye, frame, object_id, mask)

    def _tracking(self, stream: _Stream, window: Window) -> Tracking:
        def read(start: int, stop: int) -> Iterator[Tensor]:
            for number in range(start, stop):
                yield stream.frame(number)[..., window.rows, window.columns]

        frames = LazyFrames(
            read, _ENDLESS, self._image_size, kept_frames=1, read_ahead=1, device=self._device
        )
        return self._predictor.start(frames, self._cells, self._cells)
