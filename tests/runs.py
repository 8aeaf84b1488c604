"""Runs by the real command line, or in this process with doubles; what they leave behind.

Everything that a run starts carries a mark in its environment, whichever process owns it later.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console

from orchestrator.backends.base import Backend
from orchestrator.backends.local import LocalBackend, ThreadBackend
from orchestrator.redo.redo import redo
from orchestrator.redo.request import RedoRequest
from orchestrator.report.run_page import NoPage, RunPage
from orchestrator.run.request import Request, Supervise, Surroundings
from orchestrator.run.run import run
from orchestrator.run.supervisor import Outcome
from orchestrator.run.supervisor import run as supervise
from orchestrator.settings.settings import load_settings
from orchestrator.watch.sender import Sender
from pipeline.contract import Layout, ProjectionName, VideoInfo
from pipeline.errors import VrmatteError
from pipeline.source.video_info import read_video
from tests.clips import read_frames
from tests.forked import ForkedBackend, forked_processes

#: What is left of a run must be gone so soon after its parent, in seconds.
ORPHANS_END_S = 2.0

PIPELINE = "workers.work:Pipeline"

_MARK = "VRMATTE_TEST_RUN"


@dataclass
class CommandRun:
    """``vrmatte run`` in a process of its own, by `command`, begun at once."""

    videos: Path
    out: Path
    settings: str
    options: tuple[str, ...] = ()
    prefix: tuple[str, ...] = ()
    terminal: int | None = None
    process: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.config.write_text(self.settings)
        self._words = self.out.with_suffix(".txt")
        with self._words.open("w") as words:
            self.process = subprocess.Popen(
                [
                    *self.prefix,
                    *(sys.executable, "-m", "orchestrator.cli", "run", str(self.videos)),
                    *("-o", str(self.out), "--config", str(self.config), "--gpus", "none"),
                    *self.options,
                ],
                stdin=subprocess.DEVNULL if self.terminal is None else self.terminal,
                stdout=words if self.terminal is None else self.terminal,
                stderr=words if self.terminal is None else self.terminal,
                env=environment(self.out),
            )

    @property
    def config(self) -> Path:
        return self.out.with_suffix(".yaml")

    def said(self) -> str:
        """What it has printed so far, but not on a terminal."""
        return self._words.read_text()

    def again_here(self) -> HereRun:
        """The same command once more, in this process with threads as workers."""
        none = {"workers": {"gpus": "none"}}
        return HereRun(self.videos, self.out, none, config=self.config, threads=True)

    def goes_on(self, seconds: float) -> bool:
        """Wait so long for its end; whether it has not come."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        return self.process.returncode is None

    def family(self) -> list[psutil.Process]:
        return family(self.out)

    def left_behind(self) -> list[str]:
        return left_behind(self.out)


def environment(mark: Path) -> dict[str, str]:
    """This process's environment, with a mark."""
    return {**os.environ, _MARK: str(mark)}


def family(mark: Path) -> list[psutil.Process]:
    """All processes with that mark, but for those that have ended and nobody has looked at."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get(_MARK) == str(mark) and process.status() != "zombie":
                found.append(process)
    return found


def left_behind(mark: Path) -> list[str]:
    """The command lines of those with that mark that are still there after ORPHANS_END_S.

    The resource tracker and the fork server of this very process may bear it too, and stay; what
    was forked bears that of another, and counts.
    """
    deadline = time.monotonic() + ORPHANS_END_S
    own = psutil.Process().children()
    while found := [*(p for p in family(mark) if p not in own), *forked_processes()]:
        if time.monotonic() >= deadline:
            return [command_line(process) for process in found]
        psutil.wait_procs(found, timeout=0.1)
    return []


def command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


@dataclass
class HereRun:
    """Runs in this process on one folder of videos and one OUT, with doubles for workers.

    Attributes:
        work: what the workers do.
        config: a settings file; `settings` override it.
        threads: workers are threads, and files are probed in this process; otherwise they are
            processes that are forked.
        page: there is a page.
        fresh: nothing of earlier runs counts.
        notify: who is sent messages.
    """

    videos: Path
    out: Path
    settings: Mapping[str, Mapping[str, object]]
    work: str = PIPELINE
    threads: bool = False
    config: Path | None = None
    page: bool = False
    fresh: bool = False
    notify: Sequence[str] = ()
    said: io.StringIO = field(default_factory=io.StringIO)

    def run(self) -> int | VrmatteError:
        """The exit status, or the error that is shown as one line instead."""
        settings = load_settings(self.config, self.settings)
        request = Request((self.videos,), self.out, settings, fresh=self.fresh)
        try:
            return run(request, self.around())
        except VrmatteError as error:
            return error

    def redo(self, video: str, **asked: Any) -> int | VrmatteError:
        """The same of `vrmatte redo`.

        Args:
            asked: fields of `RedoRequest`.
        """
        try:
            return redo(RedoRequest(self.out, video, **asked), self.around()).exit_status
        except VrmatteError as error:
            return error

    def around(self) -> Surroundings:
        console = Console(file=self.said, width=100)
        around = Surroundings(
            console,
            console,
            fetch_model=lambda matting: None,
            supervise=doubled(self.work, ThreadBackend if self.threads else ForkedBackend),
            gpus=lambda: [],
            page=RunPage if self.page else NoPage,
            sender=Sender(self.notify, lambda line: self.said.write(line + "\n")),
        )
        if self.threads:
            around = dataclasses.replace(around, probe=probe_here)
        return around

    def published(self) -> dict[str, str]:
        """Hashes of the outputs that bear their final names."""
        return {
            name: digest for name, digest in outputs(self.out).items() if ".vrmatte" not in name
        }

    def empty(self) -> None:
        shutil.rmtree(self.out, ignore_errors=True)


def doubled(
    work: str, backend_class: Callable[[dict[int, Any]], Backend] = LocalBackend
) -> Supervise:
    """`orchestrator.run.supervisor.run`, but the workers do `work`."""

    def supervised(jobs: Sequence[Any], backend: Backend, *rest: Any, **options: Any) -> Outcome:
        assert isinstance(backend, LocalBackend)
        setups = {
            worker: dataclasses.replace(setup, work=work)
            for worker, setup in backend._setups.items()
        }
        return supervise(jobs, backend_class(setups), *rest, **options)

    return supervised


def probe_here(
    path: Path,
    index_path: Path,
    *,
    layout: Layout | None,
    projection: ProjectionName | None,
    deadline_s: float | None,
) -> VideoInfo:
    """`pipeline.source.probe.probe_video` without its child."""
    index_path.parent.mkdir(parents=True, exist_ok=True)
    return read_video(path, index_path, layout, projection)


def outputs(out: Path) -> dict[str, str]:
    """Path of each output below `out` -> hash of all its decoded frames."""
    found = {}
    for path in sorted(out.rglob("*.webm")):
        digest = hashlib.sha256()
        for picture in read_frames(path):
            digest.update(picture.tobytes())
        found[str(path.relative_to(out))] = digest.hexdigest()
    return found


def journal(out: Path) -> list[dict[str, Any]]:
    """The lines of the journal, all of which must be whole."""
    return [json.loads(line) for line in (out / ".vrmatte/journal.jsonl").read_text().splitlines()]


def files_left(out: Path) -> set[str]:
    """The files in OUT besides deliverables, report and the run's own folder."""
    return {
        str(path.relative_to(out))
        for path in out.rglob("*")
        if path.is_file()
        and path.suffix != ".webm"
        and path.name not in ("report.json", "report.html")
        and ".vrmatte" not in path.relative_to(out).parts
    }


def committed(out: Path) -> list[dict[str, Any]]:
    """The entries of finished segments, also while the run goes on or when lines are damaged."""
    if not (out / ".vrmatte/journal.jsonl").exists():
        return []
    entries = []
    for line in (out / ".vrmatte/journal.jsonl").read_bytes().splitlines():
        try:
            entries.append(json.loads(line)["entry"])
        except ValueError:
            continue
    return [entry for entry in entries if entry["kind"] == "segment"]
