"""Run one of our own modules in a process of its own, to its end."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence

from pipeline.errors import MachineError
from pipeline.files.child import own_module, tied
from pipeline.files.child_failure import ChildFailure, telling_line


def run_module(
    module: str,
    arguments: Sequence[str],
    environment: Mapping[str, str] | None = None,
    watch: Callable[[int], Callable[[], None]] | None = None,
) -> None:
    """Run ``python -m MODULE ARGUMENTS``; it dies with the thread that called.

    Args:
        environment: variables that are added to ours.
        watch: called with the process's number; what it returns is called when that has ended.

    Raises:
        MachineError: the module failed: with its own "error: ..." line if it wrote one.
    """
    command, ours = own_module(module, *arguments)
    with tempfile.TemporaryFile() as words:
        child = subprocess.Popen(
            tied(command),
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=words,
            env={**ours, **(environment or {})},
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
            said = telling_line(words.read())
            foreseen = said.removeprefix("error: ")
            failure = ChildFailure(tuple(command), status, said)
            raise failure.noted(
                MachineError(foreseen if foreseen != said else failure.sentence(f"{module} failed"))
            )
