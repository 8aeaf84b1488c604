"""What the packets of a sound track say of it, without decoding them."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.source.sound.clock import SoundClock
from pipeline.source.sound.trial import Samples

_LAST_PACKETS = 3


@dataclass(slots=True)
class SoundPackets:
    """Is told of each packet of one audio stream, in the order of the file.

    Attributes:
        samples: some of them.
        clock: their times.
        count: how many there are.
    """

    samples: Samples
    clock: SoundClock = field(default_factory=SoundClock)
    count: int = 0
    _stretch: int = 0
    _latest: list[float] = field(default_factory=list)

    def add(self, begin_s: float, end_s: float, packet: Any) -> None:
        """Take a packet, with its times in seconds of the file's clock."""
        stretch = self.clock.note(begin_s, end_s)
        if stretch != self._stretch:
            self._stretch, self._latest = stretch, []
        self.count += 1
        self.samples.add(packet)
        heapq.heappush(self._latest, begin_s)
        if len(self._latest) > _LAST_PACKETS:
            heapq.heappop(self._latest)

    def times_s(self, shifts_s: Sequence[float]) -> tuple[float, float, float]:
        """When the first packet begins, the last ones begin and the last one ends, in seconds.

        The last ones, because in a damaged file a single one may play at any time.

        Args:
            shifts_s: of each stretch of the clock, see `SoundClock.shifts`.
        """
        begins = [s + shift for s, shift in zip(self.clock.begin_s, shifts_s, strict=True)]
        ends = [s + shift for s, shift in zip(self.clock.end_s, shifts_s, strict=True)]
        return min(begins), self._latest[0] + shifts_s[-1], max(ends)
