"""The output folder: its lock, what belongs to the program in it, and what a run records there.

Everything but the outputs lies in ``OUT/.vrmatte``; nothing else in OUT is ever removed.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
import yaml

from orchestrator.config import STATE_FOLDER
from orchestrator.words import printable
from pipeline.errors import MachineError, SettingsError

_VIDEO_ID = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class OutFolder:
    """An output folder by its absolute path; it need not exist."""

    path: Path

    @property
    def state(self) -> Path:
        return self.path / STATE_FOLDER

    @property
    def journal(self) -> Path:
        return self.state / "journal.jsonl"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def work(self) -> Path:
        return self.state / "work"

    @property
    def run_file(self) -> Path:
        return self.state / "run.yaml"

    @property
    def report(self) -> Path:
        return self.path / "report.json"

    def create(self) -> None:
        """Make the folder and what is always in it.

        Raises:
            SettingsError: it cannot be made or written.
        """
        shown = printable(str(self.path))
        try:
            str(self.path).encode()
        except UnicodeEncodeError:
            raise SettingsError(
                f"the path of the output folder {shown} is not valid UTF-8", "choose another"
            ) from None
        try:
            for folder in (self.logs, self.work):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(
                f"cannot write to the output folder {shown}: {error.strerror}",
                "choose a folder that you may write to",
            ) from None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this run alone; the lock ends with the process, however it ends.

        Raises:
            SettingsError: another run holds it.
            MachineError: the file system knows no locks.
        """
        shown = printable(str(self.path))
        try:
            descriptor = os.open(self.state / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise SettingsError(
                f"cannot write to the output folder {shown}: {error.strerror}",
                "choose a folder that you may write to",
            ) from None
        with os.fdopen(descriptor, "r+b", buffering=0) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = file.read(20).decode("ascii", "replace").strip() or "?"
                raise SettingsError(
                    f"another run (process {holder}) is using the output folder {shown}",
                    "wait until it is done, or choose another output folder",
                ) from None
            except OSError as error:
                raise MachineError(
                    f"the output folder {shown} cannot be locked: {error.strerror}",
                    "choose one on another disk",
                ) from None
            file.truncate(0)
            file.write(f"{os.getpid()}\n".encode())
            yield

    def in_use(self) -> bool:
        """Whether a run holds the folder at this moment."""
        try:
            with (self.state / "lock").open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def forget(self) -> None:
        """Drop the journal and the work of earlier runs; outputs and logs stay."""
        self.journal.unlink(missing_ok=True)
        self.run_file.unlink(missing_ok=True)
        for folder in self.work.iterdir() if self.work.is_dir() else ():
            if _VIDEO_ID.fullmatch(folder.name) and not folder.is_symlink():
                shutil.rmtree(folder)

    def sweep(self, work_dir: Path) -> None:
        """Drop the segments of a video that is done, and its index if nothing else needs it.

        What cannot be removed is left there and logged: the outputs are whole.
        """
        folder = work_dir.parent
        try:
            if work_dir.is_dir():
                shutil.rmtree(work_dir)
            if folder.is_dir() and not any(path.is_dir() for path in folder.iterdir()):
                shutil.rmtree(folder)
        except OSError as error:
            structlog.get_logger("vrmatte").warning("not_swept", folder=folder, why=str(error))

    def write_run_file(self, record: Mapping[str, Any]) -> None:
        """Record settings, inputs and videos of the run in ``run.yaml``."""
        part = self.run_file.with_suffix(".part")
        part.write_text(yaml.safe_dump(dict(record), sort_keys=False), encoding="utf-8")
        part.replace(self.run_file)

    def read_run_file(self) -> dict[str, Any]:
        """What the last run recorded.

        Raises:
            SettingsError: there was none.
        """
        try:
            record = yaml.safe_load(self.run_file.read_text(encoding="utf-8"))
        except OSError:
            raise SettingsError(
                f"no run was started in {printable(str(self.path))}",
                "give the OUT of `vrmatte run`",
            ) from None
        except (yaml.YAMLError, ValueError) as error:
            raise MachineError(
                f"{self.run_file} is damaged ({str(error).splitlines()[0]})", "run again"
            ) from None
        if not isinstance(record, dict):
            raise MachineError(f"{self.run_file} is damaged", "run again")
        return record

    def work_bytes(self) -> int:
        """Bytes under the work folder."""
        return sum(path.lstat().st_size for path in self.work.rglob("*") if path.is_file())

    def free_bytes(self) -> int:
        """Free on the disk of the folder."""
        return shutil.disk_usage(self.path).free
