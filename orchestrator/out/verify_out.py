"""`vrmatte verify OUT`: says which finished files are not what they were when they were made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.exit_status import ALL_DONE, FAILED
from orchestrator.out.folder import OutFolder
from orchestrator.out.journal import read_entries
from orchestrator.out.verification import finished_files, verified
from orchestrator.words import counted, readable_size
from pipeline.errors import SettingsError
from pipeline.text import printable

if TYPE_CHECKING:
    from rich.console import Console


def verify_out(path: Path, progress: Console, answers: Console) -> int:
    """Show a line for each file that differs, and one that sums up; the exit status.

    Raises:
        SettingsError: no run was started in `path`, or none has finished a video.
    """
    out = OutFolder(path.absolute())
    out.read_run_file()
    files = finished_files(read_entries(out.journal))
    if not files:
        raise SettingsError(
            f"no video is done in {printable(str(out.path))}", "`vrmatte status` shows what is"
        )
    lines, bad, unknown, read_bytes = [], 0, 0, 0
    with progress.status("verifying") as status:
        for number, one in enumerate(verified(files)):
            read_bytes += one.output.size_bytes
            status.update(
                f"verified {number + 1} of {counted(len(files), 'file')},"
                f" {readable_size(read_bytes)}"
            )
            bad += not one.is_good
            unknown += one.found == "only its size is known"
            if not one.is_good:
                detail = f": {one.detail}" if one.detail else ""
                lines.append(f"{_shown(one.output.path, out.path)} {one.found}{detail}")
    good = len(files) - bad
    lines.append(f"{good} of {counted(len(files), 'file')} as when they were made")
    if unknown:
        lines.append(
            f"of {counted(unknown, 'file')} only the size was compared: an earlier version of"
            " vrmatte made them"
        )
    if bad:
        lines.append("delete what has changed; the same `vrmatte run` makes it again")
    for line in lines:
        answers.print(printable(line), markup=False, highlight=False, soft_wrap=True)
    return FAILED if bad else ALL_DONE


def _shown(path: str, out: Path) -> str:
    return str(Path(path).relative_to(out)) if Path(path).is_relative_to(out) else path
