"""Whether an engine may be trusted: its first answers beside torch's.

Known faults of engines are black pictures and numbers that are none, in 16 bits, and crashes of
files that were built for something else.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.engines.engine import Example, Runner

#: How far answers and states may be from torch's in 32 bits, at any value; far above what rounding
#: does, and below what anybody sees.
MOST = 0.01

#: The same in 16 bits, on average over a tensor: what two kinds of device may differ by.
MOST_MEAN = 1 / 255

#: Calls that are compared, one after the other, so that states count.
_CALLS = 3

#: A picture whose values vary by less than this share of torch's is a single colour.
_LEAST_SPREAD = 0.05


@torch.inference_mode()
def distrust(runner: Runner, reference: Runner, example: Example) -> str | None:
    """Why `runner` is not to be trusted, in words; None: it is. Both are at their beginning after.

    Args:
        reference: the same network by torch.
    """
    half = any(each.dtype == torch.float16 for each in example.given)
    generator = torch.Generator().manual_seed(1)  # noise, so that a wrong answer shows
    try:
        for _ in range(_CALLS):
            given = [
                torch.rand(each.shape, generator=generator).to(each.device)
                for each in example.given
            ]
            answers, right = runner(*given), reference(*given)
            if example.shown is not None:
                answers, right = example.shown(given, answers), example.shown(given, right)
            pairs = zip((*answers, *runner.states), (*right, *reference.states), strict=True)
            for found, expected in pairs:
                if why := _fault(found.float(), expected.float(), half):
                    return why
    finally:
        runner.rewind()
        reference.rewind()
    return None


def _fault(found: Tensor, expected: Tensor, half: bool) -> str | None:
    if found.shape != expected.shape:
        return f"its answer has the shape {tuple(found.shape)}, not {tuple(expected.shape)}"
    if not bool(found.isfinite().all()):
        return "its answer holds numbers that are none (NaN or infinity)"
    spread = float(expected.std()) if expected.numel() > 1 else 0.0
    if spread > MOST_MEAN and float(found.std()) < _LEAST_SPREAD * spread:
        return "its answer is a single colour, where torch's is a picture"
    difference = (found - expected).abs()
    if half:
        mean = float(difference.mean())
        return f"it differs from torch by {mean:.4f} on average" if mean > MOST_MEAN else None
    worst = float(difference.max())
    return f"it differs from torch by {worst:.3f}" if worst > MOST else None
