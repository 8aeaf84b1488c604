"""Compares the eyes of one frame, at a small size: what is asked of the device for every frame.

Pure tensors. It is hundreds of kernels that are shorter than their launch, so on a GPU they are one
CUDA graph (`GraphedObserver`), which gives the same bits as the calls one by one.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.engines.cuda_graph import Capture, capture_lock
from pipeline.stages.stereo.disparity import (
    Evidence,
    Search,
    best_disparity,
    carry,
    colour_cost,
    enlarge_field,
    mean_cost,
    subject_evidence,
    to_right_eye,
)
from pipeline.stages.stereo.mending import claims
from pipeline.structlog_import import structlog

_log = structlog.get_logger()

_FADE = 0.5  # what a frame weighs in the field after each further one
_REFERENCE_FADE = 0.9  # and the distance of what both eyes hold

#: Graphs that wait for a segment of the same shape on the same stream.
_IDLE = 16

#: Frames of noise by which a graph is compared with the calls one by one.
_TRIAL_FRAMES = 3


@dataclass(frozen=True, slots=True)
class Observed:
    """One frame, small; lists are by eye.

    Attributes:
        pictures: float32 ``[2, 3, h, w]`` at the size of the field, 0..1.
        mattes: alpha ``[2, 1, 2h, 2w]``.
        fields: disparities ``[h, w]`` in pixels of the field.
        carried: the other's alpha, ``[1, 2h, 2w]``.
        claimed: what only this eye holds, ``[1, 2h, 2w]``, 0..1.
        cost: `colour_cost`.
        subject: mean disparity of what both eyes hold, then and in the frames before.
        figures: disagreement and union in pixels, sum of agreed disparities, and of their weights.
    """

    pictures: Tensor
    mattes: Tensor
    fields: list[Tensor]
    carried: list[Tensor]
    claimed: list[Tensor]
    cost: Tensor
    subject: Tensor
    figures: Tensor


@dataclass(frozen=True, slots=True)
class Past:
    """What is left of the frames before.

    Attributes:
        reference: sum of agreed disparities, and of their weights, ``[2]``.
    """

    evidence: Evidence
    reference: Tensor


def observe(
    pictures: Tensor, mattes: Tensor, search: Search, past: Past | None
) -> tuple[Observed, Past]:
    """Compare the eyes of one frame; see `Observed` for the arguments."""
    coarse = F.avg_pool2d(mattes, 2)
    cost = colour_cost(pictures[0], pictures[1], search)
    evidence = subject_evidence(cost, coarse[0], coarse[1], search)
    evidence = evidence.after(None if past is None else past.evidence, _FADE)
    fields = fields_of(evidence, search)
    compared = compare(mattes, fields)
    carried, claimed = compared.carried, compared.claimed
    other = F.avg_pool2d(carried[0], 2)
    agreed = torch.minimum(coarse[0], other)[0]
    # Where the eyes agree on nothing yet, what either holds must do.
    weight = agreed + 1e-3 * torch.maximum(coarse[0], other)[0]
    added = torch.stack([(weight * fields[0]).sum(), weight.sum()])
    reference = added if past is None else added + _REFERENCE_FADE * past.reference
    subject = reference[0] / reference[1].clamp(min=1e-6)
    figures = torch.cat([compared.figures, added])
    observed = Observed(pictures, mattes, fields, carried, claimed, cost, subject, figures)
    return observed, Past(evidence, reference)


def fields_of(evidence: Evidence, search: Search) -> list[Tensor]:
    left = mean_cost(evidence)
    right = to_right_eye(left, search, 1.0)
    return [best_disparity(left, search), best_disparity(right, search)]


@dataclass(frozen=True, slots=True)
class Compared:
    """The mattes of one frame, each carried to the other eye; see `Observed`.

    Attributes:
        figures: disagreement and union in pixels.
    """

    carried: list[Tensor]
    claimed: list[Tensor]
    figures: Tensor


def compare(mattes: Tensor, fields: list[Tensor]) -> Compared:
    carried, claimed, union = [], [], mattes.new_zeros(())
    for eye in (0, 1):
        fine = enlarge_field(fields[eye], mattes.shape[-2:])
        carried.append(carry(mattes[1 - eye], fine, eye))
        claimed.append(claims(mattes[eye], carried[eye], fine, eye))
        union = union + torch.maximum(mattes[eye], carried[eye]).sum() / 2
    differing = claimed[0].sum() + claimed[1].sum()
    return Compared(carried, claimed, torch.stack([differing, union]))


class Observer(Protocol):
    """Compares the eyes of a segment's frames, in order. Not thread-safe."""

    def observe(self, pictures: Tensor, mattes: Tensor) -> Observed: ...


class PlainObserver:
    """See `Observer`: by single calls."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self._past: Past | None = None

    def observe(self, pictures: Tensor, mattes: Tensor) -> Observed:
        observed, self._past = observe(pictures, mattes, self._search, self._past)
        return observed


@dataclass(frozen=True, slots=True)
class Shape:
    """What one graph is for.

    Attributes:
        size: of the field, ``(h, w)``.
        stream: what one lane left on its stream is done before the next begins there.
    """

    size: tuple[int, int]
    search: Search
    device: torch.device
    stream: int


class GraphedObserver:
    """See `Observer`: all calls at once, in memory that stays where it is.

    It begins as `PlainObserver` does: nothing of the frames before is as good as zeros.
    """

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        height, width = shape.size
        zeros = torch.zeros(2, 3, height, width, device=shape.device)
        self._pictures = zeros
        self._mattes = zeros.new_zeros(2, 1, 2 * height, 2 * width)
        volume = zeros.new_zeros(shape.search.count, height, width)
        self._past = Past(Evidence(volume, volume.clone()), zeros.new_zeros(2))
        observed, _ = self._observed()
        self._sizes = [part.shape for part in _parts(observed)]
        self._answer = torch.cat([part.flatten() for part in _parts(observed)])
        self._run: Callable[[], None] = self._work

    def rewind(self) -> None:
        for place in _state(self._past):
            place.zero_()

    def observe(self, pictures: Tensor, mattes: Tensor) -> Observed:
        self._pictures.copy_(pictures)
        self._mattes.copy_(mattes)
        self._run()
        flat = self._answer.clone()  # the next frame's comes to the same place
        flat_parts = torch.split(flat, [size.numel() for size in self._sizes])
        parts = [part.view(size) for part, size in zip(flat_parts, self._sizes, strict=True)]
        return Observed(pictures, mattes, parts[:2], parts[2:4], parts[4:6], *parts[6:])

    def capture(self, capture: Capture) -> str | None:
        """Make a graph of the work and use it; why not, if not."""
        generator = torch.Generator().manual_seed(1)  # noise, so that a wrong answer shows
        noise = [
            [
                torch.rand(place.shape, generator=generator)
                for place in (self._pictures, self._mattes)
            ]
            for _ in range(_TRIAL_FRAMES)
        ]
        expected = self._trial(noise)
        try:
            self._run = capture(self._work)
            found = self._trial(noise)
        except RuntimeError as error:
            self._run = self._work
            return (str(error).splitlines() or [type(error).__name__])[0]
        finally:
            self.rewind()
        if all(map(torch.equal, found, expected)):
            return None
        self._run = self._work
        return "it does not give the same bits"

    def _observed(self) -> tuple[Observed, Past]:
        return observe(self._pictures, self._mattes, self.shape.search, self._past)

    def _work(self) -> None:
        observed, past = self._observed()
        torch.cat([part.flatten() for part in _parts(observed)], out=self._answer)
        for place, value in zip(_state(self._past), _state(past), strict=True):
            place.copy_(value)

    def _trial(self, frames: list[list[Tensor]]) -> list[Tensor]:
        self.rewind()
        found: list[Tensor] = []
        for pictures, mattes in frames:
            found += _parts(self.observe(pictures, mattes))
        return found + [place.clone() for place in _state(self._past)]


def _parts(observed: Observed) -> list[Tensor]:
    """What is made of a frame, in the order of `Observed`."""
    lists = [*observed.fields, *observed.carried, *observed.claimed]
    return [*lists, observed.cost, observed.subject, observed.figures]


def _state(past: Past) -> tuple[Tensor, Tensor, Tensor]:
    return past.evidence.cost, past.evidence.weight, past.reference


_idle: deque[GraphedObserver] = deque(maxlen=_IDLE)  # appended to without the lock
_idle_lock = threading.Lock()
_told: set[str] = set()


@torch.inference_mode(False)
def graphed_observer(shape: Shape, capture: Capture, user: object) -> GraphedObserver:
    """One that is at its beginning, until `user` is gone; the next segment takes it then."""
    observer = _from_idle(shape)
    if observer is None:
        with capture_lock:
            observer = GraphedObserver(shape)
            why_not = observer.capture(capture)
        if why_not is not None and why_not not in _told:
            _told.add(why_not)
            _log.warning("no_cuda_graph", of="stereo", reason=why_not)
    weakref.finalize(user, _idle.append, observer).atexit = False
    return observer


def _from_idle(shape: Shape) -> GraphedObserver | None:
    with _idle_lock:
        for _ in range(len(_idle)):
            observer = _idle.popleft()
            if observer.shape == shape:
                observer.rewind()
                return observer
            _idle.append(observer)
    return None
