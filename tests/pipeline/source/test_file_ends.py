"""Where a file ends: cut off, or because a disk fails. Only its end is an end."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.report.needs import reasons
from pipeline.errors import InputError, ResourceError
from pipeline.source.raw_frames import raw_frames
from pipeline.source.video_info import read_video
from tests.clips import X264, ClipSpec
from tests.orchestrator import pages

GetClip = Callable[[ClipSpec], Path]

FILES = {
    "mp4": ClipSpec("sixty.mp4", X264, num_frames=60, options=("-movflags", "+faststart")),
    "mkv": ClipSpec("sixty.mkv", X264, num_frames=60),
    "avi": ClipSpec("sixty.avi", X264, num_frames=60),
    "ts": ClipSpec("sixty.ts", X264, num_frames=60),
}


@pytest.mark.parametrize("kind", ["mp4", "mkv", "avi"])
def test_a_file_cut_off_says_so(kind: str, clip: GetClip, tmp_path: Path) -> None:
    whole = clip(FILES[kind])
    assert read_video(whole, tmp_path / "i.json", None).notes == ()
    path = tmp_path / f"cut_LR_180.{kind}"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    video = read_video(path, tmp_path / "i.json", None)
    assert 10 < video.num_frames < 50
    (note,) = [note for note in video.notes if note.startswith("the file is cut off")]
    assert ("60 frames" if kind == "mp4" else "of 2.0 s") in note


def test_a_film_glued_to_another_is_told(clip: GetClip, tmp_path: Path) -> None:
    """Players show the first of two MP4 files in one."""
    whole = clip(FILES["mp4"])
    path = tmp_path / "two_LR_180.mp4"
    path.write_bytes(whole.read_bytes() * 2)
    video = read_video(path, tmp_path / "i.json", None)
    assert video.num_frames == 60
    assert any(note.startswith("another film follows") for note in video.notes)


#: A program that reads with `open` and `os.pread` finds the end of the disk at EIO_AT.
_FAILING_DISK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static long room(int fd, off_t at, size_t n) {
    char link[64], path[4096];
    const char *file = getenv("EIO_FILE"), *limit = getenv("EIO_AT");
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0 || !file || !limit) return n;
    path[length] = 0;
    if (!strstr(path, file) || at + (off_t)n <= atoll(limit)) return n;
    return at < atoll(limit) ? atoll(limit) - at : -1;
}
ssize_t read(int fd, void *to, size_t n) {
    static ssize_t (*next)(int, void *, size_t);
    if (!next) next = dlsym(RTLD_NEXT, "read");
    off_t at = lseek(fd, 0, SEEK_CUR);
    long left = at < 0 ? (long)n : room(fd, at, n);
    if (left < 0) { errno = EIO; return -1; }
    return next(fd, to, left);
}
ssize_t pread64(int fd, void *to, size_t n, off_t at) {
    static ssize_t (*next)(int, void *, size_t, off_t);
    if (!next) next = dlsym(RTLD_NEXT, "pread64");
    long left = room(fd, at, n);
    if (left < 0) { errno = EIO; return -1; }
    return next(fd, to, left, at);
}
ssize_t pread(int fd, void *to, size_t n, off_t at) { return pread64(fd, to, n, at); }
"""

_READ = """
import json, os, sys
from pathlib import Path
import torch
from pipeline.errors import VrmatteError
from pipeline.source.decode import FrameReader
from pipeline.source.timing.frame_index import FrameIndex
from pipeline.source.video_info import read_video

said = []
for path in map(Path, sys.argv[1:]):
    index, other = path.with_suffix(".whole"), path.with_suffix(".part")
    video = read_video(path, index, None)
    reader = FrameReader(video, FrameIndex.load(index), torch.device("cpu"))
    os.environ["EIO_FILE"] = path.name
    os.environ["EIO_AT"] = str(path.stat().st_size * 7 // 10)
    for read in (
        lambda: read_video(path, other, None),
        lambda: [batch.start for batch in reader.batches(0, 60, 8)],
    ):
        try:
            said.append(f"read {read()}")
        except VrmatteError as error:
            said.append(f"{type(error).__name__}: {error}")
    said.append(other.exists())
    del os.environ["EIO_FILE"]
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def failing_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler to build a failing disk with")
    folder = tmp_path_factory.mktemp("disk")
    (folder / "disk.c").write_text(_FAILING_DISK)
    built = folder / "disk.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-o", str(built), str(folder / "disk.c"), "-ldl"], check=True
    )
    return built


@pytest.mark.slow
def test_a_disk_that_fails_is_no_end(failing_disk: Path, clip: GetClip) -> None:
    """Neither for the probe, nor for what decodes a file that was whole when it was probed."""
    # Large enough that the failing part is not read with the file's head.
    noise = replace(FILES["mp4"], eye=(384, 320), filters=("noise=alls=80:allf=t",))
    paths = [clip(replace(noise, name=f"noise.{kind}")) for kind in ("mp4", "mkv", "ts")]
    assert min(path.stat().st_size for path in paths) > 3 << 20
    done = subprocess.run(
        [sys.executable, "-c", _READ, *map(str, paths)],
        env=os.environ | {"LD_PRELOAD": str(failing_disk)},
        stdout=subprocess.PIPE,
        check=True,
    )
    said = json.loads(done.stdout)
    for probed, decoded, kept in (said[0:3], said[3:6], said[6:9]):
        assert probed.startswith("InputError")
        assert decoded.startswith("DecodeError")
        assert "Input/output error" in probed
        assert "Input/output error" in decoded
        assert not kept


def test_a_demuxer_that_ends_at_an_error_is_looked_after(
    clip: GetClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FFmpeg takes an error within a packet for the end of a transport stream."""
    path = tmp_path / "cut.ts"
    whole = clip(FILES["ts"]).read_bytes()
    path.write_bytes(whole[: len(whole) * 7 // 10])
    real = os.pread

    def fails_at_the_end(fd: int, count: int, at: int) -> bytes:
        if at + count > path.stat().st_size:
            raise OSError(errno.EIO, "Input/output error")
        return real(fd, count, at)

    assert read_video(path, tmp_path / "i.json", None).num_frames < 60
    (tmp_path / "i.json").unlink()
    monkeypatch.setattr(os, "pread", fails_at_the_end)
    with pytest.raises(InputError, match="cannot be read any further: Input/output error"):
        read_video(path, tmp_path / "i.json", None)
    assert not (tmp_path / "i.json").exists()


class _NoMemory:
    """A demuxer or decoder that finds none."""

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> object:
        return object()

    def decode(self, packet: object) -> object:
        raise RuntimeError("Could not push packet to decoder: Cannot allocate memory")


def test_no_memory_is_no_damage() -> None:
    broken: Any = _NoMemory()
    with pytest.raises(ResourceError, match="no memory to decode"):
        next(raw_frames(broken, broken))


def test_a_file_cut_off_deserves_a_look() -> None:
    note = "the file is cut off: it holds 36 of 60 frames"
    whole = pages.video(1, "a.mp4")
    assert list(reasons(whole)) == []
    assert list(reasons(replace(whole, notes=(*whole.notes, note)))) == [note]
