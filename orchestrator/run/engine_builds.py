"""Build engines one after the other while a run makes its videos by torch."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from threading import Lock
from types import TracebackType

from orchestrator.engines.chooser import Wishes
from orchestrator.engines.request import EngineAnswer, EngineRequest, Watch
from orchestrator.run.context import RunContext
from orchestrator.run.preparation import possible_settings
from orchestrator.watch.background import Background
from pipeline.engines.catalogue import ENGINES
from pipeline.errors import MachineError
from pipeline.structlog_import import structlog

#: It is woken by wishes; this only bounds the wait for one that came in between, in seconds.
_LOOK_EVERY_S = 60.0
_LEAVE_S = 5.0


def building_engines(ctx: RunContext) -> AbstractContextManager[object]:
    """Build what the videos of a run lack, as long as the context lasts; nothing by default."""
    names = {settings.processing.engine for settings in possible_settings(ctx)}
    if not any(name in ENGINES and ENGINES[name].in_background for name in names):
        return nullcontext()
    return EngineBuilds(
        ctx.engines.wishes,
        lambda request, watch: ctx.around.build_engine(request, ctx.devices.first, watch),
        ctx.around.say,
    )


class EngineBuilds(Background):
    """Builds what videos wish for, from `__enter__` to `__exit__`, which ends the child.

    Args:
        build: `orchestrator.engines.request.build_engine` on a worker's device, or a double.
        say: is told in one line what is built, and what came of it.
    """

    def __init__(
        self,
        wishes: Wishes,
        build: Callable[[EngineRequest, Watch], EngineAnswer],
        say: Callable[[str], object],
    ) -> None:
        super().__init__("engines", every_s=_LOOK_EVERY_S, first_s=0.0, leave_s=_LEAVE_S)
        self._wishes = wishes
        self._build = build
        self._say = say
        self._lock = Lock()
        self._child: int | None = None
        self._ending = False
        wishes.on_add = self.wake

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            self._ending = True
            if self._child is not None:
                with suppress(ProcessLookupError):
                    os.kill(self._child, signal.SIGKILL)
        super().__exit__(kind, error, trace)

    def step(self) -> None:
        while not self._ending and (request := self._wishes.take()) is not None:
            self._one(request)

    def _one(self, request: EngineRequest) -> None:
        name = f"{request.key.engine} engine of {request.key.network}"
        log = structlog.get_logger("vrmatte")
        log.info("engine_build_started", engine=request.key.engine, shapes=request.key.shapes)
        self._say(f"building the {name} in the background; torch serves meanwhile")
        try:
            answer = self._build(request, self._watch)
        except MachineError as error:
            why = "the run has ended; `vrmatte engines build` builds it" if self._ending else error
            log.warning("engine_not_built", engine=request.key.engine, why=str(why))
            self._say(f"the {name} was not built: {why}")
            return
        log.info("engine_built", engine=request.key.engine, refused=answer.refused)
        if answer.refused is None:
            self._say(f"the {name} is built; it serves videos that are planned from now on")
        else:
            self._say(f"the {name} is refused, and torch goes on: {answer.refused}")

    def _watch(self, child: int) -> Callable[[], None]:
        with self._lock:
            self._child = child
            if self._ending:
                os.kill(child, signal.SIGKILL)
        return self._ended

    def _ended(self) -> None:
        with self._lock:
            self._child = None
