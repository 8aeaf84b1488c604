"""Power cuts: what a line of the journal promises is on the disk before the line can be.

A run is watched: every fsync, rename and removal of its process. Of that a disk is modelled that
keeps nothing it was not forced to keep, and forgets at once what is removed. The power is cut
after every step; after some the disk is laid out and the same command is given again.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from orchestrator.fleet.journal_entries import Entry, SegmentCommitted, VideoDone
from orchestrator.out.journal import Journal
from pipeline.files import publish
from tests.clips import X264, ClipSpec
from tests.runs import HereRun, files_left, outputs
from tests.shared_runs import VideosOf

pytestmark = pytest.mark.slow

CLIPS = (
    ClipSpec("one_LR.mp4", X264, num_frames=24, audio=("aac",)),
    ClipSpec("day 2/two_LR.mp4", X264, num_frames=16),
)
SETTINGS: dict[str, dict[str, object]] = {
    "matting": {"model": "chroma"},
    "stereo": {"mode": "independent"},
    "streaming": {"segment_frames": 8, "lanes": 2},
    "limits": {"reserve_gb": 0.0},
}


@dataclass
class Disk:
    """What would be there after a power cut.

    Attributes:
        base: the folder that was there before.
        contents: of each inode, as it was forced last.
        names: of each folder: name -> (inode, is a folder), as they were forced last.
    """

    base: Path
    contents: dict[int, bytes] = field(default_factory=dict)
    names: dict[Path, dict[str, tuple[int, bool]]] = field(default_factory=dict)

    def read(self, path: Path) -> bytes | None:
        """The content of a file, or None if it or a folder above it would not be there."""
        inode = None
        for folder in reversed([path, *path.parents]):
            if self.base not in folder.parents:
                continue
            entry = self.names.get(folder.parent, {}).get(folder.name)
            if entry is None:
                return None
            inode = entry[0]
        return None if inode is None else self.contents.get(inode)

    def lay_out(self) -> None:
        """Make the real folder what the disk holds."""
        for path in self.base.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        folders = [self.base]
        for folder in folders:
            for name, (inode, is_folder) in self.names.get(folder, {}).items():
                if is_folder:
                    (folder / name).mkdir()
                    folders.append(folder / name)
                elif inode in self.contents:
                    (folder / name).write_bytes(self.contents[inode])


@dataclass
class Watcher:
    """Sees every step of a run that concerns the disk under `base`, and replays them.

    Attributes:
        steps: what was done; a step changes a `Disk`.
        lines: by the number of steps before them: entries that may be on the disk from then on.
    """

    base: Path
    steps: list[Callable[[Disk], None]] = field(default_factory=list)
    said: list[tuple[int, Entry]] = field(default_factory=list)
    forced: list[tuple[int, Entry]] = field(default_factory=list)
    renames: list[tuple[Path, bool]] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def fsync(self, descriptor: int) -> None:
        path = Path(os.fsdecode(os.readlink(f"/proc/self/fd/{descriptor}")))  # noqa: PTH115
        if path != self.base and self.base not in path.parents:
            return
        inode = os.fstat(descriptor).st_ino
        if path.is_dir():
            listing = {
                entry.name: (entry.inode(), entry.is_dir(follow_symlinks=False))
                for entry in os.scandir(path)
            }
            self.steps.append(lambda disk: disk.names.update({path: dict(listing)}))
        elif path.exists():
            content = path.read_bytes()
            self.steps.append(lambda disk: disk.contents.update({inode: content}))

    def forget(self, path: Path) -> None:
        """A name that was removed, or may stand for another file now."""
        self.steps.append(lambda disk: disk.names.get(path.parent, {}).pop(path.name, None))  # type: ignore[arg-type]

    def rename(self, source: Path, target: Path) -> None:
        if self.base in target.parents:
            whole = self.disk(len(self.steps)).contents.get(source.stat().st_ino)
            self.renames.append((target, whole == source.read_bytes()))
            self.forget(source)
            self.forget(target)

    def disk(self, steps: int) -> Disk:
        disk = Disk(self.base)
        for step in self.steps[:steps]:
            step(disk)
        return disk


@contextmanager
def watched(base: Path, patch: pytest.MonkeyPatch) -> Iterator[Watcher]:
    watcher = Watcher(base)
    fsync, replace, unlink, append = os.fsync, os.replace, os.unlink, Journal.append
    rename_new = publish.rename_new

    def watched_fsync(descriptor: int) -> None:
        with watcher.lock:
            fsync(descriptor)
            watcher.fsync(descriptor)

    def watched_replace(source: Any, target: Any, **options: Any) -> None:
        with watcher.lock:
            watcher.rename(Path(source), Path(target))
            replace(source, target, **options)

    def watched_rename_new(source: Path, target: Path) -> None:
        with watcher.lock:
            watcher.rename(source, target)
            rename_new(source, target)

    def watched_unlink(path: Any, *, dir_fd: int | None = None) -> None:
        with watcher.lock:
            folder = Path() if dir_fd is None else Path(f"/proc/self/fd/{dir_fd}").resolve()
            watcher.forget(folder / path)
            unlink(path, dir_fd=dir_fd)

    def watched_append(self: Journal, entry: Entry) -> None:
        with watcher.lock:
            watcher.said.append((len(watcher.steps), entry))
            append(self, entry)
            watcher.forced.append((len(watcher.steps), entry))

    with patch.context() as context:
        context.setattr(os, "fsync", watched_fsync)
        context.setattr(os, "replace", watched_replace)
        context.setattr(publish, "rename_new", watched_rename_new)
        context.setattr(os, "unlink", watched_unlink)
        context.setattr(Journal, "append", watched_append)
        yield watcher


def promises(entry: Entry) -> dict[Path, str | int]:
    """The files that an entry speaks of, with their digest or size."""
    if isinstance(entry, SegmentCommitted):
        return dict(zip(map(Path, entry.result.files), entry.result.digests, strict=True))
    if isinstance(entry, VideoDone):
        return {Path(output.path): output.size_bytes for output in entry.outputs}
    return {}


def is_kept(disk: Disk, path: Path, promised: str | int) -> bool:
    content = disk.read(path)
    if content is None:
        return False
    if isinstance(promised, int):
        return len(content) == promised
    return hashlib.sha256(content).hexdigest() == promised


@pytest.fixture(scope="module")
def videos(videos_of: VideosOf) -> Path:
    return videos_of(CLIPS)


@dataclass
class Watched:
    """A run that was watched from its beginning to its end."""

    run: HereRun
    watcher: Watcher
    outputs: dict[str, str]


@pytest.fixture(scope="module")
def watched_run(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Watched:
    base = tmp_path_factory.mktemp("disk")
    here = HereRun(videos, base / "out", SETTINGS, threads=True)
    with pytest.MonkeyPatch.context() as patch, watched(base, patch) as watcher:
        assert here.run() == 0, here.said.getvalue()
    return Watched(here, watcher, outputs(here.out))


def test_at_every_cut_what_the_journal_may_say_is_there(watched_run: Watched) -> None:
    watcher = watched_run.watcher
    journal = watched_run.run.out / ".vrmatte/journal.jsonl"
    assert len([1 for _, entry in watcher.said if isinstance(entry, SegmentCommitted)]) == 5
    for cut in range(len(watcher.steps) + 1):
        disk = watcher.disk(cut)
        done = {
            entry.video
            for at, entry in watcher.forced
            if at <= cut and isinstance(entry, VideoDone)
        }
        for at, entry in watcher.said:
            if at > cut or (isinstance(entry, SegmentCommitted) and entry.video in done):
                continue
            for path, promised in promises(entry).items():
                assert is_kept(disk, path, promised), (cut, entry)
        for at, entry in watcher.forced:
            if at <= cut and promises(entry):
                assert disk.read(journal) is not None
                assert len((disk.read(journal) or b"").splitlines()) >= 1


def test_a_line_is_on_the_disk_when_the_run_goes_on(watched_run: Watched) -> None:
    watcher = watched_run.watcher
    journal = watched_run.run.out / ".vrmatte/journal.jsonl"
    for number, (at, _) in enumerate(watcher.forced):
        content = watcher.disk(at).read(journal)
        assert content is not None
        assert content.count(b"\n") == number + 1


def test_every_file_is_forced_before_it_gets_its_name(watched_run: Watched) -> None:
    named = {target.name for target, _ in watched_run.watcher.renames}
    assert {
        "webm-000000.webm",
        "one_LR_360_matte.webm",
        "index.json",
        "run.yaml",
        "report.json",
    } <= named
    assert [target for target, whole in watched_run.watcher.renames if not whole] == []


@pytest.mark.parametrize("share", [0.15, 0.3, 0.45, 0.6, 0.75, 0.9])
def test_after_a_power_cut_the_same_command_goes_on(share: float, watched_run: Watched) -> None:
    watcher = watched_run.watcher
    cut = round(share * len(watcher.steps))
    watcher.disk(cut).lay_out()
    journal = watched_run.run.out / ".vrmatte/journal.jsonl"
    if journal.exists():
        with journal.open("ab") as file:  # a line that was being written
            file.write(b'{"v":1,"at":17951912' + bytes(100))
    assert watched_run.run.run() == 0, watched_run.run.said.getvalue()
    assert outputs(watched_run.run.out) == watched_run.outputs
    assert files_left(watched_run.run.out) == set()
