"""Triton's kernels run by its interpreter, on the CPU."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest

from pipeline.kernels.way import Way

#: What Triton's decorator has seen, and so is one or the other.
_MODULES = ("arithmetic", "pictures", "colour_in", "draw", "planes_out", "shrink", "by_triton")


@contextmanager
def interpreted() -> Iterator[Callable[..., Any]]:
    """The class `KernelWay` of kernels that are interpreted; all modules are as before afterwards.

    Triton decides when a kernel is defined, so theirs are loaded anew.
    """
    package = importlib.import_module("pipeline.kernels")
    before = {name: _forget(package, name) for name in _MODULES}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        try:
            yield importlib.import_module("pipeline.kernels.by_triton").KernelWay
        finally:
            for name, module in before.items():
                _forget(package, name)
                if module is not None:
                    sys.modules[f"pipeline.kernels.{name}"] = module
                    setattr(package, name, module)


def _forget(package: ModuleType, name: str) -> ModuleType | None:
    """Have the next import load it; what was loaded of it."""
    vars(package).pop(name, None)
    return sys.modules.pop(f"pipeline.kernels.{name}", None)


def way_of(kernel_way: Callable[..., Any], **named: Any) -> Way:
    made: Way = kernel_way(strict=True, **named)
    return made
