"""Have an engine built, or compared with torch once more, in a child process on the device.

The child is `orchestrator/engines/build_child.py`, with the environment of a worker.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from orchestrator.child_module import run_module
from pipeline.contract import VideoInfo, VideoSettings
from pipeline.engines.compiled_files import Key
from workers.launch import WORKER_ENVIRONMENT, visible_devices


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """What is built.

    Attributes:
        info, settings: of a video whose frames go through the network.
        key: of the engine.
        folder: where it is kept.
    """

    info: VideoInfo
    settings: VideoSettings
    key: Key
    folder: str


@dataclass(frozen=True, slots=True)
class EngineAnswer:
    """What came of it.

    Attributes:
        digest: of the file that may be trusted; empty where it is refused.
        refused: why, in words.
    """

    digest: str
    refused: str | None


#: Watches a child: given its number, it returns what is called when the child has ended.
Watch = Callable[[int], Callable[[], None]]


class BuildEngine(Protocol):
    """`build_engine`, or a double of it."""

    def __call__(
        self, request: EngineRequest, device: int | str, watch: Watch | None = None
    ) -> EngineAnswer: ...


def build_engine(
    request: EngineRequest, device: int | str, watch: Watch | None = None
) -> EngineAnswer:
    """Build it if it is not kept, and compare it with torch.

    Args:
        device: a GPU's number, or ``"cpu"``.

    Raises:
        MachineError: the child failed; what it said last.
    """
    from pydantic import TypeAdapter

    environment = {k: v for k, v in WORKER_ENVIRONMENT.items() if k not in os.environ}
    environment["CUDA_VISIBLE_DEVICES"] = visible_devices(device, os.environ)
    environment["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    with tempfile.TemporaryDirectory(prefix="vrmatte-engine-") as name:
        asked, answer = Path(name, "request.json"), Path(name, "answer.json")
        asked.write_bytes(TypeAdapter(EngineRequest).dump_json(request))
        torch_name = "cpu" if device == "cpu" else "cuda:0"  # the only one that it sees
        arguments = [str(asked), str(answer), torch_name]
        run_module("orchestrator.engines.build_child", arguments, environment, watch)
        return TypeAdapter(EngineAnswer).validate_json(answer.read_bytes())
