"""The scratch folder as a person names it (`output.scratch`), tried before work begins.

Whose folders lie in it, and what is removed from it, is in `workers/scratch.py`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.settings.groups import OutputSettings
from orchestrator.words import printable
from pipeline.errors import ScratchError, SettingsError
from pipeline.files.disk import refusal
from workers.scratch import sweep


def scratch_folder(output: OutputSettings) -> str | None:
    """The folder by its absolute path, which is the same on every node; it need not exist."""
    if output.scratch is None:
        return None
    return os.path.abspath(Path(output.scratch).expanduser())  # noqa: PTH100  asks no disk


def require_scratch(output: OutputSettings) -> None:
    """See that this machine's scratch folder, if one is wanted, takes files.

    Raises:
        SettingsError: it is not there, or cannot be written.
        ScratchError: it has no room at all.
    """
    folder = scratch_folder(output)
    if folder is None or (trouble := refusal(Path(folder))) is None:
        return
    shown = f"the scratch folder {printable(folder)}"
    if trouble.errno in (errno.ENOSPC, errno.EDQUOT):
        raise ScratchError(
            f"no room left in {shown}", "make room there, or give another (output.scratch)"
        )
    raise SettingsError(
        f"cannot write to {shown}: {trouble.strerror}",
        "make it, or give another one (output.scratch)",
    )


@contextmanager
def swept_scratch(output: OutputSettings) -> Iterator[None]:
    """Nothing of workers that were killed meanwhile is left in this machine's scratch folder."""
    folder = scratch_folder(output)
    try:
        yield
    finally:
        if folder is not None:
            sweep(Path(folder))


def refused_scratch(folder: str | None) -> str | None:
    """Why a node cannot use its scratch folder, in words; None if it can, or needs none."""
    if folder is None or (trouble := refusal(Path(folder))) is None:
        return None
    return f"it cannot write to its scratch folder {printable(folder)}: {trouble.strerror}"
