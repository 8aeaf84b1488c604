"""Publishes a whole file under its final name, so that it survives a power cut."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from pipeline.files.disk import force_folder, make_folder, writing


def publish(draft: Path, target: Path) -> None:
    """fsync `draft`, rename it to `target` (replacing it), fsync the folder.

    In this order a name never stands for less than the whole file.

    Raises:
        DiskError: the disk is full, or cannot be written any more.
    """
    with writing(target):
        make_folder(target.parent)
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
        draft.replace(target)
        force_folder(target.parent)


def file_digest(path: Path) -> str:
    """sha256 of a file's content, hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
