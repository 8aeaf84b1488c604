"""Exit statuses of the commands."""

from __future__ import annotations

from pipeline.errors import VrmatteError

#: FAILED: a video failed, was set aside, or is doubtful.
ALL_DONE, FAILED, USAGE, CANNOT, STOPPED = 0, 1, 2, 3, 130

#: By kind of error; every other error ends with FAILED.
_BY_KIND = {
    "settings": USAGE,
    "input": USAGE,
    "machine": CANNOT,
    "resource": CANNOT,
    "session": CANNOT,
    "disk": STOPPED,
    "local-folder": STOPPED,
}


def status_of(error: Exception) -> int:
    return _BY_KIND.get(error.kind, FAILED) if isinstance(error, VrmatteError) else FAILED
