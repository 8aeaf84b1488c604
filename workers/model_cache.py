"""The models of a worker's process: loaded when a task needs one, few at a time.

Lanes share a model, and lanes with different models work side by side. What a model gives depends
on its choice alone, so that neither the order of loading nor a reload alters a frame.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from pipeline.stages.matting.base import MattingModel
from workers.messages import MOST_LOADED, ModelChoice
from workers.ram import give_back_memory

_log = structlog.get_logger()


@dataclass(slots=True)
class _Place:
    """One model, or the wish for it; `users` are tasks that have it or wait for it."""

    model: MattingModel | None = None
    users: int = 0


class ModelCache:
    """Models by their choice. Used by all lanes.

    Args:
        load: makes a model; never called twice at a time, because what loads networks changes the
            process around it (the places of modules).
        most: models that stay loaded.
        give_back: called after some were dropped.
    """

    def __init__(
        self,
        load: Callable[[ModelChoice], MattingModel],
        most: int = MOST_LOADED,
        give_back: Callable[[], None] = give_back_memory,
    ) -> None:
        self._load = load
        self._give_back = give_back
        self._most = most
        self._places: dict[ModelChoice, _Place] = {}  # the last one used comes last
        self._lock = threading.Lock()
        self._loading = threading.Lock()

    @contextmanager
    def using(self, choice: ModelChoice) -> Iterator[MattingModel]:
        """The model, for as long as the context lasts; it is not dropped before.

        Raises:
            What loading it raises; the next task tries again.
        """
        with self._lock:
            place = self._places.pop(choice, None) or _Place()
            self._places[choice] = place
            place.users += 1
        try:
            yield self._loaded(choice, place) if place.model is None else place.model
        finally:
            with self._lock:
                place.users -= 1
                if place.model is None and not place.users:
                    self._places.pop(choice, None)
            self._drop(self._most)

    def drop_idle(self) -> None:
        """Drop every model that no task has: memory is short."""
        self._drop(0)

    def _loaded(self, choice: ModelChoice, place: _Place) -> MattingModel:
        with self._loading:
            if place.model is None:
                self._drop(self._most - 1)  # before there is one more
                place.model = self._load(choice)
                _log.info("model_loaded", model=choice.matting.model)
            return place.model

    def _drop(self, most: int) -> None:
        """Drop those that have waited longest for a task, until no more than `most` are loaded."""
        with self._lock:
            loaded = [c for c, place in self._places.items() if place.model is not None]
            idle = [c for c in loaded if not self._places[c].users]
            dropped = idle[: max(0, len(loaded) - most)]
            for choice in dropped:
                del self._places[choice]
        if dropped:
            self._give_back()
