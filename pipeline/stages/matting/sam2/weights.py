"""Where SAM 2.1's weights come from: a file, or Meta's repositories on the Hugging Face hub, once.

By the hub's plain addresses: they need none of its packages. The file is kept in torch.hub's cache
and checked like RVM's, see `pipeline/stages/matting/weights.py`.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.contract import MattingSettings
from pipeline.stages.matting.weights import fetch_file, require_sha256

_WHAT_TO_DO = (
    "run `vrmatte models fetch --config FILE` where there is a network, FILE saying matting.model: "
    "sam2, or set matting.sam2_checkpoint to a local copy"
)


def address(size: str) -> str:
    """Of the checkpoint that `facebook/sam2.1-hiera-*` publishes for this `matting.sam2_size`."""
    repository = f"facebook/sam2.1-hiera-{size.replace('_', '-')}"
    return f"https://huggingface.co/{repository}/resolve/main/sam2.1_hiera_{size}.pt"


def fetch_checkpoint(matting: MattingSettings) -> Path:
    """The checkpoint: a local one as it is, or fetched to the cache; its sha256 is checked.

    Raises:
        MachineError: it cannot be fetched, or is not the file it was.
    """
    source = matting.sam2_checkpoint or address(matting.sam2_size)
    path = fetch_file(source, "SAM 2's weights", _WHAT_TO_DO)
    require_sha256(path, matting.sam2_checkpoint_sha256, "matting.sam2_checkpoint_sha256")
    return path
