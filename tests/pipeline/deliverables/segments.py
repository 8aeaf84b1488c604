"""Segments of made-up layers, written by a deliverable as a run writes them, and joined."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.deliverables.base import Deliverable
from pipeline.pixels.layers import Layers
from pipeline.verify.selfcheck import Sample, take_sample


@dataclass(frozen=True, slots=True)
class MadeUp:
    """A video that no file holds.

    Attributes:
        batch: its layers from one frame up to another.
        chunk: so many frames are encoded at once.
    """

    batch: Callable[[int, int], Layers]
    chunk: int

    def taken(self, start: int, stop: int, every: int = 1) -> list[Sample]:
        layers = self.batch(start, stop)
        return [take_sample(layers, t, t) for t in range(0, stop - start, every)]

    def write(self, made: Deliverable, path: Path, start: int, stop: int) -> Path:
        encoder = made.open_segment(path)
        for first in range(start, stop, self.chunk):
            encoder.write(made.planes(self.batch(first, min(first + self.chunk, stop))))
        encoder.close()
        return path

    def segments(self, made: Deliverable, folder: Path, lengths: Sequence[int]) -> list[Path]:
        """One after the other, each checked."""
        paths, start = [], 0
        for number, length in enumerate(lengths):
            path = folder / f"{made.name}-{number:06d}{Path(made.suffix).suffix}"
            paths.append(self.write(made, path, start, start + length))
            made.check_segment(path, length, self.taken(start, start + length))
            start += length
        return paths

    def joined(self, made: Deliverable, parts: Sequence[Path], lengths: Sequence[int]) -> Path:
        """Verified, and with the name of a draft."""
        target = parts[0].with_name(f".joined-{made.name}{parts[0].suffix}.part")
        made.join(parts, lengths, target)
        made.verify(target, sum(lengths))
        return target
