"""`--on-done CMD`: what is done when a run has ended and nobody may be there, such as stopping the
pod or sending word."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from orchestrator.exit_status import STOPPED
from orchestrator.out.folder import OutFolder
from pipeline.files.child_failure import how_it_ended

#: A command that takes longer is ended: a pod that cannot be stopped costs money either way.
DEADLINE_S = 300.0


def stopped_by_somebody(status: int, out: Path) -> bool:
    """Whether a run ended so because somebody stopped it, and not, say, a full disk."""
    if status != STOPPED:
        return False
    try:
        report = json.loads(OutFolder(out.absolute()).report.read_bytes())
        return not report["stop_reason"]
    except (OSError, ValueError, KeyError, TypeError):
        return False  # not even a report could be written


def tell(command: str, status: int, out: Path, deadline_s: float = DEADLINE_S) -> str | None:
    """Run `command` by the shell; what went wrong, in words, or None.

    It finds the run's exit status in ``VRMATTE_STATUS``, and in ``VRMATTE_OUT`` and
    ``VRMATTE_REPORT`` where its files are. What it prints goes to our stderr.
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
