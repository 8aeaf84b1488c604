"""Batches of frames: frozen values that check their own shape.

A batch holds consecutive frames of one video. `start` counts frames of the *output*, which is the
source at its constant frame rate, from 0 at the beginning of the video.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def describe(tensor: Tensor) -> str:
    """Kind, shape and device of a tensor, never its values."""
    return f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}@{tensor.device}"


def require_fine(fine: Tensor | None, rgb: Tensor) -> None:
    """Raises ValueError unless `fine` fits to a picture of 8 bits (`pipeline.pixels.fine`)."""
    if fine is not None:
        fits = fine.shape == rgb.shape and fine.dtype == torch.int8 and rgb.dtype == torch.uint8
        require(fits, f"fine must be int8 of the shape of {describe(rgb)}", fine)


def require(condition: bool, what: str, tensor: Tensor) -> None:
    """Raises ValueError with `what` and the tensor's shape unless `condition` holds."""
    if not condition:
        raise ValueError(f"{what}, got {describe(tensor)}")


@dataclass(frozen=True, slots=True, repr=False)
class FrameBatch:
    """Whole pictures as the file shows them, upright, both eyes in one picture.

    Attributes:
        rgb: uint8 ``[T, 3, H, W]``, 0..255, H and W even (odd sources are padded).
        start: number of the first frame.
        seen: bool ``[E, 1, H', W']``: where the file shows anything in each eye, the same in all
            frames of a video; None: everywhere.
        fine: int8 ``[T, 3, H, W]``, what `rgb` leaves out of a source of more bits
            (`pipeline.pixels.fine`); None where no format wants it.
    """

    rgb: Tensor
    start: int
    seen: Tensor | None = None
    fine: Tensor | None = None

    def __post_init__(self) -> None:
        shape_ok = self.rgb.ndim == 4 and self.rgb.shape[1] == 3 and self.rgb.dtype == torch.uint8
        require(shape_ok, "rgb must be uint8 [T,3,H,W]", self.rgb)
        even = self.rgb.shape[2] % 2 == 0 and self.rgb.shape[3] % 2 == 0
        require(even, "rgb must have even height and width", self.rgb)
        require_fine(self.fine, self.rgb)

    def __len__(self) -> int:
        return self.rgb.shape[0]

    @property
    def stop(self) -> int:
        return self.start + len(self)

    def tensors(self) -> list[Tensor]:
        """Those that are made for this batch alone; `seen` is the video's."""
        return [self.rgb] if self.fine is None else [self.rgb, self.fine]

    def __repr__(self) -> str:
        return f"FrameBatch({self.start}..{self.stop}, rgb={describe(self.rgb)})"


@dataclass(frozen=True, slots=True, repr=False)
class EyeBatch:
    """The same frames as single eyes; E is 1 for mono and 2 for stereo, left eye first.

    Attributes:
        rgb: uint8 ``[T, E, 3, H, W]``, 0..255.
        start: number of the first frame.
        seen: as in `FrameBatch`.
        fine: int8 ``[T, E, 3, H, W]``, as in `FrameBatch`; models are never given it.
    """

    rgb: Tensor
    start: int
    seen: Tensor | None = None
    fine: Tensor | None = None

    def __post_init__(self) -> None:
        shape_ok = (
            self.rgb.ndim == 5
            and self.rgb.shape[1] in (1, 2)
            and self.rgb.shape[2] == 3
            and self.rgb.dtype == torch.uint8
        )
        require(shape_ok, "rgb must be uint8 [T,E,3,H,W] with E 1 or 2", self.rgb)
        require_fine(self.fine, self.rgb)

    def __len__(self) -> int:
        return self.rgb.shape[0]

    @property
    def stop(self) -> int:
        return self.start + len(self)

    @property
    def eyes(self) -> int:
        return self.rgb.shape[1]

    def __repr__(self) -> str:
        return f"EyeBatch({self.start}..{self.stop}, rgb={describe(self.rgb)})"


@dataclass(frozen=True, slots=True, repr=False)
class MatteBatch:
    """What a model made of an `EyeBatch` of the same frames.

    Attributes:
        alpha: floating ``[T, E, 1, H, W]``, 0 (background) to 1 (subject).
        foreground: floating ``[T, E, 3, H, W]``, 0..1, the subject's own colour (despilled), or
            None where the model leaves the source's colours as they are.
        start: number of the first frame.
        objects: floating ``[T, E, N, h, w]`` of any h and w, N at most 255: how surely object n+1
            is there, of all objects the subject consists of. None where a model knows of one only.
    """

    alpha: Tensor
    foreground: Tensor | None
    start: int
    objects: Tensor | None = None

    def __post_init__(self) -> None:
        shape_ok = (
            self.alpha.ndim == 5
            and self.alpha.shape[1] in (1, 2)
            and self.alpha.shape[2] == 1
            and self.alpha.is_floating_point()
        )
        require(shape_ok, "alpha must be floating [T,E,1,H,W] with E 1 or 2", self.alpha)
        if self.foreground is not None:
            expected = (*self.alpha.shape[:2], 3, *self.alpha.shape[3:])
            fits = tuple(self.foreground.shape) == expected and self.foreground.is_floating_point()
            require(fits, f"foreground must be floating {list(expected)}", self.foreground)
        if self.objects is not None:
            fits = (
                self.objects.ndim == 5
                and self.objects.shape[:2] == self.alpha.shape[:2]
                and 1 <= self.objects.shape[2] <= 255
                and self.objects.is_floating_point()
            )
            require(fits, "objects must be floating [T,E,N,h,w] with N 1 to 255", self.objects)

    def __len__(self) -> int:
        return self.alpha.shape[0]

    @property
    def stop(self) -> int:
        return self.start + len(self)

    def __repr__(self) -> str:
        colour = "source" if self.foreground is None else describe(self.foreground)
        alpha = describe(self.alpha)
        return f"MatteBatch({self.start}..{self.stop}, alpha={alpha}, foreground={colour})"
