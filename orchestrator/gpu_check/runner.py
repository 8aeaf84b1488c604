"""Runs steps one after the other, each in a process of its own, each no longer than its limit.

Never touches CUDA. A step that hangs, crashes or raises costs itself alone.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import psutil
from pydantic import TypeAdapter

from orchestrator.gpu_check.catalogue import Step
from orchestrator.gpu_check.child import read
from orchestrator.gpu_check.results import Result, StepRecord
from orchestrator.gpu_check.site import ROOT, Site
from pipeline.files.child import own_module, tied
from pipeline.files.child_failure import ChildFailure
from workers.launch import WORKER_ENVIRONMENT

#: All that a step starts has this variable, by which it is found again, whoever its parent is.
_MARK = "VRMATTE_GPU_CHECK"

#: A process that waits for a driver that hangs cannot be killed; it is left alone after so long.
_PATIENCE_S = 5.0

_CHILD = "orchestrator.gpu_check.child"


def run_step(step: Step, site: Site, clock: Callable[[], float] = time.monotonic) -> StepRecord:
    """Run one step to its end, or to its limit.

    Results are in ``steps/NAME.jsonl`` of the site's folder, what was printed in ``NAME.log``.
    """
    began = clock()
    why = step.needs(site.machine)
    if why is not None:
        absent = Result("the step", "nothing", why, "absent")
        return StepRecord(step.name, step.limit_s, 0.0, (absent,))
    folder = site.folder / "steps"
    folder.mkdir(parents=True, exist_ok=True)
    results = folder / f"{step.name}.jsonl"
    results.unlink(missing_ok=True)
    end = _ended(step, site, results, folder / f"{step.name}.log")
    took_s = round(clock() - began, 1)
    return StepRecord(step.name, step.limit_s, took_s, concluded(results, end))


def concluded(results: Path, end: Result | None) -> tuple[Result, ...]:
    """What a step wrote down, and what its end adds to that; never empty.

    Args:
        end: how its process failed.
    """
    found, done = read(results)
    if end is not None:
        return *found, end
    if not done:
        said = "its process ended before its last result"
        return *found, Result("the step", "it comes to its end", said, "FAILED")
    return tuple(found) or (Result("the step", "a result", "it gave none", "FAILED"),)


def _ended(step: Step, site: Site, results: Path, log: Path) -> Result | None:
    """Run the process; how it ended, where that is a failure."""
    as_json = TypeAdapter(Site).dump_json(site).decode()
    words, own = own_module(_CHILD, step.run, as_json, str(results))
    mark = secrets.token_hex(8)
    with log.open("w+b") as said:
        child = subprocess.Popen(
            tied(words),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            env={**WORKER_ENVIRONMENT, **own, **_seen(site), _MARK: mark},
            start_new_session=True,
        )
        try:
            status: int | None = child.wait(step.limit_s)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            end_marked(mark)
            with suppress(subprocess.TimeoutExpired):
                child.wait(_PATIENCE_S)
        failure = ChildFailure.of(words, status, said)
    if status is None:
        over = f"it was ended after {step.limit_s:g} s, with all that it had started"
        return Result("the step", f"it ends within {step.limit_s:g} s", over, "FAILED")
    if status != 0:
        how = failure.sentence("its process failed")
        return Result("the step", "no error", how, "FAILED", said=failure.messages)
    return None


def _seen(site: Site) -> Mapping[str, str]:
    """Numbers of GPUs are those of nvidia-smi; a rehearsal sees none."""
    seen = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    return seen | ({"CUDA_VISIBLE_DEVICES": ""} if site.rehearsal else {})


def end_marked(mark: str) -> None:
    """End all processes that a step has started and left."""
    for _ in range(10):  # what is being started meanwhile is found in the next round
        left = list(_marked(mark))
        for process in left:
            with suppress(psutil.Error):
                process.kill()
        if not left:
            return
        psutil.wait_procs(left, _PATIENCE_S / 10)


def _marked(mark: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(_MARK) == mark:
                yield process
