"""Trials that a child process runs, and their results. Values only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from pipeline.contract import EncodingSettings, MattingSettings, ProcessingSettings

#: works: as it should. refused: this device does not do that, and says so. failed: it should, and
#: does not. hung: no answer within the deadline. crashed: its process ended.
Outcome = Literal["works", "refused", "failed", "hung", "crashed"]


@dataclass(frozen=True, slots=True)
class LibrariesTrial:
    """Import what a worker imports, and open its device."""

    kind: Literal["libraries"] = "libraries"


@dataclass(frozen=True, slots=True)
class KernelsTrial:
    """Compare Triton's kernels with PyTorch's operations on the device."""

    kind: Literal["kernels"] = "kernels"


@dataclass(frozen=True, slots=True)
class DecodeTrial:
    """Decode a clip to its end, and compare the pictures' brightness with PyAV's.

    Attributes:
        folder: for its frame index.
    """

    path: str
    num_frames: int
    folder: str
    kind: Literal["decode"] = "decode"


@dataclass(frozen=True, slots=True)
class ModelTrial:
    """Load a model and have it matte some frames of a scene whose true alpha is known.

    Attributes:
        on_cpu_too: compare with what the CPU gives.
    """

    matting: MattingSettings
    processing: ProcessingSettings
    on_cpu_too: bool = False
    kind: Literal["model"] = "model"


@dataclass(frozen=True, slots=True)
class FormatTrial:
    """Make one format of a clip with `chroma`: two segments, joined, with sound, and read back.

    Attributes:
        path: a clip of `orchestrator.gates.clips`.
        num_frames: how many of its frames.
        encoding: with its encoder decided.
        folder: for what is made.
    """

    path: str
    name: str
    encoding: EncodingSettings
    folder: str
    num_frames: int
    kind: Literal["format"] = "format"


@dataclass(frozen=True, slots=True)
class ReadTrial:
    """Read a finished file back.

    Attributes:
        format: the deliverable's name.
        whole: decode every frame; otherwise the first, one in the middle and the last.
        scene_frames, scene_eye: the scene whose true alpha it should show; 0: not known.
    """

    path: str
    format: str
    whole: bool
    scene_frames: int = 0
    scene_eye: int = 0
    kind: Literal["read"] = "read"


@dataclass(frozen=True, slots=True)
class DiskTrial:
    """Write a file in a folder, force it to the disk, and read it back from there.

    Attributes:
        folder: absolute; if it does not exist, its nearest parent that does is used.
    """

    folder: str
    size_bytes: int
    kind: Literal["disk"] = "disk"


@dataclass(frozen=True, slots=True)
class DriverTrial:
    """Ask NVIDIA's driver for the GPUs; a driver that hangs blocks the process that asks."""

    kind: Literal["driver"] = "driver"


@dataclass(frozen=True, slots=True)
class WeightsTrial:
    """Look for the model's weights in the cache, which may be on a network disk."""

    matting: MattingSettings
    kind: Literal["weights"] = "weights"


Trial = (
    LibrariesTrial
    | KernelsTrial
    | DecodeTrial
    | ModelTrial
    | FormatTrial
    | ReadTrial
    | DiskTrial
    | DriverTrial
    | WeightsTrial
)


@dataclass(frozen=True, slots=True)
class Tried:
    """The result of a trial.

    Attributes:
        said: the reason in words if it did not work.
        figures: numbers by name; each kind of trial has its own.
        words: texts by name, likewise.
    """

    outcome: Outcome
    said: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0


class Trials(Protocol):
    """Runs trials on one device, one after the other: `TrialProcess`, or a test's double."""

    def run(self, trial: Trial, deadline_s: float) -> Tried: ...

    def close(self) -> None: ...


#: Opens trials on a device: a GPU's number, or "cpu".
OpenTrials = Callable[[int | str], Trials]
