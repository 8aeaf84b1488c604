"""`rvm`: Robust Video Matting, people before any background.

Lin et al., "Robust High-Resolution Video Matting with Temporal Guidance", WACV 2022. Its code and
weights (GPL-3.0) are fetched at run time (`weights.py`); none of them is part of this program.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from pipeline.contract import MattingSettings, ProcessingSettings
from pipeline.engines.catalogue import ENGINES, make_engine
from pipeline.engines.choice import require_installed
from pipeline.engines.compiled_files import CompiledFiles
from pipeline.engines.engine import Engine
from pipeline.engines.kept import OpenedFile
from pipeline.errors import MachineError
from pipeline.kernels.choice import way_on
from pipeline.pixels.batches import EyeBatch, MatteBatch
from pipeline.stages.matting.base import MattingModel
from pipeline.stages.matting.rvm.base import RvmBase
from pipeline.stages.matting.rvm.coefficients import parts_problem, shrink
from pipeline.stages.matting.rvm.facts import RvmOptions
from pipeline.stages.matting.rvm.graph_file import read_graph
from pipeline.stages.matting.rvm.weights import RvmFiles, fetch_rvm, read_state_dict
from pipeline.stages.matting.weights import compiled_folder
from pipeline.structlog_import import structlog

_log = structlog.get_logger()


def load(
    matting: MattingSettings, processing: ProcessingSettings, device: torch.device
) -> MattingModel:
    """Load code and weights, from the cache or over the network.

    Raises:
        MachineError: code or weights cannot be had, or do not fit each other or the engine.
        ValueError: the engine is not settled: it is decided once, before a run is planned.
    """
    if processing.engine == "auto":
        raise ValueError("processing.engine is auto: pipeline.engines.choice settles it")
    files = fetch_rvm(matting.of(RvmOptions))
    network = network_of(files, matting.of(RvmOptions))
    if processing.engine == "openvino":
        from pipeline.stages.matting.rvm.openvino import OpenVinoMatting

        return OpenVinoMatting(
            network,
            processing.scale_factor,
            processing.intra_op_threads,
            files.repository or files.weights,
            compiled_folder(),
        )
    dtype = working_type(processing, device)
    as_a_whole = device.type != "cuda" and files.repository is not None
    if as_a_whole and processing.engine == "torch":
        return RobustVideoMatting(network.to(dtype), processing.scale_factor, dtype)
    from pipeline.stages.matting.rvm.cuda import DeviceMatting, on_device

    problem = parts_problem(network)
    if problem is None:
        engine = engine_of(processing, device)
        way = way_on(device, processing.kernels)
        return DeviceMatting(network, processing.scale_factor, dtype, device, engine, way)
    # A property of the code and the weights, not of the moment: it is so in every worker.
    _log.warning("rvm_as_a_whole", reason=problem)
    network = on_device(network, dtype, device)
    return RobustVideoMatting(network, processing.scale_factor, dtype)


def network_of(files: RvmFiles, options: RvmOptions) -> nn.Module:
    """RVM's network in 32 bits on the CPU, by its own code or by its graph. Raises MachineError."""
    if files.repository is None:
        from pipeline.stages.matting.rvm.graph import GraphNetwork

        graph = read_graph(files.weights, files.weights.with_suffix(".bin"))
        network: nn.Module = GraphNetwork(graph)
    else:
        network = _by_own_code(files.repository, files.weights, options.variant)
    return network.eval().requires_grad_(False)


def working_type(processing: ProcessingSettings, device: torch.device) -> torch.dtype:
    """What the network works in."""
    half = processing.precision == "fp16" or (
        processing.precision == "auto" and device.type == "cuda"
    )
    return torch.float16 if half else torch.float32


def engine_of(processing: ProcessingSettings, device: torch.device) -> Engine:
    """The engine of parts of the network. Raises MachineError: it cannot be had.

    One that is built in the background serves by the file that the settings name; where they name
    none, and for all that the file was not built for, torch serves.
    """
    row = ENGINES[processing.engine]
    if not row.in_background:
        engine: Engine = make_engine(row.name, processing.intra_op_threads, device)
        return engine
    by_torch = "cuda_graph" if device.type == "cuda" else "torch"
    otherwise = make_engine(by_torch, processing.intra_op_threads, device)
    if processing.engine_file is None:
        return cast(Engine, otherwise)
    require_installed(row)
    try:
        builder = make_engine(row.name, processing.intra_op_threads, device)
    except ImportError as error:
        raise MachineError(f"{row.name} does not load: {error}", row.how_to_have_it()) from error
    files = CompiledFiles(compiled_folder())
    return OpenedFile(row.name, builder, files, processing.engine_file, otherwise)


def _by_own_code(repository: Path, path: Path, variant: str) -> nn.Module:
    """RVM's network with its weights."""
    weights = read_state_dict(path)
    try:
        network: nn.Module = torch.hub.load(  # type: ignore[no-untyped-call]
            str(repository), variant, source="local", pretrained=False
        )
    except Exception as error:  # foreign code: whatever it raises means that it does not work here
        raise MachineError(
            f"RVM's code in {repository} does not load ({error})", "check matting.rvm_repo"
        ) from error
    _match_refiner(network, weights)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise MachineError(
            f"the weights do not fit RVM's network {variant!r}",
            "check matting.rvm_variant and matting.rvm_weights",
        ) from error
    return network


@dataclass(slots=True)
class _State:
    ratio: float
    recurrent: list[Tensor | None]


class RobustVideoMatting(RvmBase):
    """By torch, on any device. See `pipeline.stages.matting.base.BoxModel`.

    Args:
        network: RVM's network: ``fgr, pha, *rec = network(src, *rec, downsample_ratio)``.
        ratio: network size as a share of an eye; None chooses it by the eye's size.
    """

    def __init__(self, network: nn.Module, ratio: float | None, dtype: torch.dtype) -> None:
        super().__init__(ratio)
        self._network = network
        self._dtype = dtype

    def begin(self, eyes: int, height: int, width: int, ratio: float, refine: bool) -> _State:
        return _State(ratio, [None] * 4)  # the network itself decides what it refines

    @torch.inference_mode()
    def look(self, picture: Tensor, looking: _State) -> Tensor:
        small = shrink(picture, looking.ratio).to(self._dtype)
        seen: Tensor = self._network(small, None, None, None, None, 1.0)[1][:, 0]
        return seen

    def memory(self, state: _State) -> tuple[Tensor, ...]:
        return tuple(tensor for tensor in state.recurrent if tensor is not None)

    def remember(self, state: _State, memory: tuple[Tensor, ...]) -> None:
        state.recurrent = list(memory)

    @torch.inference_mode()
    def matte(self, eyes: EyeBatch, state: _State) -> MatteBatch:
        """Both eyes are one batch; time runs inside the network."""
        source = eyes.rgb.transpose(0, 1).to(self._dtype).div_(255)
        foreground, alpha, *state.recurrent = self._network(source, *state.recurrent, state.ratio)
        return MatteBatch(alpha.transpose(0, 1), foreground.transpose(0, 1), eyes.start)


def _match_refiner(network: nn.Module, weights: dict[str, Tensor]) -> None:
    """Use RVM's refiner without parameters where the weights hold none for the other."""
    if any(name.startswith("refiner.") for name in weights):
        return
    module: Any = sys.modules[type(network).__module__]
    network.refiner = module.FastGuidedFilterRefiner()
