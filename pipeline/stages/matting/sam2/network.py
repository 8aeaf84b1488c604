"""SAM 2.1's video network: built from the package's own configurations, filled from a file.

Knows nothing of tracking and of where a file of weights comes from.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from sam2.build_sam import build_sam2_video_predictor
from sam2.modeling.position_encoding import PositionEmbeddingSine
from sam2.modeling.sam.transformer import RoPEAttention
from sam2.sam2_video_predictor import SAM2VideoPredictor

from pipeline.errors import MachineError
from pipeline.stages.matting.sam2.facts import Sam2Size

_CONFIGS: Mapping[Sam2Size, str] = {
    "tiny": "configs/sam2.1/sam2.1_hiera_t.yaml",
    "small": "configs/sam2.1/sam2.1_hiera_s.yaml",
    "base_plus": "configs/sam2.1/sam2.1_hiera_b+.yaml",
    "large": "configs/sam2.1/sam2.1_hiera_l.yaml",
}

# Of what `apply_postprocessing=True` would set, all but the filling of holes: that needs an
# extension for CUDA which the package on PyPI lacks, and warns at every frame where it is missing.
_POSTPROCESSING: Mapping[str, object] = {
    "sam_mask_decoder_extra_args.dynamic_multimask_via_stability": True,
    "sam_mask_decoder_extra_args.dynamic_multimask_stability_delta": 0.05,
    "sam_mask_decoder_extra_args.dynamic_multimask_stability_thresh": 0.98,
    "binarize_mask_from_pts_for_mem_enc": True,
}


#: At which the network has features, in pixels of its input.
_STRIDES = (4, 8, 16, 32)


def build_network(
    size: Sam2Size, *, options: Mapping[str, object] | None = None
) -> SAM2VideoPredictor:
    """The network on the CPU in eval mode, with random weights.

    Args:
        options: more of the configuration's keys under ``model``, e.g. ``image_size`` (1024) or
            ``max_cond_frames_in_attn`` (-1: all prompted frames are read).
    """
    overrides = {**_POSTPROCESSING, **(options or {})}
    network: SAM2VideoPredictor = build_sam2_video_predictor(
        _CONFIGS[size],
        None,
        device="cpu",
        apply_postprocessing=False,
        hydra_overrides_extra=[f"++model.{name}={value}" for name, value in overrides.items()],
    )
    return network.requires_grad_(False)


def load_weights(network: SAM2VideoPredictor, path: Path) -> None:
    """Fill the network from a checkpoint as it is published: ``{"model": state_dict}``.

    Nothing in the file is run.

    Raises:
        MachineError: it cannot be read, or is not for this network.
    """
    advice = "check matting.sam2_checkpoint, or delete the file to have it fetched again"
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # what others wrote may fail in any way, a KeyError among them
        raise MachineError(
            f"{path} is no file of weights that can be read safely", advice
        ) from error
    try:
        weights = checkpoint["model"]
    except (KeyError, TypeError, IndexError) as error:
        raise MachineError(f"{path} is no checkpoint of SAM 2", advice) from error
    try:
        network.load_state_dict(weights)
    except (RuntimeError, TypeError) as error:
        raise MachineError(
            f"the weights in {path} are not for this size of SAM 2",
            "check matting.sam2_size and matting.sam2_checkpoint",
        ) from error


@torch.inference_mode(False)
def warm_positions(network: SAM2VideoPredictor, device: torch.device) -> None:
    """Make what the network keeps of places in the picture now, on this thread's stream.

    It would be made at the first frame, on the stream of one lane, and be read by all others, which
    wait for the default stream and not for that one. The package does so for 1024 pixels alone.
    """
    for module in network.modules():
        if isinstance(module, PositionEmbeddingSine):
            for stride in _STRIDES:
                side = network.image_size // stride
                module(torch.empty(1, 1, side, side, device=device))
        elif isinstance(module, RoPEAttention):
            side = network.image_size // network.backbone_stride
            if module.freqs_cis.shape[0] != side * side:
                module.freqs_cis = module.compute_cis(end_x=side, end_y=side)
            module.freqs_cis = module.freqs_cis.to(device)
