"""What an engine can be built of RVM in the background: its network for eyes that it sees whole.

Loads torch only to make the network.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.contract import EyeShape, MattingSettings, ProcessingSettings
from pipeline.engines.compiled_files import code_digest
from pipeline.engines.keys import Buildable
from pipeline.stages.matting.rvm.facts import RvmOptions
from pipeline.stages.matting.rvm.sizes import network_size, whole_ratio
from pipeline.stages.matting.rvm.weights import fetch_rvm

if TYPE_CHECKING:
    import torch
    from torch import nn

    from pipeline.engines.engine import Example


def buildable(
    matting: MattingSettings, processing: ProcessingSettings, eye: EyeShape, device_kind: str
) -> Buildable | str:
    """The network that frames of such eyes go through; why there is not one, in words.

    Raises:
        MachineError: code or weights cannot be had.
    """
    ratio = whole_ratio(processing.scale_factor, eye.height, eye.width)
    if matting.region == "auto" and processing.scale_factor is None and ratio != 1:
        return "its network sees people in boxes of many sizes (set matting.region: whole)"
    files = fetch_rvm(matting.of(RvmOptions))
    code = () if files.repository is None else (files.repository,)
    weights = [path for path in files.all if path != files.repository]
    here = Path(__file__).parent
    half = processing.precision == "fp16" or (
        processing.precision == "auto" and device_kind == "cuda"
    )
    return Buildable(
        network="rvm" if ratio == 1 else "rvm, refined",
        weights=" ".join([*map(_sha256, weights), code_digest(here, *code)]),
        shapes=((eye.eyes, 3, *network_size(eye.height, eye.width, ratio)),),
        precision="fp16" if half else "fp32",
    )


def parts(
    matting: MattingSettings, processing: ProcessingSettings, eye: EyeShape, device: torch.device
) -> tuple[nn.Module, Example]:
    """The same network on its device, and what it is called with. Raises MachineError."""
    from pipeline.errors import MachineError
    from pipeline.stages.matting.rvm.coefficients import parts_problem
    from pipeline.stages.matting.rvm.cuda import parts_on_device, small_input
    from pipeline.stages.matting.rvm.load import network_of, working_type
    from pipeline.stages.matting.rvm.recurrence import example_of

    options = matting.of(RvmOptions)
    network = network_of(fetch_rvm(options), options)
    if (problem := parts_problem(network)) is not None:
        raise MachineError(problem, "set processing.engine: torch")
    ratio = whole_ratio(processing.scale_factor, eye.height, eye.width)
    dtype = working_type(processing, device)
    part = parts_on_device(network, dtype, device)[ratio != 1]
    shape = (eye.eyes, 3, *network_size(eye.height, eye.width, ratio))
    return part, example_of(part, small_input(shape, dtype, device))


def _sha256(path: Path) -> str:
    seen = path.stat()
    return _sha256_of(path, seen.st_mtime_ns, seen.st_size)


@lru_cache(maxsize=8)
def _sha256_of(path: Path, mtime_ns: int, size: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
