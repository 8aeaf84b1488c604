"""Exit statuses: what the shell, or a script around us, is told."""

from __future__ import annotations

from pipeline.errors import VrmatteError

FAILED, USAGE, INTERRUPTED = 1, 2, 130

#: By kind of error; every other error ends with FAILED.
BY_KIND = {"settings": 2, "input": 2, "machine": 3, "resource": 3, "disk": 130}


def status_of(error: Exception) -> int:
    return BY_KIND.get(error.kind, FAILED) if isinstance(error, VrmatteError) else FAILED
