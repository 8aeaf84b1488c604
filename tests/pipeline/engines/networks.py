"""A small network with a memory, and builders that fail as real ones do."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from pipeline.engines.by_torch import TorchRunner
from pipeline.engines.compiled_files import Key
from pipeline.engines.engine import Example, Runner


class Smoothing(nn.Module):
    """A picture, and what is left of those before it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3, 1, 1)

    def forward(self, picture: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        made = self.layer(picture).sigmoid()
        state = torch.lerp(before, made.float(), 0.25)
        return (made.float() + state) / 2, state


def smoothing() -> nn.Module:
    torch.manual_seed(3)
    return Smoothing().eval().requires_grad_(False)


def example(eyes: int = 2, height: int = 8, width: int = 12) -> Example:
    return Example((torch.zeros(eyes, 3, height, width),), (torch.zeros(eyes, 4, height, width),))


def pictures(count: int = 4, eyes: int = 2) -> list[Tensor]:
    generator = torch.Generator().manual_seed(7)
    return [torch.rand(eyes, 3, 8, 12, generator=generator) for _ in range(count)]


def answers(runner: Runner, frames: Sequence[Tensor]) -> list[Tensor]:
    """Answer and state of each frame."""
    found: list[Tensor] = []
    with torch.inference_mode():
        for picture in frames:
            found += [each.clone() for each in (*runner(picture), *runner.states)]
    return found


Spoil = Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]]

#: How engines are known to fail: each changes what the network gives (answer, then state).
FAULTS: dict[str, tuple[Spoil, str]] = {
    "black": (lambda made: (made[0] * 0, made[1]), "a single colour"),
    "no numbers": (lambda made: (made[0] * float("nan"), made[1]), "NaN"),
    "another picture": (lambda made: (made[0].flip(-1), made[1]), "differs from torch"),
    "a wrong state": (lambda made: (made[0], made[1] + 0.02), "differs from torch"),
    "no memory": (lambda made: (made[0], made[1] * 0), "a single colour"),
}


class StandIn:
    """A builder whose engines are torch's, spoiled.

    Args:
        spoil: what its engines give instead.
        unbuildable, unreadable: what is said where it cannot build, or open.
    """

    def __init__(
        self,
        network: nn.Module,
        spoil: Spoil = lambda made: made,
        unbuildable: str = "",
        unreadable: str = "",
    ) -> None:
        self._network = network
        self._spoil = spoil
        self._unbuildable = unbuildable
        self._unreadable = unreadable
        self.built = 0

    def build(self, network: nn.Module, example: Example) -> bytes:
        self.built += 1
        if self._unbuildable:
            raise RuntimeError(self._unbuildable)
        return b"an engine"

    def open(self, content: bytes, example: Example) -> Runner:
        if self._unreadable or content != b"an engine":
            raise RuntimeError(self._unreadable or "it is of another version\nmore")
        with torch.inference_mode():
            return TorchRunner(lambda *given: self._spoil(self._network(*given)), example)


def a_key(shapes: tuple[tuple[int, ...], ...] = ((2, 3, 8, 12),)) -> Key:
    return Key(
        engine="tensorrt",
        network="smoothing",
        weights="abc",
        shapes=shapes,
        precision="fp32",
        device="NVIDIA L4",
        versions=("driver 590.44",),
    )
