"""The life of a worker as a table: which status may follow which, and when.

down      has no process; is spawned when more tasks wait than workers are about to take one
starting  its model is loading; is killed after `Rules.start_s`
ready     is given tasks; is killed when a task makes no new frame for too long
stopping  was asked to finish its tasks and end; is killed after `Rules.grace_s`
ending    its life is over; is killed again while its process is still there
retired   is given up
"""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.fleet.snapshot import WorkerStatus

#: Every transition there is; `Worker.enter` refuses all others.
TRANSITIONS: Mapping[WorkerStatus, Mapping[WorkerStatus, str]] = {
    "down": {
        "starting": "tasks wait for it: it is spawned",
    },
    "starting": {
        "ready": "its model is loaded",
        "stopping": "the run stops, or no work is left",
        "ending": "it failed, died, or took too long to start",
    },
    "ready": {
        "stopping": "the run stops, no work is left, or its local folder takes no more files",
        "ending": "it failed, died, or a task stalled",
    },
    "stopping": {
        "down": "its process has ended",
        "retired": "its process has ended, and its local folder takes no more files",
    },
    "ending": {
        "ending": "its process is still there: it is killed again",
        "down": "its process has ended; a new life may follow",
        "retired": "its process has ended, after too many faults or for a lasting reason",
    },
    "retired": {
        "down": "tasks turned out to be to blame for its faults",
    },
}


def life_table() -> str:
    """`TRANSITIONS` as a table in Markdown, one line each."""
    rows = [
        (f"`{status}`", f"`{following}`", when)
        for status, nexts in TRANSITIONS.items()
        for following, when in nexts.items()
    ]
    lines = [("from", "to", "when"), ("---", "---", "---"), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
