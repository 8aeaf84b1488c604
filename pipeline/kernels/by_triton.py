"""`KernelWay`: the work on whole pictures by one Triton kernel each. Loads Triton.

A kernel that fails, which may be when it first meets another kind of picture, is not used again in
this process: PyTorch's operations do its work, and the log and the report say so.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pipeline.kernels import colour_in, draw, planes_out, shrink
from pipeline.kernels.draw import CONTRACTIONS, Contraction
from pipeline.kernels.way import Way
from pipeline.pixels.color import Pictures, YuvFormat
from pipeline.structlog_import import structlog

_log = structlog.get_logger()

#: The device's, which no other way of the same work would mend.
_THE_DEVICES_FAULT = (torch.OutOfMemoryError, torch.AcceleratorError)


class KernelWay(Way):
    """See `Way`. Thread-safe.

    Args:
        without: what PyTorch does, and why, by its name.
        contraction: see `pipeline.kernels.draw`.
        strict: a kernel that fails raises.
    """

    def __init__(
        self,
        without: Mapping[str, str] | None = None,
        contraction: Contraction = CONTRACTIONS[0],
        *,
        strict: bool = False,
    ) -> None:
        self.contraction = contraction
        self._without = dict(without or {})
        self._strict = strict
        self._lock = threading.Lock()

    @property
    def notes(self) -> dict[str, str]:
        with self._lock:
            return dict(self._without)

    def yuv_to_rgb(
        self,
        planes: tuple[Tensor, Tensor, Tensor],
        form: YuvFormat,
        out: Tensor,
        fine: Tensor | None = None,
    ) -> None:
        kernel, torchs = colour_in.yuv_to_rgb, super().yuv_to_rgb
        self._by("yuv_to_rgb", kernel, torchs, planes, form, out, fine)

    def draw(
        self, pictures: Tensor, slope: Tensor, offset: Tensor, foreground: Tensor, alpha: Tensor
    ) -> None:
        kernel = partial(draw.draw, contraction=self.contraction)
        self._by("draw", kernel, super().draw, pictures, slope, offset, foreground, alpha)

    def shrink(self, planes: Tensor, size: tuple[int, int]) -> Tensor:
        made: Tensor = self._by("shrink", shrink.shrink, super().shrink, planes, size)
        return made

    def rgba_planes(
        self,
        rgb: Tensor | Pictures,
        alpha: Tensor | Pictures,
        form: YuvFormat,
        fine: Tensor | Pictures | None = None,
    ) -> Tensor:
        kernel, torchs = planes_out.rgba_planes, super().rgba_planes
        made: Tensor = self._by("rgba_planes", kernel, torchs, rgb, alpha, form, fine)
        return made

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
        kernel, torchs = planes_out.screen_planes, super().screen_planes
        made: Tensor = self._by(
            "screen_planes", kernel, torchs, rgb, alpha, over, form, fine, as_rgb=as_rgb
        )
        return made

    def packed_planes(self, eyes: Tensor, alpha: Tensor, form: YuvFormat) -> Tensor:
        kernel, torchs = planes_out.packed_planes, super().packed_planes
        made: Tensor = self._by("packed_planes", kernel, torchs, eyes, alpha, form)
        return made

    def _by(
        self,
        name: str,
        kernel: Callable[..., Any],
        torchs: Callable[..., Any],
        *given: Any,
        **named: Any,
    ) -> Any:
        if self._strict:
            return kernel(*given, **named)
        if name in self._without:
            return torchs(*given, **named)
        try:
            return kernel(*given, **named)
        except _THE_DEVICES_FAULT:
            raise
        except Exception as error:  # a compiler and its tools: whatever they raise
            reason = reason_of(error)
            with self._lock:
                told = self._without.setdefault(name, reason) is not reason
            if not told:
                _log.warning("kernel_by_torch", kernel=name, reason=reason)
            return torchs(*given, **named)


def reason_of(error: BaseException) -> str:
    """The last line that a compiler said, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1][:200]}" if lines else type(error).__name__
