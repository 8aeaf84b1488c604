"""Memory of further models in a worker whose videos have different ones.

`orchestrator.machine.segment_memory` allows for one model; this adds a second and a third.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from workers.messages import MOST_LOADED, ModelChoice

_MB = 1_000_000

#: Resident memory that one more model adds on the CPU, measured: chroma, depth and plate take 16 MB
#: together; of RVM and SAM 2 a second one was loaded beside a first (docs/decisions/015). On a GPU
#: none was measured: the weights are the same ones, or half of that.
_NEEDS_NOTHING = 6 * _MB
_RVM = {
    ("torch", "mobilenetv3"): 19 * _MB,
    ("torch", "resnet50"): 111 * _MB,
    ("openvino", "mobilenetv3"): 123 * _MB,
    ("openvino", "resnet50"): 393 * _MB,
}
_SAM2 = {"tiny": 191 * _MB, "small": 219 * _MB, "base_plus": 359 * _MB, "large": 934 * _MB}

#: One that another package brings may be as large as the largest.
_UNKNOWN = max(_SAM2.values())


def model_bytes(choice: ModelChoice) -> int:
    """What one more model of that choice takes."""
    matting, engine = choice.matting, choice.processing.engine
    if matting.model in ("chroma", "depth", "plate"):
        return _NEEDS_NOTHING
    if matting.model == "rvm":
        # Not settled yet ("auto") is counted as what takes more.
        return _RVM["torch" if engine == "torch" else "openvino", matting.rvm_variant]
    if matting.model in ("sam2", "sam2+rvm"):
        helpers = [matting.sam2_seed]
        helpers += [matting.sam2_edge] if matting.model == "sam2+rvm" else []
        helping = (replace(choice, matting=replace(matting, model=name)) for name in helpers)
        return _SAM2[matting.sam2_size] + sum(map(model_bytes, helping))
    return _UNKNOWN


def further_bytes(choices: Collection[ModelChoice], lanes: int) -> int:
    """The most that models loaded at the same time take, without the largest, which is allowed for.

    Args:
        choices: all that the videos ask for, each once.
        lanes: of one worker; each may have another model in use.
    """
    sizes = sorted(map(model_bytes, choices), reverse=True)
    return sum(sizes[1 : max(MOST_LOADED, lanes)])
