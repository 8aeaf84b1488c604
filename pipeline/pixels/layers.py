"""`Layers`: consecutive frames with all that the stages found out about them so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from pipeline.pixels.batches import EyeBatch, MatteBatch, describe, require, require_fine


@dataclass(frozen=True, slots=True, repr=False)
class Layers:
    """The value that stages take and give: each adds a layer or changes one, for all eyes at once.

    E is 1 for mono and 2 for stereo, left eye first. All layers but `objects` have the same size.

    Attributes:
        start: number of the first frame in the output.
        rgb: the whole picture, background included; ``[T, E, 3, H, W]``, uint8 0..255 or floating
            0..1.
        alpha: floating ``[T, E, 1, H, W]``, 0 (background) to 1 (subject); None before matting.
        foreground: floating ``[T, E, 3, H, W]``, 0..1, the subject's own colour (despilled); None
            where it is the picture's.
        objects: floating ``[T, E, N, h, w]`` of any h and w, N at most 255: how surely object n+1
            is there. None where the subject is one object.
        figures: numbers of each frame that one stage leaves to later ones, by name, T of each.
        fine: int8 ``[T, E, 3, H, W]``, what 8 bits leave out of `rgb`, and so of `foreground`,
            which is made of it (`pipeline.pixels.fine`); None where no format wants it, and after a
            stage that made other pictures.
    """

    start: int
    rgb: Tensor
    alpha: Tensor | None = None
    foreground: Tensor | None = None
    objects: Tensor | None = None
    figures: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    fine: Tensor | None = None

    def __post_init__(self) -> None:
        rgb = self.rgb
        shape_ok = rgb.ndim == 5 and rgb.shape[1] in (1, 2) and rgb.shape[2] == 3
        kind_ok = rgb.dtype == torch.uint8 or rgb.is_floating_point()
        require(shape_ok and kind_ok, "rgb must be uint8 or floating [T,E,3,H,W], E 1 or 2", rgb)
        require_fine(self.fine, rgb)
        for name, layer, channels in (("alpha", self.alpha, 1), ("foreground", self.foreground, 3)):
            if layer is not None:
                expected = (*rgb.shape[:2], channels, *rgb.shape[3:])
                fits = tuple(layer.shape) == expected and layer.is_floating_point()
                require(fits, f"{name} must be floating {list(expected)}", layer)
        if self.objects is not None:
            fits = (
                self.objects.ndim == 5
                and self.objects.shape[:2] == rgb.shape[:2]
                and 1 <= self.objects.shape[2] <= 255
                and self.objects.is_floating_point()
            )
            require(fits, "objects must be floating [T,E,N,h,w] with N 1 to 255", self.objects)
        if any(len(values) != len(self) for values in self.figures.values()):
            raise ValueError(f"figures must have {len(self)} values each")

    def __len__(self) -> int:
        return self.rgb.shape[0]

    @property
    def stop(self) -> int:
        return self.start + len(self)

    @property
    def eyes(self) -> EyeBatch:
        """The pictures alone; they must be uint8."""
        return EyeBatch(self.rgb, self.start)

    @property
    def matte(self) -> MatteBatch:
        """Alpha, foreground and objects.

        Raises:
            ValueError: there is no alpha.
        """
        if self.alpha is None:
            raise ValueError(f"{self} have no alpha: no stage before gives one")
        return MatteBatch(self.alpha, self.foreground, self.start, self.objects)

    def with_matte(self, matte: MatteBatch) -> Layers:
        """The same frames with another alpha, foreground and objects."""
        return replace(self, alpha=matte.alpha, foreground=matte.foreground, objects=matte.objects)

    def part(self, first: int, stop: int) -> Layers | None:
        """Those of the frames that lie in ``first..stop``, as views; None where none do."""
        a, b = max(first, self.start), min(stop, self.stop)
        if a >= b:
            return None
        if (a, b) == (self.start, self.stop):
            return self
        cut = slice(a - self.start, b - self.start)
        return Layers(
            a,
            self.rgb[cut],
            None if self.alpha is None else self.alpha[cut],
            None if self.foreground is None else self.foreground[cut],
            None if self.objects is None else self.objects[cut],
            {name: values[cut] for name, values in self.figures.items()},
            None if self.fine is None else self.fine[cut],
        )

    def __repr__(self) -> str:
        layers = ("rgb", "fine", "alpha", "foreground", "objects")
        there = [(name, getattr(self, name)) for name in layers]
        shown = ", ".join(f"{name}={describe(t)}" for name, t in there if t is not None)
        return f"Layers({self.start}..{self.stop}, {shown})"
