"""SAM 2 through one segment: told who the subject is, it says where, eye by eye and frame by frame.

A segment knows nothing of the one before. In its first frame each object is pointed out: by what a
person says of this very frame, otherwise by the part of the seed model's matte that the person's
nearest words meet, otherwise by its largest parts. What is said of later frames is a correction.
Its answer is coarse; `pipeline/stages/matting/sam2/load.py` and `edge.py` make a matte of it.

It sees the whole eye, or a window of it that follows the subject. What it remembers is of one
window: in another it begins anew, with the masks of the frame before as its prompts. Decision 032.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from sam2.sam2_video_predictor import SAM2VideoPredictor
from torch import Tensor

from pipeline.pixels.batches import EyeBatch
from pipeline.prompts.store import Said, SaidOfVideo, unpack
from pipeline.stages.matting.base import ClipSampler, MattingModel, Prepared
from pipeline.stages.matting.sam2.frames import LazyFrames
from pipeline.stages.matting.sam2.predictor import BoundedPredictor, TrackedFrame, Tracking
from pipeline.stages.matting.sam2.subjects import (
    Parts,
    moved_mask,
    region_of,
    search_size,
    shift_to_other,
)
from pipeline.stages.matting.sam2.window import Extent, Window, Windows, carried, joined
from pipeline.structlog_import import structlog

_log = structlog.get_logger()

#: A segment's length is not known when it starts; nothing depends on it but in its first frames.
_ENDLESS = 1 << 31

#: The logit of an object where it is not known yet, as of one that is out of sight (SAM 2's own).
NOT_THERE = -1024.0

#: Cells of the objects' logits to one of the network, along a side, where windows are finer.
_FINER = 2

#: How often a frame is made in wider windows, before the whole eye is seen.
_MOST_TIMES = 4

#: What nobody named.
_ONLY = SaidOfVideo(("subject",), ())

#: Under which prompts stand among what the seed model prepared: their packed text, uint8 ``[N]``.
_KEY = "sam2.prompts"


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
class _Words:
    """What is said of an object, to be read `shift` pixels of the eye farther to the right."""

    said: Said
    shift: float = 0.0

    @property
    def object_id(self) -> int:
        return self.said.object_id


@dataclass(frozen=True, slots=True)
class _Shown:
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
class _Eye:
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
    told: list[_Words | _Shown] = field(default_factory=list)
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
    eyes: list[_Eye]
    said: SaidOfVideo
    size: tuple[int, int]
    windows: Windows
    window: Window
    num_frames: int = 0

    @property
    def num_objects(self) -> int:
        return len(self.said.names)


class SubjectTracker:
    """Changes nothing of itself; may be called from several threads, each with its `Subjects`.

    Args:
        network: on the device, in eval mode.
        seed: the model whose matte shows who may be meant.
        dtype: what the network computes in where it may; float32 leaves it as it is.
        correct_every: frames after which the seed model points the subject out again; None: never.
        follow: it sees a window that follows the subject, in place of whole eyes.
    """

    def __init__(
        self,
        network: SAM2VideoPredictor,
        seed: MattingModel,
        dtype: torch.dtype = torch.float32,
        correct_every: int | None = None,
        *,
        follow: bool = False,
    ) -> None:
        self._predictor = BoundedPredictor(network)
        self._seed = seed
        self._dtype = dtype
        self._correct_every = correct_every
        self._follow = follow
        self._device: torch.device = network.device
        self._image_size = int(network.image_size)
        self._cells = self._image_size // 4  # of the network's own answer

    def prepare(self, clip: ClipSampler) -> Prepared:
        prepared = dict(self._seed.prepare(clip))
        if clip.prompts is not None:
            prepared[_KEY] = torch.frombuffer(bytearray(clip.prompts), dtype=torch.uint8)
        return prepared

    def start(self, eyes: int, height: int, width: int, prepared: Prepared) -> Subjects:
        """Raises InputError where the seed model does."""
        said = _ONLY
        if _KEY in prepared:
            said = unpack(prepared[_KEY].cpu().numpy().tobytes())
        seed = self._seed.start(eyes, height, width, prepared)
        windows = Windows(height, width, self._image_size, self._cells)
        each = []
        for _ in range(eyes):
            stream = _Stream()
            each.append(_Eye(stream, self._tracking(stream, windows.whole)))
        return Subjects(seed, each, said, (height, width), windows, windows.whole)

    def track(self, eyes: EyeBatch, state: Subjects) -> Iterator[list[Answer | None]]:
        """Where the objects are in each frame, eye by eye; under `inference_mode`.

        Yields:
            None in place of an answer where no subject was found yet.
        """
        for number, eye in enumerate(state.eyes):
            eye.stream.feed(eyes.rgb[:, number], state.num_frames, keep_last=self._follow)
        for t in range(len(eyes)):
            frame = EyeBatch(eyes.rgb[t : t + 1], eyes.start + t)
            yield self._frame(frame, state)
            state.num_frames += 1

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

    def _tracking(self, stream: _Stream, window: Window) -> Tracking:
        def read(start: int, stop: int) -> Iterator[Tensor]:
            for number in range(start, stop):
                yield stream.frame(number)[..., window.rows, window.columns]

        frames = LazyFrames(
            read, _ENDLESS, self._image_size, kept_frames=1, read_ahead=1, device=self._device
        )
        return self._predictor.start(frames, self._cells, self._cells)

    def _frame(self, frame: EyeBatch, state: Subjects) -> list[Answer | None]:
        words = [self._words(frame, state, number) for number in range(len(state.eyes))]
        known = [set(eye.known) for eye in state.eyes]
        if not all(
            state.windows.holds(state.window, one.said, one.shift) for own in words for one in own
        ):
            self._see_whole(state)
        for eye, own in zip(state.eyes, words, strict=True):
            for one in own:
                if one.object_id not in eye.known:
                    self._tell(eye, one, state)
            eye.searching &= len(eye.known) < len(state.said.names)
        seeds = self._seeds(frame, state)
        if seeds is not None:
            self._search(frame, seeds, state)

        def answers() -> list[Answer | None]:
            found = []
            for number, eye in enumerate(state.eyes):
                seed = None if seeds is None or not known[number] else seeds[number]
                again = [one for one in words[number] if one.object_id in known[number]]
                found.append(self._step(eye, again, seed, state))
            return found

        found = self._followed(answers, state) if self._follow else answers()
        for eye, answer in zip(state.eyes, found, strict=True):
            eye.told = []
            eye.before = answer if self._follow else None
        return found

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
                self._say(eye, told, state)

    def _see_whole(self, state: Subjects) -> None:
        if state.window != state.windows.whole:
            self._show(state.windows.whole, state)

    def _go_on(self, window: Window, found: list[Answer | None], state: Subjects) -> None:
        """Begin anew in a window after this frame, whose answers stand."""
        state.window = window
        for eye, answer in zip(state.eyes, found, strict=True):
            eye.tracking = self._tracking(eye.stream, window)
            self._recall(eye, answer, state.num_frames, state)

    def _recall(self, eye: _Eye, answer: Answer | None, frame: int, state: Subjects) -> None:
        """Point out the objects of an answer to that frame by their masks."""
        if answer is None:
            return
        side = self._image_size, self._image_size
        logits = carried(answer.logits, answer.window, state.window, side, NOT_THERE)
        for object_id in sorted(eye.known):
            mask = logits[object_id - 1] > 0
            if bool((answer.logits[object_id - 1] > NOT_THERE).any()):  # else it is new
                self._add_mask(eye, frame, object_id, mask)

    # -- who is meant ----------------------------------------------------------------------------

    def _words(self, frame: EyeBatch, state: Subjects, number: int) -> list[_Words]:
        """What is said of this frame and eye; of the other eye, where nothing is said of this."""
        known = state.eyes[number].known
        words = []
        for eye in range(len(state.eyes)):
            for one in state.said.at(frame.start, eye):
                if one.object_id in known and not one.corrects:
                    continue
                if eye == number:
                    words.append(_Words(one))
                elif not state.said.speaks_of(one.object_id, number):
                    region = region_of(one, *state.size)
                    words.append(_Words(one, self._shift(frame, region, eye)))
        return words

    def _shift(self, frame: EyeBatch, region: Tensor, eye: int) -> float:
        if not bool(region.any()):
            return 0.0
        return shift_to_other(frame.rgb[0, eye], frame.rgb[0, 1 - eye], region, eye)

    def _seeds(self, frame: EyeBatch, state: Subjects) -> Tensor | None:
        """The seed model's alpha ``[E, H, W]``, if it is wanted, or warms up to be."""
        wanted = any(eye.searching for eye in state.eyes)
        if self._correct_every is not None:
            left = -state.num_frames % self._correct_every
            wanted |= left <= self._seed.warmup_frames
        return self._seed.matte(frame, state.seed).alpha[0, :, 0] if wanted else None

    def _search(self, frame: EyeBatch, seeds: Tensor, state: Subjects) -> None:
        """Find what has not been pointed out among the parts of the seed matte."""
        searching = [number for number, eye in enumerate(state.eyes) if eye.searching]
        parts = {number: Parts(seeds[number]) for number in searching}
        found: list[dict[int, Tensor]] = [{} for _ in state.eyes]
        for number in searching:
            for object_id in self._missing(state, number):
                near = state.said.nearest(object_id, frame.start, number)
                mask = None if near is None else parts[number].meant(near, *state.size)
                if mask is not None:
                    found[number][object_id] = mask
        for number in searching:
            for object_id in self._missing(state, number):
                if not state.said.speaks_of(object_id, number):
                    mask = self._as_other(frame, number, object_id, parts[number], found, state)
                    if mask is not None:
                        found[number][object_id] = mask
        for number in searching:
            eye = state.eyes[number]
            largest = parts[number].largest()
            if largest is None:
                continue  # nobody there yet: the next frame is asked
            if not found[number] and not eye.known:
                if state.said is not _ONLY:
                    names = ", ".join(state.said.names)
                    _log.warning(
                        "prompts_meet_nobody", frame=frame.start, eye=number, objects=names
                    )
                found[number][self._missing(state, number)[0]] = largest
            for object_id, mask in found[number].items():
                self._tell(eye, _Shown(object_id, mask), state)
            eye.searching = False

    def _missing(self, state: Subjects, number: int) -> list[int]:
        known = state.eyes[number].known
        return [n for n in range(1, len(state.said.names) + 1) if n not in known]

    def _as_other(
        self,
        frame: EyeBatch,
        number: int,
        object_id: int,
        parts: Parts,
        found: list[dict[int, Tensor]],
        state: Subjects,
    ) -> Tensor | None:
        """The parts that are meant in one eye by what is said of the other."""
        other = 1 - number
        near = None
        if len(state.eyes) == 2:
            near = state.said.nearest(object_id, frame.start, other)
        if near is None:
            return None
        mask = found[other].get(object_id)
        if mask is None:
            region = region_of(near, *state.size)
            return parts.meant(near, *state.size, self._shift(frame, region, other))
        region = F.interpolate(mask[None, None].float(), size=search_size(*state.size))[0, 0] > 0
        return parts.overlapping(mask, self._shift(frame, region, other) / state.size[1])

    def _step(
        self, eye: _Eye, corrections: list[_Words], seed: Tensor | None, state: Subjects
    ) -> Answer | None:
        """One frame of one eye: tracked, and once more where it was corrected."""
        if not eye.known:
            return None
        answer = self._track(eye, state)
        if corrections:
            for one in corrections:
                self._say(eye, one, state)
            answer = self._track(eye, state)
        elif seed is not None and self._correct(eye, answer, seed, state):
            answer = self._track(eye, state)
        logits = answer.logits.new_full((state.num_objects, *answer.logits.shape[-2:]), NOT_THERE)
        for object_id, found in zip(answer.object_ids, answer.logits, strict=True):
            logits[object_id - 1] = found[0]
        return Answer(state.window, logits)

    def _correct(self, eye: _Eye, answer: TrackedFrame, seed: Tensor, state: Subjects) -> bool:
        """Point each object out again by the part of the seed matte that it is; whether any was.

        A part that is another's as well, or lacks half of the object, says nothing.
        """
        if self._correct_every is None or state.num_frames % self._correct_every:
            return False
        size = answer.logits.shape[-2:]
        seen = seed[None, None, state.window.rows, state.window.columns].float()
        parts = Parts(F.interpolate(seen, size=size, mode="area")[0, 0])
        corrected = False
        for object_id, logits in zip(answer.object_ids, answer.logits, strict=True):
            mask = parts.like(logits[0] > 0)
            if mask is not None:
                self._add_mask(eye, state.num_frames, object_id, mask)
                corrected = True
        return corrected

    # -- what the predictor is told and says -----------------------------------------------------

    def _tell(self, eye: _Eye, told: _Words | _Shown, state: Subjects) -> None:
        """Point out an object that was not known yet; it may be anywhere in the eye."""
        self._see_whole(state)
        eye.told.append(told)
        eye.known.add(told.object_id)
        self._say(eye, told, state)

    def _say(self, eye: _Eye, told: _Words | _Shown, state: Subjects) -> None:
        """Tell of this frame, in the window's place what stands in the eye's."""
        _, width = state.size
        frame, object_id, window = state.num_frames, told.object_id, state.window
        if isinstance(told, _Shown):
            self._add_mask(eye, frame, object_id, state.windows.cropped(told.mask, window))
            return
        said, shift = told.said, told.shift
        if said.mask is not None:
            mask = moved_mask(said, shift, width)
            self._add_mask(eye, frame, object_id, state.windows.cropped(mask, window))
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

    def _add_mask(self, eye: _Eye, frame: int, object_id: int, mask: Tensor) -> None:
        """By a mask of the window."""
        with self._autocast():
            self._predictor.add_mask(eye.tracking, frame, object_id, mask)

    def _track(self, eye: _Eye, state: Subjects) -> TrackedFrame:
        with self._autocast():
            (answer,) = self._predictor.propagate(eye.tracking, state.num_frames, 1)
        return answer

    def _autocast(self) -> torch.autocast:
        lower = self._dtype != torch.float32
        return torch.autocast(self._device.type, self._dtype if lower else None, enabled=lower)
