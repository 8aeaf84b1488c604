"""`prores`: ProRes 4444 with alpha in MOV, for editors.

The colour is straight (not multiplied by alpha) and black where alpha is 0; 10 bit, and chroma as
fine as luma, so that edges keep their colour.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from pipeline.deliverables.format import Format
from pipeline.deliverables.formats import PRORES
from pipeline.deliverables.movie import Transparent
from pipeline.pixels.color import YuvFormat, rgba_planes_444
from pipeline.pixels.fine import one_colour
from pipeline.pixels.layers import Layers


class ProRes(Transparent):
    """See `pipeline.deliverables.base.Deliverable`."""

    format: ClassVar[Format] = PRORES
    container: ClassVar[Literal["webm", "mp4", "mov"]] = "mov"
    pixel_formats: ClassVar[tuple[str, ...]] = ("yuva444p10le", "yuva444p12le")

    def _pixel_formats(self) -> tuple[str, ...]:
        return self.pixel_formats  # of any source

    def planes(self, layers: Layers) -> Tensor:
        (rgb, alpha), fine = self._eyes_joined(layers), self._fine(layers)
        form = YuvFormat(self._tags.matrix, full_range=False, bit_depth=10)
        count, _, height, width = rgb.shape
        out = torch.empty(count, height * width * 4, dtype=torch.int16, device=rgb.device)
        for t in range(count):
            colour = one_colour(rgb[t], None if fine is None else fine[t])
            rgba_planes_444(colour, alpha[t, 0].float(), form, out[t])
        return out.view(torch.uint8)

    def _encoder_options(self) -> list[str]:
        return [
            *("-c:v", "prores_ks", "-profile:v", "4444", "-vendor", "apl0"),
            *("-alpha_bits", "16", "-pix_fmt", "yuva444p10le"),
            *("-threads", str(self._settings.encoding.encoder_threads)),
        ]
