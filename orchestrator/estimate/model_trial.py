"""Try models on a handful of a video's frames, in a child process: which of them suits it.

The child is `orchestrator/estimate/model_trial_child.py`, with the environment of a worker.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from orchestrator.child_module import run_module
from pipeline.contract import VideoInfo, VideoSettings
from workers.launch import WORKER_ENVIRONMENT, visible_devices

#: Frames that are looked at, from all over the range.
SAMPLES = 6


@dataclass(frozen=True, slots=True)
class ModelTrial:
    """What is tried.

    Attributes:
        candidates: settings of the video with each model, in order; those after the first that
            suits are not tried.
        index_path: the video's frame index.
    """

    info: VideoInfo
    candidates: tuple[VideoSettings, ...]
    index_path: str


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of one candidate, and in words what its frames showed."""

    suits: bool
    why: str


def try_models(trial: ModelTrial, device: int | str) -> list[Tried]:
    """Try the candidates on a worker's device, with its environment and threads.

    Args:
        device: a GPU's number, or ``"cpu"``.

    Returns:
        One for each candidate up to the first that suits.

    Raises:
        MachineError: it failed; what it said last.
    """
    from pydantic import TypeAdapter

    if not trial.candidates:
        return []
    environment = {k: v for k, v in WORKER_ENVIRONMENT.items() if k not in os.environ}
    environment["CUDA_VISIBLE_DEVICES"] = visible_devices(device, os.environ)
    environment["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    with tempfile.TemporaryDirectory(prefix="vrmatte-models-") as name:
        asked, answer = Path(name, "request.json"), Path(name, "tried.json")
        asked.write_bytes(TypeAdapter(ModelTrial).dump_json(trial))
        torch_name = "cpu" if device == "cpu" else "cuda:0"  # the only one that it sees
        arguments = [str(asked), str(answer), torch_name]
        run_module("orchestrator.estimate.model_trial_child", arguments, environment)
        return TypeAdapter(list[Tried]).validate_json(answer.read_bytes())
