"""Processes forked from one that has loaded torch: the start of a worker without 2 s of imports.

That one is Python's fork server: one for each process of pytest, which starts it when it is first
wanted and ends it with itself. It has no GPU and no threads. Product code starts its workers by
themselves; the tests of that start, and all by the command line, do too.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Mapping
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from orchestrator.backends.base import Handle
from orchestrator.backends.local import LocalBackend
from workers import launch

#: All that any test lets it load: it cannot be told more once it runs.
_PRELOAD = (
    *("av", "pipeline.torchcodec_import", "workers.gpu_worker", "workers.log", "workers.work"),
    *("tests.render", "tests.workers.hang_doubles", "tests.pipeline.source.test_mutations"),
)

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(list(_PRELOAD))


class ForkedBackend(LocalBackend):
    """Workers as processes that can hang and be killed like those of `LocalBackend`."""

    def launch(self, worker: int, life: int) -> Handle:
        with pytest.MonkeyPatch.context() as patch:
            context = SimpleNamespace(Process=_process)
            python = SimpleNamespace(get_context=lambda method: context)
            patch.setattr(launch, "multiprocessing", python)
            return super().launch(worker, life)


def forked_processes() -> list[psutil.Process]:
    """Those that are there now, and what they started."""
    server = getattr(forkserver, "_forkserver")._forkserver_pid  # noqa: B009
    return [] if server is None else psutil.Process(server).children(recursive=True)


def _process(
    target: Callable[..., None], args: tuple[Any, ...], name: str, daemon: bool
) -> BaseProcess:
    begun = (dict(os.environ), os.getpid(), target, args)
    return CONTEXT.Process(target=_begin, args=begun, name=name, daemon=daemon)


def _begin(
    environment: Mapping[str, str], starter: int, target: Callable[..., None], args: tuple[Any, ...]
) -> None:
    """In the new process: as if `starter` had started it."""
    os.environ.clear()
    os.environ.update(environment)
    server = os.getppid()
    os.getppid = lambda: starter if _parent() == server else _parent()
    target(*args)


_parent = os.getppid
