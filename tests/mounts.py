"""Small disks for tests: a tmpfs that only the commands given to it see.

Needs to be root, or user namespaces; a test that wants one skips where neither is to be had.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

_AS_ROOT = os.geteuid() == 0
_NEW = ("unshare", "-m") if _AS_ROOT else ("unshare", "-rm")
_ENTER = ("-m",) if _AS_ROOT else ("-m", "-U", "--preserve-credentials")


class SmallDisk:
    """A tmpfs mounted on a folder, in a mount namespace of its own.

    Attributes:
        folder: where it lies for the commands.
        seen: the same folder as this process reaches it.
    """

    def __init__(self, folder: Path, holder: int) -> None:
        self.folder = folder
        self.seen = Path(f"/proc/{holder}/root{folder}")
        self._holder = holder

    def command(self, command: Sequence[str]) -> list[str]:
        """`command`, so that it sees the disk."""
        enter = ("nsenter", "-t", str(self._holder), *_ENTER, f"--wd={Path.cwd()}", "--")
        return [*enter, *command]

    def remount(self, options: str) -> None:
        command = ["mount", "-o", f"remount,{options}", str(self.folder)]
        subprocess.run(self.command(command), check=True, capture_output=True)


@contextmanager
def small_disk(folder: Path, size: str, *options: str) -> Iterator[SmallDisk]:
    """A disk of `size` (as ``mount`` takes it) on `folder`, which must exist."""
    script = 'mount -t tmpfs -o "size=$1" tmpfs "$2" && echo ready && read _'
    wanted = ",".join([size, *options])
    try:
        holder = subprocess.Popen(
            [*_NEW, "sh", "-c", script, "sh", wanted, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    except FileNotFoundError as error:
        pytest.skip(f"no small disk can be made: {error}")
    assert holder.stdout is not None
    if holder.stdout.readline() != "ready\n":
        why = holder.communicate()[1].strip()
        pytest.skip(f"no small disk can be mounted here: {why}")
    try:
        yield SmallDisk(folder, holder.pid)
    finally:
        holder.communicate("\n")
