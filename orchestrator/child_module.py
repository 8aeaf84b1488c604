"""Run one of our own modules in a process of its own, to its end."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pipeline.errors import MachineError
from pipeline.files.child import tied

_LAST_WORDS = 300


def run_module(
    module: str,
    arguments: Sequence[str],
    environment: Mapping[str, str] | None = None,
    watch: Callable[[int], Callable[[], None]] | None = None,
) -> None:
    """Run ``python -m MODULE ARGUMENTS``; it dies with the thread that called.

    Args:
        environment: laid over ours.
        watch: given the number of the process; what it returns is called when that has ended.

    Raises:
        MachineError: it failed; what it said last.
    """
    here = str(Path(__file__).resolve().parents[1])
    known = os.environ.get("PYTHONPATH")
    places = os.pathsep.join([here, known] if known else [here])
    with tempfile.TemporaryFile() as words:
        child = subprocess.Popen(
            # -P: modules are never taken from the folder in which the command was typed.
            tied([sys.executable, "-P", "-m", module, *arguments]),
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=words,
            env={**os.environ, **(environment or {}), "PYTHONPATH": places},
        )
        end = watch(child.pid) if watch else None
        try:
            status = child.wait()
        finally:
            child.kill()
            child.wait()
            if end:
                end()
        if status != 0:
            words.seek(0)
            raise MachineError(_reason(words.read(), status))


def _reason(words: bytes, status: int) -> str:
    """The line that says why, among all that was said."""
    lines = [line.strip() for line in words.decode(errors="replace").splitlines() if line.strip()]
    telling = [
        line for line in lines if any(mark in line for mark in ("error: ", "failed: ", "aside: "))
    ]
    last = (telling or lines or [f"status {status}, without a word"])[-1][:_LAST_WORDS]
    foreseen = last.removeprefix("error: ")
    return foreseen if foreseen != last else f"it did not come to its end: {last}"
