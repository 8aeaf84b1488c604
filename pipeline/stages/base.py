"""`Stage`: the interface of one step of the chain between decoding and encoding.

A stage is made once a worker and keeps everything that it remembers between frames in a state that
is made anew for each segment. Lanes run one stage from several threads, each with a state of its
own, so a stage must not change itself after it is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

from torch import Tensor

from pipeline.contract import EyeShape, Finding
from pipeline.pixels.batches import EyeBatch
from pipeline.pixels.layers import Layers

#: What `prepare` found out about a video, small, by name; saved under the work folder.
Prepared = Mapping[str, Tensor]


class ClipSampler(Protocol):
    """Random access to single frames of the source video."""

    num_frames: int
    eyes: int
    height: int  # of one eye
    width: int
    right_first: bool  # in whole pictures the right eye comes first

    @property
    def prompts(self) -> bytes | None:
        """What a person says of the subject (`pipeline.prompts.store.unpack`); None is nothing."""
        ...

    def sample(self, frames: Sequence[int]) -> EyeBatch:
        """The frames with these numbers, ascending, as uint8 ``[len(frames), E, 3, H, W]``.

        The batch is on the stage's device; its `start` means nothing.
        """
        ...


class Stage:
    """One step of the chain; a subclass overrides what it needs, `run` at least.

    Frames pass through in order: `warmup_frames` before those that are delivered, so that the state
    has settled, and `lookahead_frames` after them. What comes out for a frame must depend on no
    frame farther away than that. Both ends are dropped by the chain, which is why any way to cut a
    video into segments gives the same frames.

    A stage that gives other pictures than it was given leaves their layer `fine` out.

    Attributes:
        name: of its row in `pipeline/stages/catalogue.py`.
        warmup_frames: frames before a segment that its state needs.
        lookahead_frames: frames after a segment that it needs: the most it holds back.
    """

    name: ClassVar[str]
    warmup_frames: int = 0
    lookahead_frames: int = 0

    def shape(self, eye: EyeShape) -> EyeShape:
        """The shape of the eyes that come out where eyes of shape `eye` go in."""
        return eye

    def prepare(self, clip: ClipSampler) -> Prepared:
        """Look at the whole source once, before a video's first segment. Must be deterministic.

        What a stage that overrides this returns is kept beside the segments.
        """
        return {}

    def start(self, eye: EyeShape, prepared: Prepared) -> Any:
        """A fresh state for one segment whose eyes have shape `eye` when they get here."""
        return None

    def run(self, layers: Layers, state: Any) -> Layers | None:
        """Take consecutive frames, give consecutive frames; changes `state`.

        None: all of them are held back. The frames that come out follow those that came out before.
        """
        raise NotImplementedError

    def flush(self, state: Any) -> Layers | None:
        """Frames that are still held back, when no more come in: called until it gives None."""
        return None

    def findings(self, state: Any, first: int, stop: int) -> tuple[Finding, ...]:
        """What is worth telling of the frames ``first..stop``, after the last of them."""
        return ()
