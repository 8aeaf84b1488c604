"""SAM 2 through one segment: told who the subject is, it says where, eye by eye and frame by frame.

A segment knows nothing of the one before. In its first frame each object is pointed out: by what a
person says of this very frame, otherwise by the part of the seed model's matte that the person's
nearest words meet, otherwise by its largest parts. What is said of later frames is a correction.
Its answer is coarse; `pipeline/stages/matting/sam2/load.py` and `edge.py` make a matte of it.
What of the eye it sees is `sight.py`'s.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from sam2.sam2_video_predictor import SAM2VideoPredictor
from torch import Tensor

from pipeline.pixels.batches import EyeBatch
from pipeline.prompts.store import SaidOfVideo, unpack
from pipeline.stages.matting.base import ClipSampler, MattingModel, Prepared
from pipeline.stages.matting.sam2.predictor import TrackedFrame
from pipeline.stages.matting.sam2.sight import NOT_THERE, Answer, Eye, Shown, Sight, Subjects, Words
from pipeline.stages.matting.sam2.subjects import Parts, region_of, search_size, shift_to_other
from pipeline.structlog_import import structlog

_log = structlog.get_logger()

#: What nobody named.
_ONLY = SaidOfVideo(("subject",), ())

#: Under which prompts stand among what the seed model prepared: their packed text, uint8 ``[N]``.
_KEY = "sam2.prompts"


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
        self._sight = Sight(network, dtype, follow=follow)
        self._seed = seed
        self._correct_every = correct_every

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
        return self._sight.start(eyes, height, width, said, seed)

    def track(self, eyes: EyeBatch, state: Subjects) -> Iterator[list[Answer | None]]:
        """Where the objects are in each frame, eye by eye; under `inference_mode`.

        Yields:
            None in place of an answer where no subject was found yet.
        """
        self._sight.feed(eyes, state)
        for t in range(len(eyes)):
            yield self._frame(EyeBatch(eyes.rgb[t : t + 1], eyes.start + t), state)

    def nowhere(self, eyes: EyeBatch, state: Subjects) -> Tensor:
        """Logits of all objects as long as nobody is found, float32 ``[T, E, N, h, w]``."""
        return self._sight.nowhere(eyes, state)

    def objects(self, answer: Answer, state: Subjects) -> Tensor:
        """Logits of all objects over the whole eye, float32 ``[N, h, w]``."""
        return self._sight.objects(answer, state)

    def _frame(self, frame: EyeBatch, state: Subjects) -> list[Answer | None]:
        words = [self._words(frame, state, number) for number in range(len(state.eyes))]
        known = [set(eye.known) for eye in state.eyes]
        if not all(
            state.windows.holds(state.window, one.said, one.shift) for own in words for one in own
        ):
            self._sight.see_whole(state)
        for eye, own in zip(state.eyes, words, strict=True):
            for one in own:
                if one.object_id not in eye.known:
                    self._sight.tell(eye, one, state)
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

        return self._sight.answered(answers, state)

    def _words(self, frame: EyeBatch, state: Subjects, number: int) -> list[Words]:
        """What is said of this frame and eye; of the other eye, where nothing is said of this."""
        known = state.eyes[number].known
        words = []
        for eye in range(len(state.eyes)):
            for one in state.said.at(frame.start, eye):
                if one.object_id in known and not one.corrects:
                    continue
                if eye == number:
                    words.append(Words(one))
                elif not state.said.speaks_of(one.object_id, number):
                    region = region_of(one, *state.size)
                    words.append(Words(one, self._shift(frame, region, eye)))
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
                self._sight.tell(eye, Shown(object_id, mask), state)
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
        self, eye: Eye, corrections: list[Words], seed: Tensor | None, state: Subjects
    ) -> Answer | None:
        """One frame of one eye: tracked, and once more where it was corrected."""
        if not eye.known:
            return None
        answer = self._sight.track(eye, state)
        if corrections:
            for one in corrections:
                self._sight.say(eye, one, state)
            answer = self._sight.track(eye, state)
        elif seed is not None and self._correct(eye, answer, seed, state):
            answer = self._sight.track(eye, state)
        logits = answer.logits.new_full((state.num_objects, *answer.logits.shape[-2:]), NOT_THERE)
        for object_id, found in zip(answer.object_ids, answer.logits, strict=True):
            logits[object_id - 1] = found[0]
        return Answer(state.window, logits)

    def _correct(self, eye: Eye, answer: TrackedFrame, seed: Tensor, state: Subjects) -> bool:
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
                self._sight.add_mask(eye, state.num_frames, object_id, mask)
                corrected = True
        return corrected
