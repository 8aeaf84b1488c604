"""Check the local folder (`output.local_folder`) before work begins, and sweep it afterwards.

`workers/local_folder.py` owns the folders in it and decides which are removed.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.settings.groups import OutputSettings
from pipeline.errors import LocalFolderError, SettingsError
from pipeline.files.disk import refusal
from pipeline.text import printable
from workers.local_folder import sweep


def local_folder(output: OutputSettings) -> str | None:
    """The folder by its absolute path, which is the same on every node; it need not exist."""
    if output.local_folder is None:
        return None
    return os.path.abspath(Path(output.local_folder).expanduser())  # noqa: PTH100  asks no disk


def require_local_folder(output: OutputSettings) -> None:
    """Check that files can be written to this machine's local folder, if there is one.

    Raises:
        SettingsError: it does not exist, or cannot be written.
        LocalFolderError: it has no room at all.
    """
    folder = local_folder(output)
    if folder is None or (trouble := refusal(Path(folder))) is None:
        return
    shown = f"the local folder {printable(folder)}"
    if trouble.errno in (errno.ENOSPC, errno.EDQUOT):
        raise LocalFolderError(
            f"no room left in {shown}", "make room there, or name another (output.local_folder)"
        )
    raise SettingsError(
        f"cannot write to {shown}: {trouble.strerror}",
        "make it, or name another one (output.local_folder)",
    )


@contextmanager
def swept_local_folder(output: OutputSettings) -> Iterator[None]:
    """Remove, at the end, what killed workers have left in this machine's local folder."""
    folder = local_folder(output)
    try:
        yield
    finally:
        if folder is not None:
            sweep(Path(folder))


def refused_local_folder(folder: str | None) -> str | None:
    """Why a node cannot use its local folder, in words; None if it can, or needs none."""
    if folder is None or (trouble := refusal(Path(folder))) is None:
        return None
    return f"it cannot write to its local folder {printable(folder)}: {trouble.strerror}"
