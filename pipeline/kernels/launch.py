"""Launches a Triton kernel, and tells whoever counts how many bytes it reads and writes.

Tensors without memory (PyTorch's ``meta`` device) are counted, and nothing is launched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor

#: (the kernel's name, bytes that it reads, bytes that it writes), each byte once.
Watcher = Callable[[str, int, int], None]

_watchers: list[Watcher] = []


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Have `watcher` told of every launch of this process."""
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)


def launch(
    kernel: Any,
    grid: tuple[int, int, int],
    reads: Sequence[Tensor | None],
    writes: Sequence[Tensor | None],
    scalars: Sequence[float | tuple[float, ...]],
    switches: dict[str, int],
) -> None:
    """Start `kernel` on PyTorch's current stream.

    The compiler contracts no products and sums: kernels do so where PyTorch's operations do.

    Args:
        kernel: takes what it reads, what it writes, `scalars`, and `switches` as its constants, in
            this order.
        grid: programs along x, y and z.
        reads, writes: None where a switch says that there is nothing.
    """
    for watcher in _watchers:
        watcher(kernel.__name__, _bytes(reads), _bytes(writes))
    tensors = [*reads, *writes]
    some = next(each for each in tensors if each is not None)
    if some.is_meta:
        return
    # A pointer that no switch lets it follow must still have a type.
    pointers = [some if each is None else each for each in tensors]
    kernel[grid](*pointers, *scalars, **switches, enable_fp_fusion=False)


def _bytes(tensors: Sequence[Tensor | None]) -> int:
    return sum(each.numel() * each.element_size() for each in tensors if each is not None)
