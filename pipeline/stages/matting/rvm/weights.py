"""RVM's code and weights: where they come from, fetched once. Loads torch only to read them.

See `pipeline/stages/matting/weights.py` for how files are kept and checked.
"""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING

from pipeline.contract import MattingSettings
from pipeline.errors import MachineError
from pipeline.stages.matting.rvm.facts import RvmOptions
from pipeline.stages.matting.weights import (
    fetch_file,
    fetch_repository,
    file_missing,
    repository_is_here,
    require_sha256,
)

if TYPE_CHECKING:
    from torch import Tensor

_RELEASE = "https://github.com/PeterL1n/RobustVideoMatting/releases/download/v1.0.0"
_ADVICE = (
    "run `vrmatte models fetch` where there is a network, or set matting.rvm_repo and"
    " matting.rvm_weights to local copies, or choose a model that fetches nothing (`vrmatte models"
    " list`; for sam2: as matting.sam2_seed and matting.sam2_edge)"
)


def fetch(matting: MattingSettings) -> list[Path]:
    """Have code and weights; their places. Raises MachineError, SettingsError."""
    options = matting.of(RvmOptions)
    return [fetch_code(options), fetch_weights(options)]


def missing(matting: MattingSettings) -> str | None:
    """What is not there, in words. Looks only, and fetches nothing."""
    options = matting.of(RvmOptions)
    if not repository_is_here(options.repo):
        return "RVM's code is not here"
    return file_missing(_source(options), "RVM's weights")


def fetch_code(options: RvmOptions) -> Path:
    """The folder of RVM's code. Raises MachineError, SettingsError."""
    return fetch_repository(options.repo, "matting.rvm_repo", "RVM's code", _ADVICE)


def fetch_weights(options: RvmOptions) -> Path:
    """The weights file: a local one, or fetched to the cache; its sha256 is checked.

    Raises:
        MachineError: it cannot be fetched, or is not the file it was.
    """
    path = fetch_file(_source(options), "RVM's weights", _ADVICE)
    require_sha256(path, options.weights_sha256, "matting.rvm_weights_sha256")
    return path


def _source(options: RvmOptions) -> str:
    return options.weights or f"{_RELEASE}/rvm_{options.variant}.pth"


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Tensors by name, on the CPU; nothing in the file is run. Raises MachineError."""
    import torch

    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, UnpicklingError, EOFError, ValueError) as error:
        raise MachineError(
            f"{path} is no file of weights that can be read safely",
            "check matting.rvm_weights, or delete the file to have it fetched again",
        ) from error
    if not isinstance(loaded, dict) or not all(
        isinstance(v, torch.Tensor) for v in loaded.values()
    ):
        raise MachineError(f"{path} holds no plain state_dict", "check matting.rvm_weights")
    return dict(loaded)
