"""Publishes a whole file under its final name, so that it survives a power cut."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
from pathlib import Path

from pipeline.files.disk import force_folder, make_folder, writing

_RENAME_NOREPLACE = 1
_HERE = -100  # AT_FDCWD

#: What the kernel, or a file system, says that knows no such rename (FAT, NFS, some FUSE).
_NO_SUCH_RENAME = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)

#: What a file system says that knows no hard links.
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)


def publish(draft: Path, target: Path, *, replace: bool = True) -> None:
    """fsync `draft`, rename it to `target`, fsync the folder.

    In this order a name never stands for less than the whole file.

    Args:
        replace: whether what bears that name may be replaced.

    Raises:
        FileExistsError: something bears the name, and must not be replaced. `draft` is whole.
        OutputError: `target` cannot be written, and other files of OUT can.
        DiskError: the disk is full, or cannot be written any more.
    """
    with writing(target):
        make_folder(target.parent)
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
        if replace:
            draft.replace(target)
    if not replace:
        try:
            rename_new(draft, target)
        except FileExistsError:
            raise
        except OSError as error:
            with writing(target):
                raise error
    with writing(target):
        force_folder(target.parent)


def rename_new(source: Path, target: Path) -> None:
    """Rename a file, but replace nothing, whoever makes `target` at the same moment.

    Raises:
        FileExistsError: `target` is there, be it a link that leads nowhere.
        OSError: it cannot be renamed.
    """
    try:
        _rename_noreplace(source, target)
    except OSError as error:
        if error.errno not in _NO_SUCH_RENAME:
            raise
        _link_new(source, target)


def _rename_noreplace(source: Path, target: Path) -> None:
    """renameat2(2) of Linux, which glibc has since 2.28 and Python has not."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    names = (_HERE, os.fsencode(source), _HERE, os.fsencode(target))
    if call(*names, _RENAME_NOREPLACE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(target))


def _link_new(source: Path, target: Path) -> None:
    """A second name, which is never given to a name that is taken; then the first one goes."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # Neither is known here (FAT): between this look and the rename a file could come.
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
        source.replace(target)
        return
    source.unlink()


def file_digest(path: Path) -> str:
    """sha256 of a file's content, hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
