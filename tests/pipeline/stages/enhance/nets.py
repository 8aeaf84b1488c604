"""Small networks in ncnn's format, written out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline.stages.enhance.ncnn import NcnnNetwork, parse

#: Twice as large: a residual of two convolutions on nearest neighbours; reaches 3 pixels far.
GRAPH = """7767517
10 12
Input     data     0 1 data
Split     copies   1 2 data a b
Convolution first  1 1 a c 0=4 1=3 4=1 5=1 6=108
Swish     bend     1 1 c d
Convolution second 1 1 d e 0=12 1=5 4=2 5=1 6=1200
PReLU     slopes   1 1 e f 0=12
PixelShuffle up    1 1 f g 0=2
Interp    near     1 1 b h 0=1 1=2.000000e+00 2=2.000000e+00
BinaryOp  half     1 1 g i 0=2 1=1 2=5.000000e-01
BinaryOp  sum      2 1 i h out
"""


def weights(seed: int = 0) -> dict[str, Tensor]:
    """Of `GRAPH`, by names of its layers."""
    chance = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=chance) * 0.2

    return {
        "first": draw(4, 3, 3, 3),
        "first bias": draw(4),
        "second": draw(12, 4, 5, 5),
        "second bias": draw(12),
        "slopes": draw(12),
    }


def stored(given: dict[str, Tensor], *, half: bool = False) -> bytes:
    """As a ``.bin``."""

    def flagged(tensor: Tensor) -> bytes:
        if not half:
            return bytes(4) + tensor.numpy().astype("<f4").tobytes()
        content = tensor.numpy().astype("<f2").tobytes()
        return (0x01306B47).to_bytes(4, "little") + content + bytes(-len(content) % 4)

    parts = [flagged(given["first"]), given["first bias"].numpy().astype("<f4").tobytes()]
    parts += [flagged(given["second"]), given["second bias"].numpy().astype("<f4").tobytes()]
    parts += [given["slopes"].numpy().astype("<f4").tobytes()]
    return b"".join(parts)


def network(seed: int = 0) -> NcnnNetwork:
    return NcnnNetwork(parse(GRAPH), stored(weights(seed)))


def written(folder: Path, graph: str = GRAPH, data: bytes | None = None) -> tuple[Path, Path]:
    """Both files in a folder."""
    param, content = folder / "net.param", folder / "net.bin"
    param.write_text(graph)
    content.write_bytes(stored(weights()) if data is None else data)
    return param, content


def noise(*shape: int, seed: int = 1) -> Tensor:
    """uint8."""
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))
