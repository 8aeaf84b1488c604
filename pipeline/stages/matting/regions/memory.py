"""What a recurrent network remembers of a box, for another box: moved with the picture."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.stages.matting.regions.boxes import Box

#: Recurrent state of a box, ``[E, C, h, w]`` each, the first at half the network's input, each
#: further one at half the size of the one before; empty: at the beginning.
Memory = tuple[Tensor, ...]


def carried(remembered: Sequence[tuple[Box, Memory]], box: Box) -> Memory:
    """What is remembered of the box by those before it that overlap it; nothing elsewhere.

    A place takes what the nearest cell before it held: exact where a box moves on the grid of
    `boxes`, within half a cell elsewhere.
    """
    known = [(old, memory) for old, memory in remembered if memory and old.overlap(box)]
    if not known:
        return ()
    height, width = box.network_size
    made = []
    for level in range(len(known[0][1])):
        height, width = (height + 1) // 2, (width + 1) // 2
        example = known[0][1][level]
        target = example.new_zeros(*example.shape[:2], height, width)
        for old, memory in known:
            before = memory[level]
            rows, down = _cells(box.top, box.height, height, old.top, old.height, before.shape[-2])
            columns, across = _cells(
                box.left, box.width, width, old.left, old.width, before.shape[-1]
            )
            rows, columns = rows.to(before.device), columns.to(before.device)
            down, across = down.to(before.device), across.to(before.device)
            part = before.index_select(-2, rows).index_select(-1, columns)
            target[..., down[:, None], across] = part
        made.append(target)
    return tuple(made)


def _cells(
    begin: int, length: int, count: int, old_begin: int, old_length: int, old_count: int
) -> tuple[Tensor, Tensor]:
    """Along one side: of the cells of the old box those that are needed, and where they go."""
    middle = begin + (torch.arange(count, dtype=torch.float64) + 0.5) * (length / count)
    place = ((middle - old_begin) / (old_length / old_count) - 0.5).round().long()
    target = torch.nonzero((place >= 0) & (place < old_count))[:, 0]
    return place[target], target
