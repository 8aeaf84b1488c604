"""The stages that a worker's process keeps: made when a task needs one, few of a kind at a time.

Lanes share a stage, and lanes with different ones work side by side. What a stage gives depends on
its choice alone, so neither the order of making them nor making one again alters a frame.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pipeline.stages.base import Stage
from pipeline.stages.catalogue import StageChoice
from pipeline.structlog_import import structlog
from workers.messages import MOST_LOADED
from workers.ram import give_back_memory

_log = structlog.get_logger()


@dataclass(slots=True)
class _Place:
    """One stage, or the wish for it; `users` are tasks that have it or wait for it."""

    stage: Stage | None = None
    users: int = 0


class StageCache:
    """Stages by their choice. Used by all lanes.

    Args:
        make: makes a stage; never called twice at a time, because loading a network changes the
            process around it (the places of modules).
        most: stages of one name that stay.
        give_back: called after some were dropped.
    """

    def __init__(
        self,
        make: Callable[[StageChoice], Stage],
        most: int = MOST_LOADED,
        give_back: Callable[[], None] = give_back_memory,
    ) -> None:
        self._make = make
        self._give_back = give_back
        self._most = most
        self._places: dict[StageChoice, _Place] = {}  # the last one used comes last
        self._lock = threading.Lock()
        self._loading = threading.Lock()

    @contextmanager
    def using(self, choice: StageChoice) -> Iterator[Stage]:
        """The stage, for as long as the context lasts; it is not dropped before.

        Raises:
            What making it raises; the next task tries again.
        """
        with self._lock:
            place = self._places.pop(choice, None) or _Place()
            self._places[choice] = place
            place.users += 1
        try:
            yield self._loaded(choice, place) if place.stage is None else place.stage
        finally:
            with self._lock:
                place.users -= 1
                if place.stage is None and not place.users:
                    self._places.pop(choice, None)
            self._drop(self._most)

    def drop_idle(self) -> None:
        """Drop every stage that no task has: memory is short."""
        self._drop(0)

    def _loaded(self, choice: StageChoice, place: _Place) -> Stage:
        with self._loading:
            if place.stage is None:
                self._drop(self._most - 1, choice.stage)  # before there is one more
                place.stage = self._make(choice)
                _log.info("stage_made", stage=choice.stage, model=choice.settings.matting.model)
            return place.stage

    def _drop(self, most: int, stage: str | None = None) -> None:
        """Drop those that have waited longest for a task, until at most `most` of a name are left.

        Args:
            stage: the only name to look at; None: each.
        """
        with self._lock:
            made: dict[str, list[StageChoice]] = {}
            for choice, place in self._places.items():
                if place.stage is not None and stage in (None, choice.stage):
                    made.setdefault(choice.stage, []).append(choice)
            dropped = []
            for choices in made.values():
                idle = [choice for choice in choices if not self._places[choice].users]
                dropped += idle[: max(0, len(choices) - most)]
            for choice in dropped:
                del self._places[choice]
        if dropped:
            self._give_back()
