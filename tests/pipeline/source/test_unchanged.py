"""A source that is not what was probed is refused."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.contract import VideoInfo
from pipeline.errors import InputError
from pipeline.source.unchanged import require_unchanged
from tests.pipeline.deliverables.test_webm import info


@pytest.fixture
def video(tmp_path: Path) -> VideoInfo:
    path = tmp_path / "talk.mp4"
    path.write_bytes(b"0123456789")
    status = path.stat()
    return replace(info(), path=str(path), size_bytes=status.st_size, mtime_ns=status.st_mtime_ns)


def test_a_source_as_it_was_is_taken(video: VideoInfo) -> None:
    Path(video.path).read_bytes()
    require_unchanged(video)


def test_a_source_that_grew_is_refused(video: VideoInfo) -> None:
    with Path(video.path).open("ab") as file:
        file.write(b"more")
    os.utime(video.path, ns=(video.mtime_ns, video.mtime_ns))
    with pytest.raises(InputError, match="was changed while it was worked on"):
        require_unchanged(video)


def test_a_source_replaced_by_one_of_its_size_is_refused(video: VideoInfo) -> None:
    os.utime(video.path, ns=(video.mtime_ns, video.mtime_ns + 1))
    with pytest.raises(InputError, match="was changed while it was worked on"):
        require_unchanged(video)


def test_a_source_that_is_gone_is_named(video: VideoInfo) -> None:
    Path(video.path).unlink()
    with pytest.raises(InputError, match=r"talk\.mp4 cannot be read any more: No such file"):
        require_unchanged(video)
