"""SAM 2's networks compiled, for GPUs: `matting.sam2_compile`.

Compiled is what every tracked frame goes through, when the first one does. Not as the `sam2`
package does it (`vos_optimized`): see docs/decisions/009-sam2.md.
"""

from __future__ import annotations

from typing import Any

import torch
from sam2.sam2_video_predictor import SAM2VideoPredictor

from pipeline.engines.by_torch import COMPILER_ERRORS, compiled, first_line
from pipeline.errors import MachineError

#: Of a frame of which nothing is said, the tokens that say so to the mask decoder.
_TOKENS_OF_NOTHING = 2


def compile_networks(network: SAM2VideoPredictor) -> None:
    """Have them compiled when they are used first. Weights may be loaded before or after."""
    network.image_encoder.forward = compiled(network.image_encoder.forward)
    network.memory_encoder.forward = compiled(network.memory_encoder.forward)
    # The number of memories varies.
    network.memory_attention.forward = compiled(network.memory_attention.forward, dynamic=True)
    # And that of points: for each, the decoder would be compiled anew, until the compiler gives up.
    plain = network.sam_mask_decoder.forward
    tracking = compiled(plain)

    def decode(*, sparse_prompt_embeddings: torch.Tensor, **rest: Any) -> Any:
        nothing_said = sparse_prompt_embeddings.shape[1] == _TOKENS_OF_NOTHING
        forward = tracking if nothing_said else plain
        return forward(sparse_prompt_embeddings=sparse_prompt_embeddings, **rest)

    network.sam_mask_decoder.forward = decode


def require_compiler(device: torch.device) -> None:
    """Try it with one small function.

    Raises:
        MachineError: there is no GPU, or nothing can be compiled for it here.
    """
    advice = "leave matting.sam2_compile out: frames are the same but for their lowest bits"
    if device.type != "cuda":
        raise MachineError("matting.sam2_compile: networks are compiled for a GPU only", advice)
    try:
        compiled(_trial)(torch.ones(64, device=device))
    except COMPILER_ERRORS as error:
        raise MachineError(
            f"matting.sam2_compile: nothing can be compiled on this machine: {first_line(error)}",
            advice,
        ) from error


def _trial(values: torch.Tensor) -> torch.Tensor:
    return (values * 2).softmax(0)
