"""One file -> VideoInfo and its frame index, in a child process with a deadline."""

from __future__ import annotations

from pathlib import Path

from pipeline.spec import Layout, VideoInfo


def probe_video(
    path: Path, index_path: Path, *, layout: Layout | None = None, deadline_s: float = 60.0
) -> VideoInfo:
    """Raises: InputError."""
    raise NotImplementedError
