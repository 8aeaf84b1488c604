"""Bounds SAM 2's memory: keeps what it reads of other frames, and drops the rest.

Works on the stock predictor's own dictionaries, object by object. Knows which frames' outputs a
result depends on, and nothing of what is in them. See docs/decisions/009-sam2.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from sam2.sam2_video_predictor import SAM2VideoPredictor

#: What is left of a frame that the stock predictor would hold: all, only the object pointer,
#: nothing, nothing of a frame that was prompted.
_WHOLE, _POINTER, _GONE, _PROMPT_GONE = range(4)


class ForgottenFrameError(ValueError):
    """What was asked for depends on outputs that were dropped to bound the memory."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Which outputs of unprompted frames tracking a frame reads.

    As in `SAM2Base._prepare_memory_conditioned_features` of sam2 1.1; prompted frames are read
    whatever their distance, up to `max_prompted` of them.

    Attributes:
        memories: spatial memories read, ``num_maskmem - 1``.
        stride: every how many frames, but for the nearest (``memory_temporal_stride_for_eval``).
        pointers: object pointers read, of as many frames right before.
        max_prompted: ``max_cond_frames_in_attn``; None where there is no limit.
    """

    memories: int
    stride: int
    pointers: int
    max_prompted: int | None

    @classmethod
    def of(cls, network: SAM2VideoPredictor, num_frames: int) -> Reach:
        pointers = 0
        if network.use_obj_ptrs_in_encoder:
            pointers = min(num_frames, network.max_obj_ptrs_in_encoder) - 1
        return cls(
            memories=max(0, network.num_maskmem - 1),
            stride=network.memory_temporal_stride_for_eval,
            pointers=max(0, pointers),
            max_prompted=(
                None if network.max_cond_frames_in_attn == -1 else network.max_cond_frames_in_attn
            ),
        )

    @property
    def furthest(self) -> int:
        """Distance in frames beyond which nothing is read."""
        return max(1 + self.stride * (self.memories - 1), self.pointers, 1)

    def memory_frames(self, frame: int, *, reverse: bool) -> Iterator[int]:
        """Frames whose spatial memory is read, in no order; some lie outside of the video."""
        forward = -1 if reverse else 1
        if self.memories:
            yield frame - forward
        # Going backwards, the nearest multiple is rounded up: to later frames.
        nearest = forward * ((forward * frame - 2) // self.stride) * self.stride
        for number in range(self.memories - 1):
            yield nearest - forward * number * self.stride

    def pointer_frames(self, frame: int, *, reverse: bool) -> Iterator[int]:
        """Frames whose object pointer is read."""
        forward = -1 if reverse else 1
        for distance in range(1, self.pointers + 1):
            yield frame - forward * distance

    def needed(self, frame: int, *, reverse: bool) -> tuple[set[int], set[int]]:
        """(frames to keep whole, frames whose pointer to keep), `frame` being the latest.

        What it read itself, for a correction of it, and the frame: none that comes later reads
        more of the past.
        """
        whole = {frame, *self.memory_frames(frame, reverse=reverse)}
        return whole, set(self.pointer_frames(frame, reverse=reverse))


class ObjectMemory:
    """One object's outputs in a stock state, and the account of what was dropped of them.

    The account takes a byte for each frame up to the last that was tracked or prompted.

    Args:
        state: the stock predictor's inference state.
        index: of the object in it.
    """

    def __init__(self, state: dict[str, Any], index: int, reach: Reach) -> None:
        self._reach = reach
        outputs = state["output_dict_per_obj"][index]
        self._prompted: dict[int, Any] = outputs["cond_frame_outputs"]
        self._tracked: dict[int, Any] = outputs["non_cond_frame_outputs"]
        self._directions: dict[int, dict[str, bool]] = state["frames_tracked_per_obj"][index]
        self._inputs: list[dict[int, Any]] = [
            state["point_inputs_per_obj"][index],
            state["mask_inputs_per_obj"][index],
        ]
        self._left = bytearray()

    @property
    def prompted_frames(self) -> set[int]:
        """Those whose prompts have been used, and are held."""
        return set(self._prompted)

    def computed(self, frame: int) -> None:
        """The frame's output has just been made, maybe anew."""
        self._note(frame, _WHOLE)

    def forget(self, frame: int, *, reverse: bool, anchors: Iterable[int] | None) -> None:
        """Drop what tracking on from `frame` will not read.

        Args:
            frame: the one tracked last.
            reverse: the way that it went, and will go on.
            anchors: frames from which tracking may begin again, either way; None is no frame, and
                prompted frames that are too far back to be read are dropped as well.
        """
        whole, pointers = self._reach.needed(frame, reverse=reverse)
        for anchor in anchors or ():
            for way in (False, True):
                more_whole, more_pointers = self._reach.needed(anchor, reverse=way)
                whole |= more_whole
                pointers |= more_pointers
        for number in [number for number in self._tracked if number not in whole]:
            if number not in pointers:
                del self._tracked[number]
                self._let_go(number, _GONE)
            elif self._left[number] == _WHOLE:
                self._tracked[number] = {"obj_ptr": self._tracked[number]["obj_ptr"]}
                self._let_go(number, _POINTER)
        if anchors is None:
            for number in self._out_of_reach(frame, reverse=reverse) - whole - pointers:
                del self._prompted[number]
                self._let_go(number, _PROMPT_GONE)

    def require_prompt(self, frame: int) -> None:
        """Raises ForgottenFrameError where a prompt on `frame` would not give the stock answer."""
        self.require_whole(frame)
        if frame in self._directions:
            reverse = self._directions[frame]["reverse"]
            self._require_outputs(frame, reverse=reverse)
            self._require_prompts(frame, reverse=reverse)

    def require_whole(self, frame: int) -> None:
        """Raises ForgottenFrameError where anything of `frame` was dropped."""
        if any(self._left[frame : frame + 1]):
            raise ForgottenFrameError(f"what was found in frame {frame} is no longer held")

    def require_track(self, frames: range) -> None:
        """Raises ForgottenFrameError where tracking `frames` would not give the stock answer."""
        reverse = frames.step < 0
        near = frames[: self._reach.furthest]
        for frame in near:
            if frame not in self._prompted:  # those are taken as they are
                self._require_outputs(frame, reverse=reverse, made_anew=near)
        first = next((frame for frame in frames if frame not in self._prompted), None)
        if first is not None:
            self._require_prompts(first, reverse=reverse)

    def _require_outputs(self, frame: int, *, reverse: bool, made_anew: range = range(0)) -> None:
        """Raises ForgottenFrameError where `frame` reads what was dropped of unprompted frames."""
        memories = self._reach.memory_frames(frame, reverse=reverse)
        pointers = self._reach.pointer_frames(frame, reverse=reverse)
        for reads, least in ((memories, _WHOLE), (pointers, _POINTER)):
            for read in reads:
                inside = 0 <= read < len(self._left)
                if inside and read not in made_anew and self._left[read] > least:
                    raise ForgottenFrameError(
                        f"frame {frame} follows from frame {read}, which is no longer held"
                    )

    def _require_prompts(self, frame: int, *, reverse: bool) -> None:
        """Raises ForgottenFrameError where a dropped prompt would be read from `frame` on.

        None is, if as many prompted frames as are read at once lie between them and `frame`.
        """
        nearest = (self._left.find if reverse else self._left.rfind)(_PROMPT_GONE)
        if nearest == -1:
            return
        assert self._reach.max_prompted is not None
        if reverse:
            between = sum(frame <= number < nearest for number in self._prompted)
        else:
            between = sum(nearest < number <= frame for number in self._prompted)
        if between < self._reach.max_prompted:
            raise ForgottenFrameError(f"prompts that frame {frame} depends on are no longer held")

    def _out_of_reach(self, frame: int, *, reverse: bool) -> set[int]:
        """Prompted frames behind `frame` that are too old to be chosen ever again.

        One more than are chosen must stay: with no more than that, the stock predictor takes them
        in another order, which changes the last bits.
        """
        if self._reach.max_prompted is None:
            return set()
        behind = sorted(f for f in self._prompted if (f >= frame if reverse else f <= frame))
        if reverse:
            behind.reverse()
        return set(behind[: -(self._reach.max_prompted + 1)])

    def _let_go(self, frame: int, left: int) -> None:
        self._note(frame, left)
        self._directions.pop(frame, None)
        for inputs in self._inputs:
            inputs.pop(frame, None)

    def _note(self, frame: int, left: int) -> None:
        self._left.extend(bytes(max(0, frame + 1 - len(self._left))))
        self._left[frame] = left
