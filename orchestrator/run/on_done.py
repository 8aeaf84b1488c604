"""`--on-done CMD`: run a command when a run has ended by itself, such as one that stops the pod."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from orchestrator.exit_status import STOPPED
from orchestrator.out.folder import OutFolder
from orchestrator.report.report import LONGEST_BYTES
from pipeline.files.child_failure import how_it_ended
from pipeline.foreign.json_text import read_json

#: A command that takes longer is killed: a pod that cannot be stopped costs money either way.
DEADLINE_S = 300.0


def stopped_by_somebody(status: int, out: Path) -> bool:
    """Whether a run was stopped by a person, and not, say, by a full disk."""
    if status != STOPPED:
        return False
    try:
        report = read_json(OutFolder(out.absolute()).report, LONGEST_BYTES)
        return not report["stop_reason"]
    except (ValueError, LookupError, TypeError):
        return False  # not even a report could be written


def tell(command: str, status: int, out: Path, deadline_s: float = DEADLINE_S) -> str | None:
    """Run `command` by the shell; the problem, in words, or None.

    Its environment holds the run's exit status in ``VRMATTE_STATUS``, and the paths of OUT and the
    report in ``VRMATTE_OUT`` and ``VRMATTE_REPORT``. Its output goes to stderr.
    """
    folder = OutFolder(out.absolute())
    told = {
        "VRMATTE_STATUS": str(status),
        "VRMATTE_OUT": str(folder.path),
        "VRMATTE_REPORT": str(folder.report),
    }
    try:
        with subprocess.Popen(
            ["/bin/sh", "-c", command],
            env=os.environ | told,
            stdin=subprocess.DEVNULL,
            stdout=2,
            start_new_session=True,
        ) as child:
            try:
                ended = child.wait(deadline_s)
            except subprocess.TimeoutExpired:
                return f"it took longer than {deadline_s:.0f} s and was ended"
            finally:
                with suppress(ProcessLookupError):  # also whatever it left running
                    os.killpg(child.pid, signal.SIGKILL)
    except OSError as error:
        return f"it cannot be started: {error.strerror}"
    return f"it failed ({how_it_ended(ended)})" if ended else None
