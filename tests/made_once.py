"""Folders that one process of a test session makes for all of them, such as encoded clips."""

from __future__ import annotations

import fcntl
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path


@dataclass(frozen=True, slots=True)
class MadeOnce:
    """Makes each folder when it is first asked for; other processes that ask wait for it.

    Attributes:
        base: a folder that all processes of the session share.
    """

    base: Path

    def __call__(self, kind: str, what: object, make: Callable[[Path], object]) -> Path:
        """The folder that `make` has filled, now or earlier. Tests change nothing in it.

        Args:
            kind: the beginning of the folder's name.
            what: everything that `make` depends on; equal objects have the same ``repr``.
            make: fills an empty folder. If it fails, the next one who asks gets another.
        """
        name = f"{kind}-{sha256(repr(what).encode()).hexdigest()[:16]}"
        link = self.base / name
        with _locked(self.base / f"{name}.lock"):
            if not link.is_symlink():
                # Linked to when it is whole, not renamed: the report of a run holds its own path.
                # A new one each time: a process that a killed maker left may still write into its.
                folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.base))
                make(folder)
                link.symlink_to(folder.name)
        return link.resolve()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """The kernel frees the lock when its process ends, however that happens."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
