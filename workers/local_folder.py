"""A life's own folder in the local folder: claimed, held during the life, swept after its end.

The local folder may be shared by runs, by containers, and by machines that mean a disk of their own
and got a common one. So the name of a life's folder holds its machine, and a lock in it shows that
its owner lives: the kernel releases it when the process ends, however it ends. Only folders of this
machine whose lock is free are removed.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.files.disk import LIFE_FOLDER, writing

_LOCK = "lock"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_NO_BOOT_ID = "0" * 8


@dataclass(frozen=True, slots=True)
class LifeFolder:
    """A folder that nobody else writes to, or removes while this process lives; see `claim`."""

    path: Path
    _lock: int

    def remove(self) -> None:
        """Remove it with all that is in it, as far as that can be done.

        Without this the lock is held until the process ends, and somebody else sweeps it.
        """
        with suppress(OSError):
            _remove(self.path)
        os.close(self._lock)


def claim(folder: Path, worker: int, life: int) -> LifeFolder:
    """Make a folder in `folder` for one life of a worker.

    Raises:
        DiskError: `folder` is not there, or takes no files or locks.
    """
    while True:
        path = folder / _name(worker, life)
        with writing(path / _LOCK):
            path.mkdir(mode=0o700)
            try:
                lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            except FileNotFoundError:  # swept before it had its lock
                continue
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                (path / _LOCK).stat()
                os.write(lock, f"process {os.getpid()}\n".encode())
            except (BlockingIOError, FileNotFoundError):  # swept before the lock was held
                os.close(lock)
            except OSError:
                os.close(lock)
                shutil.rmtree(path, ignore_errors=True)
                raise
            else:
                return LifeFolder(path, lock)


def sweep(folder: Path) -> list[str]:
    """Remove what lives of this machine left that did not end well; the names of their folders.

    What cannot be removed or looked at stays: it is in nobody's way.
    """
    swept: list[str] = []
    with suppress(OSError):
        for path in sorted(folder.iterdir()):
            if _is_of_this_machine(path.name) and not path.is_symlink():
                with suppress(OSError):
                    _remove_if_dead(path)
                    swept.append(path.name)
    return swept


def _remove_if_dead(path: Path) -> None:
    """Raises OSError when its owner lives, or it cannot be removed."""
    try:
        descriptor = os.open(path / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        path.rmdir()  # empty, so that no life has it; one that is about to makes another
        return
    with os.fdopen(descriptor, "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _remove(path)


def _remove(path: Path) -> None:
    """The lock last: a folder with something in it and no lock would stay for ever."""
    for entry in path.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != _LOCK:
            entry.unlink()
    (path / _LOCK).unlink()
    path.rmdir()


def _name(worker: int, life: int) -> str:
    return f"vrmatte-{_host()}-{_boot()}-w{worker}-{life}-{secrets.token_hex(4)}"


def _is_of_this_machine(name: str) -> bool:
    """By the machine's name, which is another in each container, or by the kernel that runs."""
    match = LIFE_FOLDER.fullmatch(name)
    if match is None:
        return False
    return match["host"] == _host() or match["boot"] == _boot() != _NO_BOOT_ID


def _host() -> str:
    return "".join(c if c.isalnum() or c in "-." else "_" for c in socket.gethostname()[:64])


def _boot() -> str:
    """The beginning of what the kernel calls this boot: the same in all containers on it."""
    try:
        return _BOOT_ID.read_text(encoding="ascii")[:8]
    except OSError:
        return _NO_BOOT_ID
