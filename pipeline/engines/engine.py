"""`Engine`: the interface of what runs a network, and `Runners`, which hands out what it makes.

Tensors go in, tensors come out, some of them are handed on to the next call. What they mean is
nobody's business here.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

#: What a person sees of a network's answers: ``(given, answers) -> tensors``.
Shown = Callable[[Sequence[Tensor], Sequence[Tensor]], Sequence[Tensor]]


@dataclass(frozen=True, slots=True)
class Example:
    """What a network will be called with: ``network(*given, *states) -> (*answers, *states)``.

    Attributes:
        given: of the shapes, types and device of all inputs to come. Their values do not matter.
        states: zeros, likewise; what a call returns last is given to the next one. They stay in
            32 bits, whatever the network works in.
        most_batch: where the first dimension of all inputs may be from 1 to this (eyes, or eyes
            and frames of a chunk); None: it is as in the example.
        shown: what is compared of the answers before an engine is trusted; None: they themselves.
    """

    given: tuple[Tensor, ...]
    states: tuple[Tensor, ...] = ()
    most_batch: int | None = None
    shown: Shown | None = None

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return (*self.given, *self.states)

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        return tuple(tuple(each.shape) for each in self.given)


class Runner(Protocol):
    """A network for inputs of one shape, with the state of who has it. Not thread-safe."""

    @property
    def states(self) -> Sequence[Tensor]:
        """The states after the last call, float32; to be read, and written in place."""
        ...

    def rewind(self) -> None:
        """Begin afresh: all states are zero."""
        ...

    def __call__(self, *given: Tensor) -> Sequence[Tensor]:
        """The answers; valid until the next call.

        Args:
            given: as in the example; their floating type may be another.
        """
        ...


class Engine(Protocol):
    """One way to run networks. Thread-safe."""

    def load(self, network: nn.Module, example: Example) -> Runner:
        """Make the network ready; may take seconds, or a minute.

        Raises:
            MachineError: it cannot be had, or gives wrong answers.
        """
        ...


Key = TypeVar("Key", bound=Hashable)


class Runners(Generic[Key]):
    """Runners by what they are for: one a segment, kept for the next one. Thread-safe.

    Which of several equal ones a segment gets does not matter.

    Args:
        make: makes one; called by one thread at a time.
        most_idle: that are kept.
    """

    def __init__(self, make: Callable[[Key], Runner], most_idle: int) -> None:
        self._make = make
        self._lock = threading.Lock()
        # Appended to without the lock.
        self._idle: deque[tuple[Key, Runner]] = deque(maxlen=most_idle)

    @torch.inference_mode()
    def take(self, key: Key) -> Runner:
        """One that is at its beginning, to have alone until it is given back."""
        with self._lock:
            for _ in range(len(self._idle)):
                kept, runner = self._idle.popleft()
                if kept == key:
                    runner.rewind()
                    return runner
                self._idle.append((kept, runner))
            return self._make(key)

    def give_back(self, key: Key, runner: Runner) -> None:
        """Without the lock, for it may be the garbage collector that calls."""
        self._idle.append((key, runner))
