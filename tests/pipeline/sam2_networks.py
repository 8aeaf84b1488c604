"""SAM 2 networks for tests: the real ones with random weights, and one without a network in it."""

from __future__ import annotations

import zlib
from typing import Any

import torch
from sam2.build_sam import build_sam2_video_predictor
from sam2.sam2_video_predictor import SAM2VideoPredictor
from torch import Tensor, nn

from pipeline.stages.matting.sam2.frames import LazyFrames

# The tiny network's parts, all of them, with fewer channels and blocks.
_WIDTH, _MEMORY_WIDTH, _TRUNK_WIDTH = 64, 16, 8
SLIM = {
    "image_encoder.trunk.embed_dim": _TRUNK_WIDTH,
    "image_encoder.trunk.stages": [1, 1, 2, 1],
    "image_encoder.trunk.global_att_blocks": [3],
    "image_encoder.neck.backbone_channel_list": [_TRUNK_WIDTH * n for n in (8, 4, 2, 1)],
    "image_encoder.neck.d_model": _WIDTH,
    "image_encoder.neck.position_encoding.num_pos_feats": _WIDTH,
    "memory_attention.d_model": _WIDTH,
    "memory_attention.num_layers": 1,
    "memory_attention.layer.d_model": _WIDTH,
    "memory_attention.layer.dim_feedforward": _WIDTH,
    "memory_attention.layer.self_attention.embedding_dim": _WIDTH,
    "memory_attention.layer.cross_attention.embedding_dim": _WIDTH,
    "memory_attention.layer.cross_attention.kv_in_dim": _MEMORY_WIDTH,
    "memory_encoder.in_dim": _WIDTH,
    "memory_encoder.out_dim": _MEMORY_WIDTH,
    "memory_encoder.position_encoding.num_pos_feats": _MEMORY_WIDTH,
    "memory_encoder.mask_downsampler.embed_dim": _WIDTH,
    "memory_encoder.fuser.layer.dim": _WIDTH,
}


def random_network(image_size: int, *, slim: bool, **options: object) -> SAM2VideoPredictor:
    """SAM 2.1's tiny network, or one built like it, with random weights.

    Weights are drawn so that objects are seen and what is remembered shows in the logits.
    """
    changed = {**(SLIM if slim else {}), "image_size": image_size, **options}
    state = torch.get_rng_state()
    torch.manual_seed(7)
    network: SAM2VideoPredictor = build_sam2_video_predictor(
        "configs/sam2.1/sam2.1_hiera_t.yaml",
        None,
        device="cpu",
        apply_postprocessing=False,
        hydra_overrides_extra=[f"++model.{name}={value}" for name, value in changed.items()],
    )
    with torch.no_grad():
        for weights in network.memory_attention.parameters():
            weights.normal_(std=0.2)
        network.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(1)
    torch.set_rng_state(state)
    return network


def picture(frame: int, size: int) -> Tensor:
    """uint8 ``[3, size, size]``: coarse noise, another for every frame."""
    made = torch.Generator().manual_seed(frame)
    coarse = torch.randint(0, 256, (3, size // 8, size // 8), generator=made, dtype=torch.uint8)
    return coarse.repeat_interleave(8, 1).repeat_interleave(8, 2)


def frames_of(network: SAM2VideoPredictor, num_frames: int) -> LazyFrames:
    size = network.image_size
    return LazyFrames(
        lambda start, stop: (picture(frame, size) for frame in range(start, stop)),
        num_frames,
        size,
    )


class ArithmeticPredictor(SAM2VideoPredictor):  # type: ignore[misc]
    """The stock predictor with all of its bookkeeping, and a line of arithmetic for each network.

    What it answers depends on every value that it reads and on their order. A frame takes a
    millisecond.
    """

    def __init__(self, **options: Any) -> None:
        encoder, memory_encoder = nn.Module(), nn.Module()
        encoder.neck = nn.Module()
        encoder.neck.d_model = 4  # type: ignore[assignment]
        super().__init__(
            image_encoder=encoder,
            memory_attention=_Mix(),
            memory_encoder=memory_encoder,
            image_size=8,
            backbone_stride=4,
            use_obj_ptrs_in_encoder=True,
            pred_obj_scores=True,
            directly_add_no_mem_embed=True,
            use_mask_input_as_output_without_sam=True,
            **options,
        )
        self.eval()

    def _build_sam_heads(self) -> None:
        self.obj_ptr_proj = nn.Identity()
        self.obj_ptr_tpos_proj = nn.Identity()

    def forward_image(self, img_batch: Tensor) -> dict[str, list[Tensor]]:
        features = img_batch.mean(dim=1, keepdim=True).expand(-1, 4, -1, -1)[:, :, ::4, ::4]
        return {"backbone_fpn": [features], "vision_pos_enc": [torch.zeros_like(features)]}

    def _forward_sam_heads(
        self,
        backbone_features: Tensor,
        point_inputs: dict[str, Tensor] | None = None,
        mask_inputs: Tensor | None = None,
        high_res_features: None = None,
        multimask_output: bool = False,
    ) -> tuple[Tensor, ...]:
        said = backbone_features.mean(dim=1, keepdim=True)
        if point_inputs is not None:
            said = said + point_inputs["point_coords"].sum().sin()
        if mask_inputs is not None:
            said = said + mask_inputs.float().mean().sin()
        high = said.repeat_interleave(4, 2).repeat_interleave(4, 3)
        pointer = said.flatten(1).sin() + torch.arange(4.0)
        return said, high, said, said, high, pointer, said.mean((2, 3)) + 3

    def _encode_new_memory(
        self,
        current_vision_feats: list[Tensor],
        feat_sizes: list[tuple[int, int]],
        pred_masks_high_res: Tensor,
        object_score_logits: Tensor,
        is_mask_from_pts: bool,
    ) -> tuple[Tensor, list[Tensor]]:
        features = current_vision_feats[-1].permute(1, 2, 0).view(-1, 4, 2, 2)
        memory = (features + pred_masks_high_res[:, :, ::4, ::4] * 0.7).cos()
        return memory, [torch.ones_like(memory) * 0.1]


class _Mix(nn.Module):
    def forward(
        self,
        curr: list[Tensor],
        curr_pos: list[Tensor],
        memory: Tensor,
        memory_pos: Tensor,
        num_obj_ptr_tokens: int,
    ) -> Tensor:
        read = (memory + memory_pos).double().flatten()
        place = torch.arange(1, len(read) + 1, dtype=torch.float64)
        return curr[0] + (read * place.sqrt()).sum().sin().float()


def digest(logits: Tensor) -> int:
    """Of every bit: two tensors of one shape are equal where this is."""
    return zlib.crc32(logits.contiguous().numpy().tobytes())
