"""Follows the clock of a sound track through a file, and brings it into line with the picture's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pipeline.source.timing.recordings import Leap

_BACK_S = 0.1
_FORWARD_S = 0.5
_MOST_LEAPS = 10_000


@dataclass(slots=True)
class SoundClock:
    """Is told of each packet, in the order of the file.

    Attributes:
        begin_s, end_s: the earliest begin and the latest end of a packet, seconds of the file's
            clock, of each stretch between two leaps.
        leaps: where the clock goes back, or forward by more than half a second.
    """

    begin_s: list[float] = field(default_factory=list)
    end_s: list[float] = field(default_factory=list)
    leaps: list[Leap] = field(default_factory=list)
    _last_s: float = 0.0

    def __bool__(self) -> bool:
        return bool(self.begin_s)

    def note(self, begin_s: float, end_s: float) -> int:
        """The number of the stretch that a packet belongs to."""
        step_s = begin_s - self._last_s
        if not self.begin_s:
            self._begin(begin_s, end_s)
        elif not -_BACK_S <= step_s <= _FORWARD_S and len(self.leaps) < _MOST_LEAPS:
            self.leaps.append(Leap(self._last_s, begin_s))
            self._begin(begin_s, end_s)
        self.begin_s[-1] = min(self.begin_s[-1], begin_s)
        self.end_s[-1] = max(self.end_s[-1], end_s)
        self._last_s = end_s
        return len(self.begin_s) - 1

    def _begin(self, begin_s: float, end_s: float) -> None:
        self.begin_s.append(begin_s)
        self.end_s.append(end_s)

    def shifts(
        self, recordings: Sequence[tuple[float, float]], shifts_s: Sequence[float]
    ) -> list[float]:
        """What is to be added to the times of each stretch, seconds.

        Args:
            recordings: of each recording of the picture, its first and its last time, seconds of
                the file's clock, in the order of the file.
            shifts_s: what was added to the times of each.
        """
        found = []
        place = 0
        for number, stretch in enumerate(zip(self.begin_s, self.end_s, strict=True)):
            if number and self.leaps[number - 1].after_s < self.leaps[number - 1].before_s:
                # A clock that goes back is that of another recording, of the same times perhaps.
                place = min(place + 1, len(recordings) - 1)
            # Of recordings that fit alike the first.
            shared = [_shared_s(recording, *stretch) for recording in recordings[place:]]
            place += shared.index(max(shared))
            found.append(shifts_s[place])
        return found


def _shared_s(recording: tuple[float, float], begin_s: float, end_s: float) -> float:
    """Seconds that both have in common; less than 0 by how far they are apart."""
    return min(recording[1], end_s) - max(recording[0], begin_s)
