"""TorchCodec, imported without TorchDynamo: every import of torchcodec in this project goes here.

Four of TorchCodec's operators are kept out of compiled graphs when it is imported. For that alone
it loads `torch._dynamo` and the Inductor: more than half of the CPU time until a worker is ready,
and 200 MB (docs/benchmarks/010-worker-start.md). No code here compiles decoding or encoding, so
that nothing is lost without it; `torch.compile` loads TorchDynamo when it is first used.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

_NAME = "_dynamo"


class _DynamoWhileImporting:
    """Stands for `torch._dynamo`; any use but the known one loads the real module."""

    def disallow_in_graph(self, operator: Callable[..., object]) -> Callable[..., object]:
        """As the real one where nothing is compiled: it returns what it is given."""
        return operator

    def __getattr__(self, name: str) -> object:
        return getattr(importlib.import_module(f"torch.{_NAME}"), name)


@contextmanager
def _without_dynamo() -> Iterator[None]:
    """In the block, `torch._dynamo` is a stand-in, unless it is there already."""
    if f"torch.{_NAME}" in sys.modules:
        yield
        return
    stand_in = _DynamoWhileImporting()
    setattr(torch, _NAME, stand_in)
    try:
        yield
    finally:
        # Python puts the real module here when it is imported meanwhile.
        if vars(torch).get(_NAME) is stand_in:
            delattr(torch, _NAME)


with _without_dynamo():
    import torchcodec  # noqa: TID251
    from torchcodec import decoders, encoders  # noqa: TID251

__all__ = ["decoders", "encoders", "torchcodec"]
