"""SAM 2 through one segment: told who the subject is, it says where, eye by eye and frame by frame.

A segment knows nothing of the one before. In its first frame each object is pointed out: by what a
person says of this very frame, otherwise by the part of the seed model's matte that the person's
nearest words meet, otherwise by its largest parts. What is said of later frames is a correction.
Its answer is coarse; `pipeline/stages/matting/sam2/load.py` and `sam2_edge.py` make a matte of it.
"""

from __future__ import annotations

from collections.abc import Iterator
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
from pipeline.structlog_import import structlog

_log = structlog.get_logger()

#: A segment's length is not known when it starts; nothing depends on it but in its first frames.
_ENDLESS = 1 << 31

#: The logit of an object where it is not known yet, as of one that is out of sight (SAM 2's own).
NOT_THERE = -1024.0

#: What nobody named.
_ONLY = SaidOfVideo(("subject",), ())

#: Under which prompts stand among what the seed model prepared: their packed text, uint8 ``[N]``.
_KEY = "sam2.prompts"


class _Stream:
    """The frames of one eye, of which the current batch is at hand."""

    def __init__(self) -> None:
        self._pictures = torch.empty(0)
        self._begin = 0

    def feed(self, pictures: Tensor, begin: int) -> None:
        self._pictures, self._begin = pictures, begin

    def __call__(self, start: int, stop: int) -> Iterator[Tensor]:
        yield from self._pictures[start - self._begin : stop - self._begin]


@dataclass(slots=True)
class _Eye:
    """One eye of a segment.

    Attributes:
        known: objects that were pointed out.
        searching: the seed model is asked for those that were not.
    """

    stream: _Stream
    tracking: Tracking
    known: set[int] = field(default_factory=set)
    searching: bool = True


@dataclass(slots=True)
class Subjects:
    """What is known in a segment; `num_frames` so far.

    Attributes:
        seed: the seed model's state.
        size: height and width of an eye.
    """

    seed: Any
    eyes: list[_Eye]
    said: SaidOfVideo
    size: tuple[int, int]
    num_frames: int = 0

    @property
    def num_objects(self) -> int:
        return len(self.said.names)


@dataclass(frozen=True, slots=True)
class _Words:
    """What is said of an object, to be read `shift` pixels of the eye farther to the right."""

    said: Said
    shift: float = 0.0


class SubjectTracker:
    """Changes nothing of itself; may be called from several threads, each with its `Subjects`.

    Args:
        network: on the device, in eval mode.
        seed: the model whose matte shows who may be meant.
        dtype: what the network computes in where it may; float32 leaves it as it is.
        correct_every: frames after which the seed model points the subject out again; None: never.
    """

    def __init__(
        self,
        network: SAM2VideoPredictor,
        seed: MattingModel,
        dtype: torch.dtype = torch.float32,
        correct_every: int | None = None,
    ) -> None:
        self._predictor = BoundedPredictor(network)
        self._seed = seed
        self._dtype = dtype
        self._correct_every = correct_every
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
        return Subjects(seed, [self._eye() for _ in range(eyes)], said, (height, width))

    def track(self, eyes: EyeBatch, state: Subjects) -> Iterator[list[Tensor | None]]:
        """Of each frame and eye the logits of the objects; under `inference_mode`.

        Yields:
            float32 ``[N, h, w]``, above 0 is inside; None where no subject was found yet.
        """
        for number, eye in enumerate(state.eyes):
            eye.stream.feed(eyes.rgb[:, number], state.num_frames)
        for t in range(len(eyes)):
            frame = EyeBatch(eyes.rgb[t : t + 1], eyes.start + t)
            words = [self._words(frame, state, number) for number in range(len(state.eyes))]
            known = [set(eye.known) for eye in state.eyes]
            for eye, own in zip(state.eyes, words, strict=True):
                for one in own:
                    if one.said.object_id not in eye.known:
                        self._say(eye, one, state)
                eye.searching &= len(eye.known) < len(state.said.names)
            seeds = self._seeds(frame, state)
            if seeds is not None:
                self._search(frame, seeds, state)
            answers = []
            for number, eye in enumerate(state.eyes):
                seed = None if seeds is None or not known[number] else seeds[number]
                again = [one for one in words[number] if one.said.object_id in known[number]]
                answers.append(self._step(eye, again, seed, state))
            yield answers
            state.num_frames += 1

    def nowhere(self, eyes: EyeBatch, state: Subjects) -> Tensor:
        """Logits of all objects as long as nobody is found, float32 ``[T, E, N, h, w]``."""
        shape = (len(eyes), eyes.eyes, state.num_objects, self._cells, self._cells)
        return torch.full(shape, NOT_THERE, device=self._device)

    def _eye(self) -> _Eye:
        stream = _Stream()
        frames = LazyFrames(
            stream, _ENDLESS, self._image_size, kept_frames=1, read_ahead=1, device=self._device
        )
        return _Eye(stream, self._predictor.start(frames, self._cells, self._cells))

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
                self._add_mask(eye, object_id, mask, state)
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
    ) -> Tensor | None:
        """One frame of one eye: tracked, and once more where it was corrected; ``[N, h, w]``."""
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
        return logits

    def _correct(self, eye: _Eye, answer: TrackedFrame, seed: Tensor, state: Subjects) -> bool:
        """Point each object out again by the part of the seed matte that it is; whether any was.

        A part that is another's as well, or lacks half of the object, says nothing.
        """
        if self._correct_every is None or state.num_frames % self._correct_every:
            return False
        size = answer.logits.shape[-2:]
        parts = Parts(F.interpolate(seed[None, None].float(), size=size, mode="area")[0, 0])
        corrected = False
        for object_id, logits in zip(answer.object_ids, answer.logits, strict=True):
            mask = parts.like(logits[0] > 0)
            if mask is not None:
                self._add_mask(eye, object_id, mask, state)
                corrected = True
        return corrected

    def _say(self, eye: _Eye, one: _Words, state: Subjects) -> None:
        height, width = state.size
        said, shift = one.said, one.shift
        if said.mask is not None:
            self._add_mask(eye, said.object_id, moved_mask(said, shift, width), state)
            return
        across, down = self._cells / width, self._cells / height
        box = None
        if said.box is not None:
            left, top, right, bottom = said.box
            box = ((left + shift) * across, top * down, (right + shift) * across, bottom * down)
        with self._autocast():
            self._predictor.add_points(
                eye.tracking,
                state.num_frames,
                said.object_id,
                [((point.x + shift) * across, point.y * down) for point in said.points],
                [int(point.inside) for point in said.points],
                box,
            )
        eye.known.add(said.object_id)

    def _add_mask(self, eye: _Eye, object_id: int, mask: Tensor, state: Subjects) -> None:
        with self._autocast():
            self._predictor.add_mask(eye.tracking, state.num_frames, object_id, mask)
        eye.known.add(object_id)

    def _track(self, eye: _Eye, state: Subjects) -> TrackedFrame:
        with self._autocast():
            (answer,) = self._predictor.propagate(eye.tracking, state.num_frames, 1)
        return answer

    def _autocast(self) -> torch.autocast:
        lower = self._dtype != torch.float32
        return torch.autocast(self._device.type, self._dtype if lower else None, enabled=lower)
