"""Where SAM 2.1's weights come from: a file, or Meta's repositories on the Hugging Face hub, once.

By the hub's plain addresses: they need none of its packages. The file is kept in torch.hub's cache
and checked like RVM's, see `pipeline/stages/matting/weights.py`.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.contract import MattingSettings
from pipeline.stages.matting.sam2.facts import Sam2Options
from pipeline.stages.matting.weights import fetch_file, file_missing, require_sha256

_ADVICE = (
    "run `vrmatte models fetch --model sam2` where there is a network (with --config FILE for"
    " another matting.sam2_size), or set matting.sam2_checkpoint to a local copy"
)


def fetch(matting: MattingSettings) -> list[Path]:
    """Have the checkpoint; its place. Raises MachineError."""
    return [fetch_checkpoint(matting.of(Sam2Options))]


def missing(matting: MattingSettings) -> str | None:
    """What is not there, in words. Looks only, and fetches nothing."""
    return file_missing(_source(matting.of(Sam2Options)), "SAM 2's weights")


def fetch_checkpoint(options: Sam2Options) -> Path:
    """The checkpoint: a local one as it is, or fetched to the cache; its sha256 is checked.

    Raises:
        MachineError: it cannot be fetched, or is not the file it was.
    """
    path = fetch_file(_source(options), "SAM 2's weights", _ADVICE)
    require_sha256(path, options.checkpoint_sha256, "matting.sam2_checkpoint_sha256")
    return path


def address(size: str) -> str:
    """Of the checkpoint that `facebook/sam2.1-hiera-*` publishes for this size."""
    repository = f"facebook/sam2.1-hiera-{size.replace('_', '-')}"
    return f"https://huggingface.co/{repository}/resolve/main/sam2.1_hiera_{size}.pt"


def _source(options: Sam2Options) -> str:
    return options.checkpoint or address(options.size)
