"""Which way works on whole pictures: Triton's kernels where they give PyTorch's bits, else PyTorch.

Kernels are tried on the device when a process first asks for its way. A kernel is used where it
gives the same bits as PyTorch's operations do there, so that the choice alters speed alone. What is
done by PyTorch instead, and why, is logged, reported, and told by the doctor.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

import torch

from pipeline.contract.processing import KernelChoice
from pipeline.kernels.trials import Trial, trials
from pipeline.kernels.way import TORCH, Way
from pipeline.structlog_import import structlog

_log = structlog.get_logger()

_lock = threading.Lock()
_kept: dict[str, Way] = {}

#: Of `Way.notes`: all of its work.
EVERYTHING = "all"


def way_on(device: torch.device, kernels: KernelChoice = "auto") -> Way:
    """The way to work on pictures that are on `device`; the first call there takes some seconds."""
    if kernels == "torch":
        return TORCH
    with _lock:
        if (found := _kept.get(str(device))) is None:
            found = _tried(device) if device.type == "cuda" else TORCH
            _kept[str(device)] = found
        return found


def keep(device: torch.device, way: Way) -> None:
    """Have `way_on` give `way` there from now on, as programs that count do."""
    with _lock:
        _kept[str(device)] = way


class _ByTorch(Way):
    """PyTorch's way where there could have been another.

    Args:
        reason: why there is none, in words.
    """

    def __init__(self, reason: str) -> None:
        self._reason = reason

    @property
    def notes(self) -> dict[str, str]:
        return {EVERYTHING: self._reason}


def _tried(device: torch.device) -> Way:
    try:
        way = tried_way(trials(device))
    except (torch.OutOfMemoryError, torch.AcceleratorError):
        raise
    except Exception as error:  # Triton may be missing, or broken in any way
        reason = (str(error).splitlines() or [""])[0][:200]
        way = _ByTorch(f"Triton does not load: {type(error).__name__}: {reason}")
    for name, reason in way.notes.items():
        _log.warning("kernel_by_torch", kernel=name, reason=reason)
    return way


def tried_way(asked: Iterable[Trial]) -> Way:
    """Triton's kernels, without those that fail or give other bits in one of the trials."""
    from pipeline.kernels.by_triton import KernelWay, reason_of
    from pipeline.kernels.draw import CONTRACTIONS

    def problem(trial: Trial, way: Way) -> str | None:
        try:
            return trial.difference(way)
        except (torch.OutOfMemoryError, torch.AcceleratorError):
            raise
        except Exception as error:  # a compiler and its tools: whatever they raise
            return reason_of(error)

    asked = list(asked)
    drawn = [trial for trial in asked if trial.name == "draw"]
    ways = (KernelWay(contraction=each, strict=True) for each in CONTRACTIONS)
    fitting = (way for way in ways if not any(problem(trial, way) for trial in drawn))
    strict = next(fitting, KernelWay(strict=True))
    without: dict[str, str] = {}
    for trial in asked:
        if trial.name not in without and (found := problem(trial, strict)) is not None:
            without[trial.name] = found
    return KernelWay(without, strict.contraction)
