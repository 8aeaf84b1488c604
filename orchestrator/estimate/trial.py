"""Trials: run the stages of some frames, each alone, in a child process; the speeds found.

The child is `orchestrator/estimate/trial_child.py`, with the environment of a worker.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.child_module import run_module
from pipeline.contract import Finding, VideoInfo, VideoSettings
from workers.launch import WORKER_ENVIRONMENT, visible_devices


class IndexGoneError(Exception):
    """A trial needs a video's frame index, which went with its finished work: probe it again."""


def require_index(path: Path) -> None:
    """Raises IndexGoneError."""
    if not path.is_file():
        raise IndexGoneError


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage while nothing else ran; each figure is a sum over `frames`.

    Attributes:
        name: decode, a stage of the chain, or "planes NAME" and "encode NAME" of a format.
        cpu_s: of all threads and children.
    """

    name: str
    frames: int
    wall_s: float
    cpu_s: float

    @property
    def frames_per_second(self) -> float:
        return self.frames / self.wall_s if self.wall_s > 0 else 0.0


@dataclass(frozen=True, slots=True)
class CodedBytes:
    """What the pictures of one format took; sums of bytes, without container and sound.

    Attributes:
        keyframes, others: how many there were of each; at least one of either.
    """

    format: str
    keyframes: int
    keyframe_bytes: int
    others: int
    other_bytes: int


@dataclass(frozen=True, slots=True)
class Stages:
    """All stages, one after the other in one process.

    Attributes:
        decoder: what decoded, in words.
        chunk_frames: frames given to the network at once.
        warmup_frames: computed and thrown away before each segment but a video's first.
        import_s, load_s, prepare_s: importing libraries, loading the model, and what it looks at
            before a video's first segment; in no stage.
        coded: of each format, how large it came out.
        findings: of the chain's stages, about the frames that were tried; none where a run would
            follow prompts, which a trial does not.
    """

    device: str
    decoder: str
    chunk_frames: int
    warmup_frames: int
    import_s: float
    load_s: float
    prepare_s: float
    stages: tuple[Stage, ...]
    coded: tuple[CodedBytes, ...] = ()
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class StageRequest:
    """What is measured: frames ``start..stop`` of a video, or as many as memory holds.

    Attributes:
        index_path: the video's frame index.
    """

    info: VideoInfo
    settings: VideoSettings
    start: int
    stop: int
    index_path: str

    def middle(self, num_frames: int) -> StageRequest:
        """The same for so many frames in the middle: a title, or a room that nobody has entered
        yet, tells little of how large the outputs will be."""
        start = self.start + max(0, self.stop - self.start - num_frames) // 2
        return replace(self, start=start, stop=min(self.info.num_frames, start + num_frames))


def stages_alone(request: StageRequest, device: int | str) -> Stages:
    """Measure the stages on a worker's device, with its environment and threads.

    Args:
        device: a GPU's number, or ``"cpu"``.

    Raises:
        MachineError: it failed; what it said last.
    """
    from pydantic import TypeAdapter

    environment = {k: v for k, v in WORKER_ENVIRONMENT.items() if k not in os.environ}
    environment["CUDA_VISIBLE_DEVICES"] = visible_devices(device, os.environ)
    environment["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    with tempfile.TemporaryDirectory(prefix="vrmatte-stages-") as name:
        asked, answer = Path(name, "request.json"), Path(name, "stages.json")
        asked.write_bytes(TypeAdapter(StageRequest).dump_json(request))
        torch_name = "cpu" if device == "cpu" else "cuda:0"  # the only one that it sees
        run_module(
            "orchestrator.estimate.trial_child", [str(asked), str(answer), torch_name], environment
        )
        return TypeAdapter(Stages).validate_json(answer.read_bytes())
