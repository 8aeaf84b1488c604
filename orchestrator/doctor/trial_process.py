"""Run trials in a child process: a trial that hangs or crashes ends only the child.

One child runs several trials in turn, because loading its libraries takes seconds. After a trial
that did not end well the next one gets a new child.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from typing import IO

from pydantic import TypeAdapter

from orchestrator.doctor.trials import Trial, Tried
from pipeline.errors import MachineError
from pipeline.files.child import own_module, tied
from pipeline.files.child_failure import ChildFailure
from workers.launch import WORKER_ENVIRONMENT, visible_devices

_TRIAL: TypeAdapter[Trial] = TypeAdapter(Trial)
_TRIED: TypeAdapter[Tried] = TypeAdapter(Tried)

#: The child writes no longer answers.
_MOST_BYTES = 1 << 20

#: A process that waits for a dead disk cannot be killed; it is left alone after so long.
_PATIENCE_S = 5.0


class TrialProcess:
    """See `orchestrator.doctor.trials.Trials`. Belongs to the thread that made it.

    Args:
        device: a GPU's number among those that can be seen, or ``"cpu"``.
        module: what the child runs; tests name a double.
    """

    def __init__(
        self,
        device: int | str,
        module: str = "orchestrator.doctor.trial_child",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._module = module
        self._device = device
        self._clock = clock
        self._child: _Child | None = None

    def run(self, trial: Trial, deadline_s: float) -> Tried:
        """Run a trial; after `deadline_s` seconds it has hung.

        Raises:
            MachineError: no process can be started.
        """
        began = self._clock()
        if self._child is None:
            self._child = _Child(self._module, self._device)
        try:
            line = self._child.ask(_TRIAL.dump_json(trial), began + deadline_s, self._clock)
        except TimeoutError:
            tried = Tried("hung", f"it did not end within {deadline_s:g} s")
        except EOFError:
            tried = Tried("crashed", self._child.end())
        else:
            tried = _parsed(line)
        if tried.outcome not in ("works", "refused"):
            self.close()
        seconds = round(self._clock() - began, 3)
        return Tried(tried.outcome, tried.said, tried.figures, tried.words, seconds)

    def close(self) -> None:
        if self._child is not None:
            self._child.end()
            self._child = None


class _Child:
    """One process: a line of JSON in, a line of JSON out."""

    def __init__(self, module: str, device: int | str) -> None:
        self._command, environment = own_module(module, "cpu" if device == "cpu" else "cuda:0")
        self._words: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  closed by `end`
        try:
            self._process = subprocess.Popen(
                tied(self._command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._words,
                env={
                    **WORKER_ENVIRONMENT,
                    **environment,
                    "CUDA_VISIBLE_DEVICES": visible_devices(device, environment),
                    "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
                },
            )
        except OSError as error:
            self._words.close()
            raise MachineError(
                f"no process can be started for trials: {error.strerror}",
                "let this user have more processes and memory, then run again",
            ) from error
        self._told: str | None = None

    def ask(self, line: bytes, deadline: float, clock: Callable[[], float]) -> bytes:
        """Raises TimeoutError, or EOFError if the process has ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(line + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise EOFError from None
        answer = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while not answer.endswith(b"\n"):
                left = deadline - clock()
                if left <= 0 or not selector.select(left):
                    raise TimeoutError
                part = os.read(self._process.stdout.fileno(), 1 << 16)
                if not part or len(answer) > _MOST_BYTES:
                    raise EOFError
                answer += part
        return answer

    def end(self) -> str:
        """End the process; how it ended, and its last message."""
        if self._told is None:
            with suppress(subprocess.TimeoutExpired):  # it may be about to end by itself
                self._process.wait(0.2)
            self._process.kill()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_PATIENCE_S)
            for pipe in (self._process.stdin, self._process.stdout):
                with suppress(BrokenPipeError):
                    if pipe is not None:
                        pipe.close()
            status = self._process.returncode
            failure = ChildFailure.of(self._command, status, self._words)
            self._told = failure.sentence("its process failed")
            self._words.close()
        return self._told


def _parsed(line: bytes) -> Tried:
    try:
        return _TRIED.validate_json(line)
    except ValueError:
        return Tried("failed", "its process gave no answer that can be read")


def tried_record(tried: Tried) -> dict[str, object]:
    """A plain form that `tried_of` reads back."""
    record: dict[str, object] = json.loads(_TRIED.dump_json(tried))
    return record


def tried_of(record: object) -> Tried | None:
    """None if it is no record of a trial."""
    try:
        return _TRIED.validate_python(record)
    except ValueError:
        return None
