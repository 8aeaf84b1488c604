"""How well `soft_matte` finds the edge of the demo's figure: its true mask stands in for SAM 2's.

    python benchmarks/sam2_edges.py [--sizes 640,1600] [--displaced 0,0.6,1.2]

The mask is reduced to SAM 2's 256 cells and displaced by a smooth random field of so many cells.
Printed is the mean absolute error of alpha over the eye, in units of 0.00001, and that of the
logits as they are, enlarged.
"""

from __future__ import annotations

import argparse

import torch
import torch.nn.functional as F
from torch import Tensor

from orchestrator.demo.scene import Scene
from pipeline.stages.matting.sam2.load import soft_matte

CELLS, FRAME = 256, 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="640,1600")
    parser.add_argument("--displaced", default="0,0.6,1.2")
    asked = parser.parse_args()
    for size in map(int, asked.sizes.split(",")):
        scene = Scene(60, eye_size=size)
        rgb = torch.from_numpy(scene.picture(FRAME, "room")[0]).permute(2, 0, 1).contiguous()
        truth = torch.from_numpy(scene.alpha(FRAME)[0])
        for cells in map(float, asked.displaced.split(",")):
            logits = displaced(truth, cells)
            plain = F.interpolate(logits, size=(size, size), mode="bilinear")[0].sigmoid()
            errors = [
                1e5 * float((alpha[0] - truth).abs().mean())
                for alpha in (soft_matte(logits, rgb), plain)
            ]
            print(f"{size:5} {cells:4} cells: {errors[0]:5.0f}, as they are {errors[1]:5.0f}")


def displaced(truth: Tensor, cells: float) -> Tensor:
    """Logits ``[1, 1, 256, 256]`` of a mask ``[H, W]``."""
    made = torch.Generator().manual_seed(0)
    field = F.interpolate(
        torch.randn(1, 2, 24, 24, generator=made), size=(CELLS, CELLS), mode="bicubic"
    )[0]
    line = torch.linspace(-1, 1, CELLS)
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    at = torch.stack([columns, rows], -1) + field.permute(1, 2, 0) * cells * 2 / CELLS
    small = F.interpolate(truth[None, None], size=(CELLS, CELLS), mode="area")
    soft = torch.tensor([0.25, 0.5, 0.25])
    small = F.conv2d(small, soft.view(1, 1, 1, 3), padding=(0, 1))
    small = F.conv2d(small, soft.view(1, 1, 3, 1), padding=(1, 0))
    moved = F.grid_sample(small, at[None], align_corners=True)
    return ((moved - 0.5) * 24).clamp(-12, 12)


if __name__ == "__main__":
    main()
