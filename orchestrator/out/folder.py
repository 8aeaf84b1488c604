"""The output folder: create and lock it, its paths, ``run.yaml``, and removing old work.

Everything but the outputs lies in ``OUT/.vrmatte``; nothing else in OUT is ever removed.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from orchestrator.fleet.jobs import VideoJob
from orchestrator.out.below import in_out, written
from orchestrator.out.run_record import sound_record
from orchestrator.settings.settings import STATE_FOLDER
from pipeline.errors import MachineError, SettingsError, VrmatteError
from pipeline.files.disk import disk_error, make_folder, write_file, writing
from pipeline.foreign.files import Unreadable, open_regular, read_text
from pipeline.foreign.yaml_text import Bounds, parse_yaml
from pipeline.structlog_import import structlog
from pipeline.text import printable

#: Of the record of a run: it grows with its videos and their segments. PyYAML writes what is
#: there twice as an alias.
_LONGEST_RECORD = 256 << 20
_RECORD = Bounds(depth=24, values=20_000_000, aliases=True)

#: Digits of a video's fingerprint with which names in `scales` and `models` begin.
NOTE_DIGITS = 16

_VIDEO_ID = re.compile(r"[0-9a-f]{16}")

#: Names under which files are written before they are whole.
_DRAFT = re.compile(r"\..+\.part(\.txt)?", re.DOTALL)
_REPORT_DRAFT = re.compile(r"\.report\.(json|html)(\.\d+)?\.part")


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
    def scales(self) -> Path:
        """What `orchestrator.estimate.network_scale` chose for each video."""
        return self.state / "scales"

    @property
    def models(self) -> Path:
        """What `orchestrator.plan.choose_model` chose for each video."""
        return self.state / "models"

    @property
    def engines(self) -> Path:
        """What `orchestrator.engines.chooser` chose for each video."""
        return self.state / "engines"

    @property
    def made_with(self) -> Path:
        """See `orchestrator.out.made_with`."""
        return self.state / "settings"

    @property
    def run_file(self) -> Path:
        return self.state / "run.yaml"

    @property
    def ledger(self) -> Path:
        """See `orchestrator.out.ledger`."""
        return self.state / "videos.json"

    @property
    def lock(self) -> Path:
        return self.state / "lock"

    @property
    def report(self) -> Path:
        return self.path / "report.json"

    @property
    def page(self) -> Path:
        return self.path / "report.html"

    def create(self) -> None:
        """Make the folder and what is always in it.

        Raises:
            SettingsError: it cannot be made or written.
            DiskError: there is no room for it.
        """
        shown = printable(str(self.path))
        try:
            str(self.path).encode()
        except UnicodeEncodeError:
            raise SettingsError(
                f"the path of the output folder {shown} is not valid UTF-8", "choose another"
            ) from None
        self._refuse_links()
        try:
            for folder in (self.logs, self.work):
                make_folder(folder)
        except OSError as error:
            raise _not_writable(shown, error) from None

    def _refuse_links(self) -> None:
        """What belongs to the program lies in OUT itself: a link could lead anywhere."""
        noted = (self.scales, self.models, self.engines, self.made_with)
        chosen = (self.state / "probed", *noted)
        own = (self.state, self.logs, self.work, *chosen, self.journal)
        for path in (*own, *_entries(self.logs)):
            if path.is_symlink():
                raise SettingsError(
                    f"{printable(str(path))} is a symbolic link", "remove it, or choose another OUT"
                )

    @contextmanager
    def locked(self) -> Iterator[tuple[int, int]]:
        """Hold the folder for this run alone; the lock ends with the process, however it ends.

        So a lock file that an earlier run left means nothing.

        Yields:
            Device and inode of the lock that is held.

        Raises:
            SettingsError: another run holds it.
            MachineError: the file system knows no locks.
            DiskError: there is no room for the lock.
        """
        shown = printable(str(self.path))
        try:
            descriptor = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise _not_writable(shown, error) from None
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
            with suppress(OSError):  # a full disk; the number is for people only
                file.truncate(0)
                file.write(f"{os.getpid()}\n".encode())
            held = os.fstat(file.fileno())
            yield held.st_dev, held.st_ino

    def in_use(self) -> bool:
        """Whether a run holds the folder at this moment.

        Raises:
            SettingsError: it cannot be looked into.
        """
        try:
            with open_regular(self.lock) as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except (OSError, Unreadable) as error:
            if isinstance(error, Unreadable) and error.missing:
                return False
            why = error.why if isinstance(error, Unreadable) else error.strerror
            raise SettingsError(
                f"cannot look into {printable(str(self.path))}: its lock {why}",
                "give the OUT of `vrmatte run`, as a user who may read it",
            ) from None
        return False

    def forget(self, video_id: str, fingerprint: str | None) -> None:
        """Drop the work of earlier runs on one video, and what they chose for it.

        Args:
            fingerprint: of its content, as its probe told; None if it was never probed.

        Raises:
            DiskError: something cannot be removed.
        """
        with writing(self.state):
            for folder in (self.scales, self.models, self.engines) if fingerprint else ():
                for note in _entries(folder):
                    if note.name.startswith(f"{fingerprint}"[:NOTE_DIGITS] + "-"):
                        note.unlink(missing_ok=True)
            work = self.work / video_id
            if _VIDEO_ID.fullmatch(video_id) and work.is_dir() and not work.is_symlink():
                shutil.rmtree(work)

    def set_aside(self, path: Path) -> Path:
        """Give a damaged file of the state another name, under which it is kept; the new path.

        Raises:
            DiskError: it cannot be renamed.
        """
        numbers = itertools.count(2)
        kept = path.with_name(f"{path.name}.damaged")
        while os.path.lexists(kept):
            kept = path.with_name(f"{path.name}.damaged-{next(numbers)}")
        with writing(path):
            path.rename(kept)
        return kept

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

    def drop_work(self, video_id: str, settings: str) -> None:
        """Drop the segments of a video under settings; what cannot be removed stays."""
        folder = self.work / video_id / settings
        is_ours = _VIDEO_ID.fullmatch(video_id) and _VIDEO_ID.fullmatch(settings)
        if is_ours and not (folder.is_symlink() or folder.parent.is_symlink()):
            shutil.rmtree(folder, ignore_errors=True)

    def drop_videos(self, ids: Iterable[str]) -> None:
        """Drop what earlier runs left of videos that are no more; what cannot be removed stays."""
        for video_id in ids:
            folder = self.work / video_id
            if _VIDEO_ID.fullmatch(video_id) and not folder.is_symlink():
                shutil.rmtree(folder, ignore_errors=True)

    def write_run_file(self, record: Mapping[str, Any]) -> None:
        """Record settings, inputs and videos of the run in ``run.yaml``, paths relative to OUT.

        Raises:
            DiskError: the disk is full, or cannot be written any more.
        """
        text = _yaml(_with_outputs(record, lambda path: written(path, self.path)))
        write_file(self.run_file, text.encode())

    def read_run_file(self) -> dict[str, Any]:
        """What the last run recorded, as far as it is sound; paths of outputs are absolute.

        Its field ``damaged`` is the number of videos and of files set aside that are not.

        Raises:
            SettingsError: there was none.
            MachineError: the record is damaged.
        """
        shown = printable(str(self.run_file))
        try:
            record, damaged = sound_record(self._recorded())
        except Unreadable as error:
            if error.missing:
                raise SettingsError(
                    f"no run was started in {printable(str(self.path))}",
                    "give the OUT of `vrmatte run`",
                ) from None
            raise MachineError(f"{shown} is damaged ({error})", "run again") from None
        except ValueError as error:
            raise MachineError(f"{shown} is damaged ({error})", "run again") from None
        record = _with_outputs(record, lambda path: in_out(path, self.path))
        return record | {"damaged": damaged}

    def holds_outputs(self) -> bool:
        """Whether there is anything beside what is the program's own."""
        own = {self.state.name, self.report.name, self.page.name}
        return any(path.name not in own for path in _entries(self.path))

    def _recorded(self) -> Any:
        return parse_yaml(read_text(self.run_file, _LONGEST_RECORD), _RECORD)

    def video_names(self) -> dict[str, str]:
        """Names of the last run's videos by their ids, as far as they are known."""
        try:
            record = self._recorded()
            return {str(video["id"]): str(video["name"]) for video in record["videos"]}
        except (ValueError, LookupError, TypeError):
            return {}

    def given_up(self) -> tuple[str, ...]:
        """Outputs of others' making that the last run was told to replace, by their paths."""
        try:
            # The last entry: what the others say of 10,000 videos takes seconds to parse.
            text = read_text(self.run_file, _LONGEST_RECORD)
            paths = parse_yaml(text.rpartition("\ngiven_up:")[2], _RECORD)
        except Unreadable:
            return ()
        return tuple(in_out(str(p), self.path) for p in paths) if isinstance(paths, list) else ()

    def sweep_drafts(self) -> None:
        """Remove what earlier runs were writing when they ended; nobody would ever read it.

        Only for whoever holds the lock. What cannot be removed stays: it is in nobody's way.
        """
        noted = (self.scales, self.models, self.engines, self.made_with)
        folders = [self.path, self.state, self.state / "probed", *noted]
        videos = [path for path in _folders_in(self.work) if _VIDEO_ID.fullmatch(path.name)]
        folders += [self.work, *videos, *(path for each in videos for path in _folders_in(each))]
        for folder in folders:
            drafts = _REPORT_DRAFT if folder == self.path else _DRAFT
            with suppress(OSError):
                for path in [path for path in folder.iterdir() if drafts.fullmatch(path.name)]:
                    path.unlink()

    def work_bytes(self, jobs: Iterable[VideoJob]) -> int:
        """Bytes that lie under the work folder for these videos under their settings.

        Workers may write there meanwhile, and files go.
        """
        total = 0
        for job in jobs:
            for folder, _, names in os.walk(job.work_dir):
                for name in names:
                    with suppress(OSError):
                        total += Path(folder, name).lstat().st_size
        return total

    def free_bytes(self) -> int:
        """Free on the disk of the folder."""
        return shutil.disk_usage(self.path).free


def _yaml(record: dict[str, Any]) -> str:
    """In C where PyYAML has it: Python takes 20 seconds for 10,000 videos."""
    with suppress(AttributeError, UnicodeEncodeError):  # a path that is no UTF-8 is left to Python
        return str(yaml.dump(record, Dumper=yaml.CSafeDumper, sort_keys=False))
    return str(yaml.safe_dump(record, sort_keys=False))


def _with_outputs(record: Mapping[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """A run's record with other paths of outputs; what is damaged stays as it is."""
    videos, given_up = record.get("videos"), record.get("given_up")
    changed = dict(record)
    if isinstance(videos, list) and all(isinstance(video, dict) for video in videos):
        changed["videos"] = [
            {**video, "outputs": [change(str(path)) for path in video["outputs"]]}
            if isinstance(video.get("outputs"), list)
            else video
            for video in videos
        ]
    if isinstance(given_up, list):
        changed["given_up"] = [change(str(path)) for path in given_up]
    return changed


def _not_writable(shown: str, error: OSError) -> VrmatteError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):  # later there may be room
        return disk_error(error, shown)
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO)
    return SettingsError(
        f"cannot write to the output folder {shown}: {error.strerror}",
        "look at its disk, then run again" if full else "choose a folder that you may write to",
    )


def _folders_in(folder: Path) -> list[Path]:
    return [path for path in _entries(folder) if path.is_dir() and not path.is_symlink()]


def _entries(folder: Path) -> list[Path]:
    """What is in a folder; nothing where it cannot be read, which its writing will tell."""
    try:
        return list(folder.iterdir())
    except OSError:
        return []
