"""A source that is not what was probed is refused."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.contract import VideoInfo
from pipeline.contract.video import Seen
from pipeline.errors import InputError
from pipeline.source.unchanged import fingerprint, require_unchanged, seen_now
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


@pytest.fixture
def seen(video: VideoInfo) -> VideoInfo:
    """As a run planned it."""
    path = Path(video.path)
    return replace(video, seen=seen_now(path), fingerprint=fingerprint(path, video.size_bytes))


def as_old(path: Path, video: VideoInfo) -> None:
    os.utime(path, ns=(video.mtime_ns, video.mtime_ns))


def test_another_file_of_the_same_size_and_time_is_refused(seen: VideoInfo) -> None:
    path = Path(seen.path)
    other = path.with_name("other.mp4")
    other.write_bytes(b"9876543210")
    as_old(other, seen)
    other.replace(path)
    with pytest.raises(InputError, match="was changed while it was worked on"):
        require_unchanged(seen)
    # What no run has planned is known by its size and its time alone.
    require_unchanged(replace(seen, seen=None))


def test_even_a_copy_of_it_is_another_file_in_this_run_and_the_same_in_the_next(
    seen: VideoInfo,
) -> None:
    path = Path(seen.path)
    copy = path.with_name("copy.mp4")
    shutil.copy2(path, copy)
    copy.replace(path)
    with pytest.raises(InputError, match="was changed while it was worked on"):
        require_unchanged(seen)
    require_unchanged(replace(seen, seen=seen_now(path)))


def test_a_file_written_anew_with_its_old_time_is_refused(seen: VideoInfo) -> None:
    with Path(seen.path).open("r+b") as file:
        file.write(b"98")
    as_old(Path(seen.path), seen)
    with pytest.raises(InputError, match="was changed while it was worked on"):
        require_unchanged(seen)


def test_a_new_name_other_permissions_or_another_machine_are_no_change(seen: VideoInfo) -> None:
    assert seen.seen is not None
    Path(seen.path).with_name("link.mp4").hardlink_to(seen.path)
    Path(seen.path).chmod(0o600)
    assert seen_now(Path(seen.path)) != seen.seen
    require_unchanged(seen)
    elsewhere = replace(seen, seen=Seen("another machine", 1, 1))
    require_unchanged(elsewhere)
    with pytest.raises(InputError, match="was changed"):
        require_unchanged(replace(elsewhere, fingerprint="another"))


def test_a_source_that_is_gone_is_named(video: VideoInfo) -> None:
    Path(video.path).unlink()
    with pytest.raises(InputError, match=r"talk\.mp4 cannot be read any more: No such file"):
        require_unchanged(video)
