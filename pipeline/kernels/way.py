"""`Way`: how the work on whole pictures is done on a device. By PyTorch's operations here."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from pipeline.pixels import alphapack, color, lines, screen, shrink
from pipeline.pixels.color import Pictures, YuvFormat


class Way:
    """What every device can do, and what each other way must equal.

    Attributes:
        notes: what is done by PyTorch although kernels were asked for, and why: by its name.
    """

    @property
    def notes(self) -> dict[str, str]:
        return {}

    def yuv_to_rgb(
        self,
        planes: tuple[Tensor, Tensor, Tensor],
        form: YuvFormat,
        out: Tensor,
        fine: Tensor | None = None,
    ) -> None:
        """See `pipeline.pixels.color.yuv_to_rgb`."""
        color.yuv_to_rgb(planes, form, out, fine)

    def draw(
        self, pictures: Tensor, slope: Tensor, offset: Tensor, foreground: Tensor, alpha: Tensor
    ) -> None:
        """See `pipeline.pixels.lines.draw`."""
        lines.draw(pictures, slope, offset, foreground, alpha)

    def shrink(self, planes: Tensor, size: tuple[int, int]) -> Tensor:
        """See `pipeline.pixels.shrink.shrink`."""
        return shrink.shrink(planes, size)

    def rgba_planes(
        self,
        rgb: Tensor | Pictures,
        alpha: Tensor | Pictures,
        form: YuvFormat,
        fine: Tensor | Pictures | None = None,
    ) -> Tensor:
        """See `pipeline.pixels.color.rgba_planes`."""
        return color.rgba_planes(rgb, alpha, form, fine)

    def screen_planes(
        self,
        rgb: Tensor | Pictures,
        alpha: Tensor | Pictures,
        over: Sequence[float],
        form: YuvFormat,
        fine: Tensor | Pictures | None = None,
        *,
        as_rgb: bool = False,
    ) -> Tensor:
        """See `pipeline.pixels.screen.screen_planes`."""
        return screen.screen_planes(rgb, alpha, over, form, fine, as_rgb=as_rgb)

    def packed_planes(self, eyes: Tensor, alpha: Tensor, form: YuvFormat) -> Tensor:
        """See `pipeline.pixels.alphapack.packed_planes`."""
        return alphapack.packed_planes(eyes, alpha, form)


TORCH = Way()
