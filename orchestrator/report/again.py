"""`vrmatte report OUT`: the page once more, of what a run left."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.out.folder import OutFolder
from orchestrator.report.keeper import Gallery, write_page
from orchestrator.report.page import Album, render
from orchestrator.report.rebuild import found_in
from orchestrator.report.stills.reuse import kept_pictures
from orchestrator.words import counted
from pipeline.errors import SettingsError
from pipeline.files.disk import writing
from pipeline.text import printable

if TYPE_CHECKING:
    from rich.console import Console

#: How long it waits at once for pictures before it says how far it is, in seconds.
_LOOK_S = 1.0


def write_again(path: Path, progress: Console, answers: Console, *, pictures: bool = True) -> None:
    """Write ``report.html``; say where it is. In an OUT that is read-only, the one there stays.

    Raises:
        SettingsError: no run was started in `path`, or one is going on.
        MachineError: what it left is damaged.
        DiskError: the page cannot be written.
    """
    out = OutFolder(path.absolute())
    if out.in_use():
        page = printable(str(out.page))
        raise SettingsError("a run is going on there, which writes the page itself", f"open {page}")
    if _is_read_only(out):
        _tell_old_page(out, progress, answers)
        return
    found = found_in(out, datetime.now().astimezone())
    for remark in found.remarks:
        progress.print(printable(remark), markup=False, highlight=False, soft_wrap=True)
    album = Album({})
    if pictures:
        gallery = Gallery(kept=kept_pictures(out.page))
        with progress.status("looking for pictures") as status:
            while (album := gallery.album(found.state, dict(found.infos))).awaited:
                status.update(f"pictures of {counted(album.awaited, 'video')} to make")
                gallery.wait(_LOOK_S)
    with writing(out.page):
        write_page(out.page, render(found.state, album), lasting=True)
    _tell_page(out, answers)


def _is_read_only(out: OutFolder) -> bool:
    return out.path.is_dir() and not os.access(out.path, os.W_OK | os.X_OK)


def _tell_old_page(out: OutFolder, progress: Console, answers: Console) -> None:
    """Say where the page is that a run left.

    Raises:
        SettingsError: there is none, or no run was started there.
    """
    out.read_run_file()
    if not out.page.is_file():
        raise SettingsError(
            f"{printable(str(out.path))} is read-only, and holds no {out.page.name}",
            "make it writable, or copy it to where you may write",
        )
    made = datetime.fromtimestamp(out.page.stat().st_mtime).astimezone()
    progress.print(
        f"{printable(str(out.path))} is read-only: the page stays that of {made:%Y-%m-%d %H:%M}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    _tell_page(out, answers)


def _tell_page(out: OutFolder, answers: Console) -> None:
    answers.print(printable(f"report: {out.page}"), markup=False, highlight=False, soft_wrap=True)
