"""The JSON files beside outputs, for players that are served a folder (``--sidecar``)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from orchestrator.fleet.jobs import VideoJob
from pipeline.deliverables.fit import packed_height, packed_projection
from pipeline.files.disk import write_file
from pipeline.text import printable
from pipeline.vr_tags.sidecar import GENERATOR, SidecarFacts, SidecarKind, sidecar_json

#: What players make of a format; a mask stack is for no player.
_KINDS: Mapping[str, SidecarKind] = {
    "webm": "alpha",
    "prores": "alpha",
    "hevc-alpha": "alpha",
    "greenscreen": "green",
    "alphapack": "alpha-packed",
    "matte": "mask",
}
_LONGEST_BYTES = 1 << 16
_CODECS: Mapping[str, str] = {"webm": "vp9", "prores": "prores", "hevc-alpha": "hevc"}


def sidecar_path(output: Path) -> Path:
    """Where the JSON file of an output lies."""
    return output.with_name(output.name + ".json")


def sidecars(job: VideoJob) -> Iterator[tuple[Path, str]]:
    """Path and text of the sidecar of every output of a video that players can show."""
    info, encoding = job.info, job.settings.encoding
    for name, output in zip(job.settings.deliverables, job.outputs, strict=True):
        kind = _KINDS.get(name)
        if kind is None:
            continue
        width, height, packed = info.even_width, info.even_height, name == "alphapack"
        if packed:
            height = packed_height(info)
            width = 2 * height
        facts = SidecarFacts(
            file_name=Path(output).name,
            title=info.title or Path(job.name).stem,
            duration_s=float(job.num_frames / info.frame_rate),
            width=width,
            height=height,
            codec=_CODECS.get(name, encoding.codec),
            layout="sbs" if packed else info.layout,
            right_first=info.right_first and not packed,
            projection=packed_projection(info) if packed else info.projection,
            kind=kind,
            screen_color=encoding.screen_color if kind == "green" else None,
        )
        path = sidecar_path(Path(output))
        yield path, sidecar_json(facts)


def write_sidecars(jobs: Sequence[VideoJob]) -> list[str]:
    """Write those of finished videos; the same text is not written again.

    Returns:
        names of files that are in the way, because something else lies there.

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
            write_file(path, text.encode())
    return in_the_way


def _read(path: Path) -> str | None:
    """The text of a small file; "" where something else lies there, None where nothing does."""
    try:
        if path.stat().st_size > _LONGEST_BYTES:
            return ""
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return ""


def _is_ours(text: str) -> bool:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(content, dict) and content.get("generator") == GENERATOR
