"""Write the JSON sidecars beside outputs, for players that read a folder (``--sidecar``)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from orchestrator.fleet.jobs import VideoJob
from pipeline.deliverables.formats import FORMATS
from pipeline.errors import OutputError
from pipeline.files.disk import write_file
from pipeline.foreign.files import Unreadable, read_text
from pipeline.foreign.json_text import parse_json
from pipeline.structlog_import import structlog
from pipeline.text import printable
from pipeline.vr_tags.sidecar import GENERATOR, SidecarFacts, sidecar_json

_LONGEST_BYTES = 1 << 16


def sidecar_path(output: Path) -> Path:
    """Where the JSON file of an output lies."""
    return output.with_name(output.name + ".json")


def sidecars(job: VideoJob) -> Iterator[tuple[Path, str]]:
    """Path and text of the sidecar of every output of a video that players can show."""
    info, encoding = job.shown, job.settings.encoding
    for name, output in zip(job.settings.deliverables, job.outputs, strict=True):
        row = FORMATS[name]
        if row.sidecar is None:
            continue
        shown = row.picture(info)
        facts = SidecarFacts(
            file_name=Path(output).name,
            title=info.title or Path(job.name).stem,
            duration_s=float(job.num_frames / info.frame_rate),
            width=shown.width,
            height=shown.height,
            codec=row.codec_for(encoding),
            layout=shown.layout,
            right_first=shown.right_first,
            projection=shown.projection,
            kind=row.sidecar,
            screen_color=encoding.screen_color if row.sidecar == "green" else None,
        )
        path = sidecar_path(Path(output))
        yield path, sidecar_json(facts)


def write_sidecars(jobs: Sequence[VideoJob]) -> list[str]:
    """Write those of finished videos; the same text is not written again.

    Returns:
        names of files that could not be written, because something else lies there or no file can.

    Raises:
        DiskError: one cannot be written.
    """
    in_the_way = []
    for job in jobs:
        for path, text in sidecars(job):
            found = _read(path)
            if found == text:
                continue
            if found is not None and not _is_ours(found):
                in_the_way.append(printable(path.name))
                continue
            try:
                write_file(path, text.encode())
            except OutputError as error:  # the video itself is done
                structlog.get_logger("vrmatte").warning("no_sidecar", why=str(error))
                in_the_way.append(printable(path.name))
    return in_the_way


def _read(path: Path) -> str | None:
    """The text of a small file; "" where something else lies there, None where nothing does."""
    try:
        return read_text(path, _LONGEST_BYTES)
    except Unreadable as error:
        return None if error.missing and not os.path.lexists(path) else ""


def _is_ours(text: str) -> bool:
    try:
        content = parse_json(text)
    except Unreadable:
        return False
    return isinstance(content, dict) and content.get("generator") == GENERATOR
