"""Disk errors by name (full, over quota, read-only, gone), and folders that last.

Every file that the program leaves in OUT is written under another name, forced to the disk,
renamed, and its folder forced: a name that is there after a power cut stands for a whole file.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.errors import DiskError, EncodeError, LocalFolderError, OutputError, VrmatteError

#: The folder in OUT that holds everything but the outputs.
STATE_FOLDER = ".vrmatte"

_FULL = {errno.ENOSPC: "no room left", errno.EDQUOT: "the quota is used up"}
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ESTALE, errno.ENODEV, errno.ENXIO, errno.ENOTCONN)

#: What may be wrong with one path alone: its folder's permissions, a link, a mount, something else
#: of that name, or the name itself.
_OF_ONE_PATH = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.EXDEV, errno.EBUSY, errno.ETXTBSY),
    *(errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ELOOP),
    *(errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ),
)

#: What a file system says that knows no fsync of folders (some network shares).
_NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP)

#: The folder of one life of a worker in a local folder (`workers/local_folder.py`). A path with it
#: is not in OUT, so the disk's error is the local folder's, whether an encoder, a reader or a copy
#: meets it.
LIFE_FOLDER = re.compile(r"vrmatte-(?P<host>.+)-(?P<boot>[0-9a-f]{8})-w\d+-\d+-[0-9a-f]{8}")


def disk_error(error: OSError, path: Path | str) -> VrmatteError:
    """What it means that `path`, a file of ours in OUT or in a local folder, cannot be written.

    Returns:
        A DiskError, or a LocalFolderError; an OutputError where other files of OUT can be written;
        an EncodeError where only this one file is too large for the disk.
    """
    if (folder := _local_folder_of(Path(path))) is not None:
        return _local_folder_error(error, folder)
    if error.errno in _OF_ONE_PATH and _out_takes_files(Path(path)):
        return OutputError(
            f"cannot write {path}: {error.strerror or error}",
            "other files can be written to the output folder: look at this path, and move away what"
            " is in its place; then run again",
        )
    if error.errno in _FULL:
        return DiskError(
            f"{_FULL[error.errno]} for {path}",
            "make room on that disk, then run again: it goes on where it stopped",
        )
    if error.errno == errno.EROFS:
        return DiskError(
            f"the disk of {path} is read-only", "make it writable, then run again: it goes on"
        )
    if error.errno == errno.EFBIG:
        return EncodeError(
            f"{path} is larger than its disk lets a file be",
            "choose an output folder on another disk (FAT32 takes 4 GB)",
        )
    if error.errno == errno.EXDEV:
        return DiskError(
            f"{Path(path).parent} lies on another disk than the rest of the output folder",
            "make it a plain folder there",
        )
    if error.errno in _GONE:
        return DiskError(
            f"the folder of {path} is gone ({error.strerror})",
            "bring the output folder back, then run again",
        )
    return DiskError(
        f"cannot write {path}: {error.strerror or error}",
        "check the disk of the output folder, then run again: it goes on where it stopped",
    )


def _local_folder_of(path: Path) -> Path | None:
    """The local folder in which a file lies, if it lies in one."""
    lives = (folder for folder in path.parents if LIFE_FOLDER.fullmatch(folder.name))
    return next((life.parent for life in lives), None)


def _out_takes_files(path: Path) -> bool:
    """Whether `path` lies in an output folder whose own files can be written at this moment."""
    if path.name == STATE_FOLDER:  # what all depends on
        return False
    for folder in path.parents:
        state = folder if folder.name == STATE_FOLDER else folder / STATE_FOLDER
        if os.path.isdir(state):  # noqa: PTH112  a name that is too long is no folder
            return refusal(state) is None
    return False


def _local_folder_error(error: OSError, folder: Path) -> VrmatteError:
    shown = f"the local folder {folder}"
    other = "or name another one (output.local_folder), then run again: it goes on where it stopped"
    if error.errno in _FULL:
        return LocalFolderError(
            f"{_FULL[error.errno]} in {shown}", f"make room on that disk, {other}"
        )
    if error.errno == errno.EROFS:
        return LocalFolderError(f"the disk of {shown} is read-only", f"make it writable, {other}")
    if error.errno == errno.EFBIG:
        return EncodeError(
            f"a segment is larger than the disk of {shown} lets a file be",
            "name a local folder on another disk (output.local_folder)",
        )
    if error.errno in _GONE:
        return LocalFolderError(
            f"{shown}, or what was in it, is gone ({error.strerror})", f"bring it back, {other}"
        )
    return LocalFolderError(
        f"cannot use {shown}: {error.strerror or error}", f"check its disk, {other}"
    )


@contextmanager
def writing(path: Path | str) -> Iterator[None]:
    """Give the OSErrors met while `path` is written their name.

    Raises:
        DiskError: see `disk_error`.
    """
    try:
        yield
    except OSError as error:
        raise disk_error(error, path) from error


def refusal(folder: Path) -> OSError | None:
    """Why no file can be written in `folder` at this moment, or None if one can."""
    sample = folder / f".sample-{os.getpid()}.part"
    try:
        with sample.open("wb", buffering=0) as file:
            file.write(bytes(1 << 16))
            os.fsync(file.fileno())
    except OSError as error:
        return error
    finally:
        with suppress(OSError):
            sample.unlink()
    return None


def make_folder(folder: Path) -> None:
    """Make `folder` with all above it; their names are on the disk when this returns.

    Raises:
        OSError: it cannot be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    force_folder(folder)


def force_folder(folder: Path) -> None:
    """Force the names in `folder` to the disk, and its own name, up to where the disk begins.

    Whoever made a folder above may not have got to forcing it yet, so each is forced every time.
    """
    device = folder.stat().st_dev
    for place in (folder, *folder.absolute().parents):
        if place.stat().st_dev != device:
            return
        try:
            descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        except PermissionError:  # then it was not made by us
            return
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in _NO_FOLDER_SYNC:
                raise
        finally:
            os.close(descriptor)


def write_file(path: Path, content: bytes) -> None:
    """Write a small file whole or not at all; on the disk, under its name, when this returns.

    Raises:
        DiskError: see `disk_error`.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    with writing(path):
        try:
            with draft.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except OSError:
            with suppress(OSError):
                draft.unlink()
            raise
        force_folder(path.parent)
