"""Segment files: where they are written, and how they get their final names in OUT.

Without a local folder a file is written beside its target. With one, a local disk takes the many
small writes of an encoder and the reading back, and OUT, which may be a slow network volume, gets
each file once, whole.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.errors import EncodeError
from pipeline.files.disk import force_folder, writing
from pipeline.files.publish import file_digest, publish

#: What a copy holds of a file at a time.
_COPY_BYTES = 1 << 20


@contextmanager
def segment_drafts(targets: Sequence[Path], own_folder: Path | None) -> Iterator[list[Path]]:
    """Where the files are to be written that shall become `targets`; nothing of them stays there.

    Args:
        own_folder: a folder of this process alone, on whatever disk; None: beside the targets.

    Raises:
        DiskError: the disk takes no files.
    """
    with writing(targets[0]):
        # Nothing that was prepared may have made it. What is above it, a volume's, must be there.
        targets[0].parent.mkdir(exist_ok=True)
        force_folder(targets[0].parent)
    if own_folder is None:
        drafts = [_beside(target) for target in targets]
        try:
            for draft in drafts:
                _clear(draft)
            yield drafts
        except BaseException:
            _drop(drafts)
            raise
        return
    with writing(own_folder):
        folder = Path(tempfile.mkdtemp(dir=own_folder))
    try:
        yield [folder / _beside(target).name for target in targets]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def commit(draft: Path, target: Path) -> str:
    """Give a whole file its name in OUT; sha256 of what bears it then.

    Raises:
        DiskError: a disk is full, or cannot be used any more.
        EncodeError: what arrived in OUT is not what was sent.
    """
    beside = _beside(target)
    if draft == beside:
        publish(draft, target)
        with writing(target):
            return file_digest(target)
    try:
        digest = _copied(draft, beside)
        with writing(beside):
            arrived = file_digest(beside)
        if arrived != digest:
            raise EncodeError(
                f"{target} is not what was copied there from {draft.parent}",
                "it is made again; if that comes back, check both disks",
            )
        publish(beside, target)
    except BaseException:
        _drop([beside])
        raise
    return digest


def _beside(target: Path) -> Path:
    return target.with_name(f".{target.name}.part")


def _clear(draft: Path) -> None:
    with writing(draft):  # one that was killed may have a last write under way in the old
        draft.unlink(missing_ok=True)


def _drop(drafts: Sequence[Path]) -> None:
    for draft in drafts:
        with suppress(OSError):
            draft.unlink()


def _copied(source: Path, target: Path) -> str:
    """Copy a file, a piece at a time; sha256 of what was read."""
    _clear(target)
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(_COPY_BYTES))
    with writing(source):
        file = source.open("rb", buffering=0)
    with file, writing(target), target.open("wb", buffering=0) as copy:
        while True:
            with writing(source):
                size = file.readinto(buffer)
            if not size:
                return digest.hexdigest()
            digest.update(buffer[:size])
            written = 0
            while written < size:
                written += copy.write(buffer[written:size])
