"""Where SAM 2.1's weights come from: a file, or Meta's repositories on the Hugging Face hub, once.

By the hub's plain addresses: they need none of its packages. The file is kept in torch.hub's cache
and checked like RVM's, see `pipeline/stages/matting/weights.py`.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.contract import MattingSettings
from pipeline.stages.matting.sam2.facts import Sam2Options
from pipeline.stages.matting.weights import (
    fetch_file,
    file_missing,
    no_answer,
    none_answers,
    require_sha256,
)

_ADVICE = (
    "run `vrmatte models fetch --model sam2` where there is a network and copy its cache"
    " (TORCH_HOME) here, or download that file by other means and set matting.sam2_checkpoint to it"
    " in a settings file (--config)"
)


#: sha256 of the checkpoints as Meta publishes them, 2026-12, by size.
_PUBLISHED = {
    "tiny": "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69",
    "small": "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38",
    "base_plus": "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5",
    "large": "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318",
}


def fetch(matting: MattingSettings) -> list[Path]:
    """Have the checkpoint; its place. Raises MachineError."""
    return [fetch_checkpoint(matting.of(Sam2Options))]


def missing(matting: MattingSettings) -> str | None:
    """What is not there, in words. Looks only, and fetches nothing."""
    options = matting.of(Sam2Options)
    return file_missing(_source(options), "SAM 2's weights", _known(options))


def unreachable(matting: MattingSettings, within_s: float) -> str | None:
    """Why they cannot be fetched, in words; None where the hub answers. Fetches nothing."""
    source = _source(matting.of(Sam2Options))
    return none_answers({"hub": lambda: no_answer(source, within_s)}, within_s)


def fetch_checkpoint(options: Sam2Options) -> Path:
    """The checkpoint: a local one as it is, or fetched to the cache; its sha256 is checked.

    Raises:
        MachineError: it cannot be fetched, or is not the file it was.
    """
    path = fetch_file(_source(options), "SAM 2's weights", _ADVICE, _known(options))
    require_sha256(path, options.checkpoint_sha256, "matting.sam2_checkpoint_sha256")
    return path


def address(size: str) -> str:
    """Of the checkpoint that `facebook/sam2.1-hiera-*` publishes for this size."""
    repository = f"facebook/sam2.1-hiera-{size.replace('_', '-')}"
    return f"https://huggingface.co/{repository}/resolve/main/sam2.1_hiera_{size}.pt"


def _source(options: Sam2Options) -> str:
    return options.checkpoint or address(options.size)


def _known(options: Sam2Options) -> list[str | None]:
    """What the file may have as its sha256: what a person says, else what Meta's has."""
    if options.checkpoint or options.checkpoint_sha256:
        return [options.checkpoint_sha256]
    return [_PUBLISHED.get(options.size)]
