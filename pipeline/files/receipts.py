"""Receipts: a worker's word that it gave a file its final name, left in the work folder.

A crash may come between the name and the journal's line. The receipt is written before the name is
given, and tells the file by its digest: a file that somebody else put there is not taken for ours.
"""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.files.disk import write_file
from pipeline.files.publish import file_digest


def leave_receipt(work_dir: Path, deliverable: str, output: Path, digest: str) -> None:
    """Say that `output` is about to be the file with that sha256.

    Raises:
        DiskError: it cannot be written.
    """
    said = {"name": output.name, "sha256": digest}
    write_file(_path(work_dir, deliverable), json.dumps(said).encode() + b"\n")


def has_receipt(work_dir: Path, deliverable: str, output: Path) -> bool:
    """Whether `output` is the file that a receipt speaks of; it is read for that, if there is one.

    False also where either cannot be read.
    """
    try:
        said = json.loads(_path(work_dir, deliverable).read_bytes())
        if output.is_symlink() or said["name"] != output.name:
            return False
        return bool(said["sha256"] == file_digest(output))
    except (OSError, ValueError, LookupError, TypeError):
        return False


def _path(work_dir: Path, deliverable: str) -> Path:
    return work_dir / f"published-{deliverable}.json"
