"""`Site`: what a step works with. In a rehearsal: the CPU, small pictures, software encoders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from orchestrator.gpu_check.cards import Engines, decodes, encodes, engines_of
from orchestrator.gpu_check.machine import Machine
from orchestrator.gpu_check.results import Result
from pipeline.errors import MachineError

if TYPE_CHECKING:
    import torch

    from pipeline.contract import MattingSettings

#: The checkout, with tests and benchmarks.
ROOT = Path(__file__).resolve().parents[2]

#: Takes a result as soon as it is there.
Tell = Callable[[Result], None]


@dataclass(frozen=True, slots=True)
class Site:
    """Attributes:
    folder: of the whole check; all that steps write is in it.
    ready_clips: a folder of clips that need not be made; None: there is none.
    """

    machine: Machine
    folder: Path
    ready_clips: Path | None = None
    rehearsal: bool = False

    @property
    def device(self) -> torch.device:
        import torch

        return torch.device("cpu") if self.rehearsal else torch.device("cuda", 0)

    @property
    def decoder(self) -> str:
        """What decodes where the GPU has an engine for it, as `FrameReader.decoder` says it."""
        return "CPU" if self.rehearsal else "NVDEC"

    @property
    def gpus(self) -> str:
        """For `--gpus`: the first one."""
        return "none" if self.rehearsal else "0"

    @property
    def large(self) -> tuple[int, int]:
        """Width and height of both eyes at 8K."""
        return (512, 256) if self.rehearsal else (8192, 4096)

    @property
    def engines(self) -> Engines | None:
        return engines_of(self.machine.capability)

    def decodes(self, codec: str) -> bool | None:
        """What the table says of NVDEC; nothing of a part of a GPU, which may have none."""
        divided = bool(self.machine.cards and self.machine.cards[0].parts)
        return None if divided else decodes(self.engines, codec)

    def encodes(self, codec: str) -> bool | None:
        return encodes(self.engines, codec)

    def work_folder(self, name: str) -> Path:
        """A folder below `folder`, which is made."""
        made = self.folder / "work" / name
        made.mkdir(parents=True, exist_ok=True)
        return made

    def rvm(self) -> MattingSettings:
        """RVM as it is here; in a rehearsal `chroma` where it is not.

        Raises:
            MachineError: it is not here, and is not fetched while a GPU waits.
        """
        from pipeline.contract import MattingSettings
        from pipeline.stages.matting.rvm.weights import missing, settle

        matting = MattingSettings(model="rvm")
        lacks = missing(matting)
        if lacks is None:
            return settle(matting)
        if self.rehearsal:
            return MattingSettings(model="chroma")
        raise MachineError(f"{lacks}: run `vrmatte models fetch --model rvm` before")


class Run(Protocol):
    """What a step does. An exception is a failure of the step."""

    def __call__(self, site: Site, tell: Tell) -> None: ...
