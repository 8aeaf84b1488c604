"""What probes found out, kept in OUT: ``.vrmatte/probed/``, one file a source, by its id."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from orchestrator.fleet.jobs import VideoJob
from orchestrator.settings.settings import STATE_FOLDER
from pipeline.contract import PIXEL_VERSION, VideoInfo
from pipeline.files.disk import write_file, writing
from pipeline.foreign.files import decoded, read_bytes
from pipeline.source.probe import info_from_json, info_to_json

_LONGEST_INFO = 16 << 20


def kept_probe(out: Path, video_id: str) -> Path:
    """Where the result of a probe is kept in an OUT."""
    return out / STATE_FOLDER / "probed" / f"{video_id}-v{PIXEL_VERSION}.json"


def read_info(path: Path) -> VideoInfo | None:
    """The result of an earlier probe of the very same file, if it can be read."""
    try:
        text, _, checksum = read_bytes(path, _LONGEST_INFO).rstrip(b"\n").rpartition(b"\n")
        if checksum != _checksum(text):  # one wrong digit would describe another video
            return None
        return info_from_json(decoded(text))
    except ValueError:  # not there, or damaged: probe again
        return None


def write_info(path: Path, info: VideoInfo) -> None:
    """Keep the result of a probe. Raises DiskError."""
    text = info_to_json(info).encode()
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, text + b"\n" + _checksum(text) + b"\n")


def _checksum(text: bytes) -> bytes:
    return f"{zlib.crc32(text):08x}".encode()


def replaced_videos(out: Path, jobs: Sequence[VideoJob]) -> Iterator[str]:
    """Ids of earlier videos whose files were replaced by other files: their work is useless."""
    now = {job.info.path: (job.info.size_bytes, job.info.mtime_ns) for job in jobs}
    for path in sorted(kept_probe(out, "*").parent.glob(kept_probe(out, "*").name)):
        known = read_info(path)
        if known is None or known.path not in now:
            continue
        if (known.size_bytes, known.mtime_ns) != now[known.path]:
            yield path.name.partition("-")[0]
