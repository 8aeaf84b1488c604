"""`rvm` on a CPU by OpenVINO: the network at its own size there, the full picture outside of it.

Frames go through one by one, so that chunks cannot matter; with the small network they gain nothing
by company.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from pathlib import Path

import cv2
import torch
from torch import Tensor, nn

from pipeline.engines.compiled_files import CompiledFiles, Key, code_digest, processor
from pipeline.engines.engine import Example, Runner, Runners
from pipeline.engines.kept import USE_TORCH, BuiltAtOnce, network_digest
from pipeline.engines.keys import library_versions
from pipeline.engines.openvino import OpenVino
from pipeline.errors import MachineError
from pipeline.pixels.batches import EyeBatch, MatteBatch
from pipeline.stages.matting.rvm.base import RvmBase
from pipeline.stages.matting.rvm.coefficients import (
    apply_coefficients,
    coefficients_of,
    parts_problem,
    shrink,
)
from pipeline.stages.matting.rvm.recurrence import example_of
from pipeline.stages.matting.rvm.sizes import network_size

#: Networks kept for the next segment when theirs has ended (0.1 GB each).
_IDLE = 2

#: Shape of the network's input ``[E, 3, h, w]``, and whether its answer is refined.
_Key = tuple[tuple[int, ...], bool]


@dataclass(slots=True, weakref_slot=True)
class _State:
    ratio: float
    runner: Runner


class OpenVinoMatting(RvmBase):
    """See `pipeline.stages.matting.base.BoxModel`.

    Args:
        network: RVM's, in fp32 on the CPU.
        ratio: network size as a share of an eye; None chooses it by the eye's size.
        threads: of one frame's computation.
        code: of the network, a file or a folder.
        kept: folder for compiled networks.

    Raises:
        MachineError: the network is not built as RVM's is.
    """

    def __init__(
        self, network: nn.Module, ratio: float | None, threads: int, code: Path, kept: Path
    ) -> None:
        if (problem := parts_problem(network)) is not None:
            raise MachineError(problem, USE_TORCH)
        cv2.setNumThreads(threads)
        super().__init__(ratio)
        self._parts = {refine: coefficients_of(network, refine) for refine in (False, True)}
        self._weights = f"{network_digest(network)} {_code(code)}"
        builder = OpenVino(threads, torch.device("cpu"))
        self._options = str({name: str(value) for name, value in builder.options.items()})
        self._engine = BuiltAtOnce("OpenVINO", builder, CompiledFiles(kept), self._key)
        self._runners = Runners(self._make, _IDLE)

    def begin(self, eyes: int, height: int, width: int, ratio: float, refine: bool) -> _State:
        key = (eyes, 3, *network_size(height, width, ratio)), refine
        runner = self._runners.take(key)
        state = _State(ratio, runner)
        weakref.finalize(state, self._runners.give_back, key, runner).atexit = False
        return state

    @torch.inference_mode()
    def look(self, picture: Tensor, looking: _State) -> Tensor:
        looking.runner.rewind()
        _, offset = looking.runner(shrink(picture, looking.ratio))
        return offset[:, 3].clamp(0, 1)

    def memory(self, state: _State) -> tuple[Tensor, ...]:
        return tuple(state.runner.states)

    @torch.inference_mode()
    def remember(self, state: _State, memory: tuple[Tensor, ...]) -> None:
        for place, value in zip(state.runner.states, memory, strict=True):
            place.copy_(value)

    @torch.inference_mode()
    def matte(self, eyes: EyeBatch, state: _State) -> MatteBatch:
        frames, count, _, height, width = eyes.rgb.shape
        foreground = torch.empty(frames, count, 3, height, width)
        alpha = torch.empty(frames, count, 1, height, width)
        for t, picture in enumerate(eyes.rgb):
            slope, offset = state.runner(shrink(picture, state.ratio))
            for e in range(count):
                apply_coefficients(
                    picture[e], slope[e], offset[e], foreground[t, e], alpha[t, e, 0]
                )
        return MatteBatch(alpha, foreground, eyes.start)

    def _make(self, key: _Key) -> Runner:
        shape, refine = key
        part = self._parts[refine]
        return self._engine.load(part, example_of(part, torch.zeros(shape)))

    def _key(self, network: nn.Module, example: Example) -> Key:
        return Key(
            engine="openvino",
            network="rvm, refined" if network is self._parts[True] else "rvm",
            weights=self._weights,
            shapes=example.shapes,
            precision="fp32",
            device=processor(),
            versions=library_versions("openvino"),
            options=self._options,
        )


def _code(code: Path) -> str:
    here = Path(__file__)
    ours = ("coefficients.py", "graph.py", "graph_operations.py", "recurrence.py")
    return code_digest(code, here, *(here.with_name(name) for name in ours))
