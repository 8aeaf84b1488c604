"""RVM's recurrent layers in 32 bits, and what an engine must know of the network.

A recurrent layer mixes what was with what is new, frame after frame: in 16 bits the rounding of
each frame would stay in the state, which turns alpha grey in the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.engines.engine import Example

#: What RVM calls a recurrent layer within its decoder's parts.
_LAYER = "gru"


class _In32Bits(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer.float()

    def forward(self, x: Tensor, before: Tensor | None) -> tuple[Tensor, Tensor]:
        made, state = self.layer(x.float(), before)
        return made.to(x.dtype), state


def recurrence_in_32_bits(network: nn.Module) -> None:
    """Have the recurrent layers work, and remember, in 32 bits; the rest stays as it is.

    Nothing changes where the network works in 32 bits. A network by its graph needs none of it: its
    operations keep 32 bits by themselves (`graph_operations.py`).
    """
    for module in list(network.modules()):
        layer: Any = getattr(module, _LAYER, None)
        if not isinstance(layer, nn.Module) or isinstance(layer, _In32Bits):
            continue
        if any(weight.dtype == torch.float16 for weight in layer.parameters()):
            setattr(module, _LAYER, _In32Bits(layer))


@torch.inference_mode()
def example_of(part: nn.Module, small: Tensor) -> Example:
    """What a network as in `coefficients.py` is called with.

    Args:
        small: ``[E, 3, h, w]``, of the type and on the device of the network.
    """
    _, _, *states = part(small)
    zeros = tuple(torch.zeros_like(state, dtype=torch.float32) for state in states)
    return Example((small,), zeros, shown=_shown)


def _shown(given: Sequence[Tensor], answers: Sequence[Tensor]) -> Sequence[Tensor]:
    """Colours and alpha of the small picture: slope and offset alone may be anything."""
    small, (slope, offset) = given[0].float(), answers
    picture = torch.cat([small, small.sum(1, keepdim=True)], 1) * 255
    made = (slope.float() * picture + offset.float()).clamp(0, 1)
    return made[:, :3], made[:, 3:]
