"""What was predicted by counting and arithmetic, to be put beside what is measured.

A figure that is far from its prediction is no failure: it is what the check is for.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Prediction:
    """Attributes:
    card: a part of NVML's name of the cards that it is for; "" for all.
    source: where the figure comes from.
    """

    key: str
    card: str
    value: float
    source: str


_DESK = "docs/decisions/035, traffic over 80 % of the card's bandwidth"

PREDICTED: tuple[Prediction, ...] = (
    # By PyTorch's operations; the kernels move a seventh of it, so more is expected of them.
    Prediction("frames/s of 8K by PyTorch", "6000 Ada", 32, _DESK),
    Prediction("frames/s of 8K by PyTorch", "RTX 4090", 34, _DESK),
    Prediction("frames/s of 8K by PyTorch", "L40S", 29, _DESK),
    Prediction("frames/s of 8K by PyTorch", "A100", 65, _DESK),
    Prediction("frames/s of 8K by PyTorch", "H100", 100, _DESK),
    Prediction("frames/s of 8K by PyTorch", "H200", 100, _DESK),
    Prediction("frames/s of 8K by PyTorch", "T4", 11, _DESK),
    Prediction("GB of PyTorch for a lane of 8K", "", 3.0, "docs/decisions/034"),
    Prediction("kernels a frame", "", 786, "docs/decisions/035: 448, and 338 of RVM's network"),
    Prediction("frames/s of NVENC at 8K", "6000 Ada", 75, "NVIDIA: 25 an engine, 3 engines"),
    Prediction("frames/s of NVENC at 8K", "RTX 4090", 50, "NVIDIA: 25 an engine, 2 engines"),
    Prediction("frames/s of NVENC at 8K", "L40S", 75, "NVIDIA: 25 an engine, 3 engines"),
    Prediction("frames/s of NVENC at 8K", "L4", 50, "NVIDIA: 25 an engine, 2 engines"),
    Prediction("frames/s by pipe at 8K", "", 22, "50 MB a frame, copied twice"),
    Prediction("GB/s to pinned memory", "", 25, "PCIe 4.0 x16"),
)


def prediction(key: str, card: str) -> Prediction | None:
    """The first one for that card."""
    for each in PREDICTED:
        if each.key == key and each.card.casefold() in card.casefold():
            return each
    return None


def expected(key: str, card: str) -> str:
    """``32 (docs/decisions/035, ...)``, or ``a figure (nothing was predicted)``."""
    found = prediction(key, card)
    return (
        "a figure (nothing was predicted)" if found is None else f"{found.value:g} ({found.source})"
    )


def beside(key: str, card: str, measured: float) -> str:
    """``29.4 frames/s, 0.92 of what was predicted``, without the rest if nothing was."""
    unit = key.partition(" of ")[0].partition(" to ")[0].partition(" by ")[0]
    text = f"{measured:.4g} {unit}"
    found = prediction(key, card)
    return text if found is None else f"{text}, {measured / found.value:.2f} of what was predicted"
