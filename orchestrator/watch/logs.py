"""`vrmatte logs OUT`: the JSON lines of a run's processes as a person reads them, by their time."""

from __future__ import annotations

import glob
import heapq
import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.out.folder import OutFolder
from orchestrator.words import counted
from pipeline.errors import SettingsError
from pipeline.foreign.files import Unreadable, open_regular
from pipeline.foreign.json_text import parse_json
from pipeline.text import printable

if TYPE_CHECKING:
    from rich.console import Console

_LONGEST_LINE = 4 << 20

#: How often a file that is followed is looked at.
LOOK_S = 0.5

#: What is said elsewhere in the line, or of no use to a person.
_LEFT_OUT = frozenset({"timestamp", "level", "event", "logger", "pid", "part", "exception"})
_STYLES = {"warning": "yellow", "error": "red", "critical": "red", "debug": "dim"}
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a log.

    Attributes:
        at: with its time zone; of the line before where this one has none.
        source: name of the file without its suffix: orchestrator, gpu0, cpu1.
        text: what it says, on one line.
        below: an error's traceback, if there is one.
    """

    at: datetime
    source: str
    level: str
    text: str
    below: tuple[str, ...] = ()


def show_logs(
    path: Path,
    console: Console,
    *,
    gpu: int | None = None,
    cpu: int | None = None,
    node: str | None = None,
    follow: bool = False,
    last: int | None = None,
    wait: Callable[[float], object] = time.sleep,
) -> None:
    """Print the logs of the runs in `path`, merged by time.

    Args:
        gpu: of the worker on this GPU only; `cpu` likewise of a worker on the CPU.
        node: of the workers on this machine of a cluster only, by its host name.
        follow: go on until the run ends.
        last: only so many lines of what is there already.

    Raises:
        SettingsError: there are no such logs.
    """
    out = OutFolder(path.absolute())
    logs = Logs(out, _wanted(gpu, cpu, node))
    if not logs.there():
        _refuse(out, gpu, cpu, node)
    first = True
    while True:
        going_on = out.in_use()  # asked before reading: what is said last is read all the same
        lines: Iterable[LogLine] = logs.new_lines()
        if first and last is not None:
            lines = deque(lines, maxlen=last)
        for line in lines:
            _print(console, line)
        first = False
        if not (follow and going_on):
            break
        wait(LOOK_S)
    for name, count in logs.printed():
        note = f"{name} holds {counted(count, 'line')} that libraries printed"
        console.print(printable(note), style="dim", markup=False, soft_wrap=True)


class Logs:
    """The log files of an output folder, read on from where they were left.

    Args:
        wanted: name of the one that is wanted, without its suffix, or a pattern of such names;
            None: all.
    """

    def __init__(self, out: OutFolder, wanted: str | None) -> None:
        self._out = out
        self._wanted = wanted
        self._tails: dict[Path, _Tail] = {}

    def there(self) -> list[Path]:
        """The files; more may come while a run goes on."""
        return sorted(self._out.logs.glob(f"{self._wanted or '*'}.jsonl"))

    def new_lines(self) -> Iterator[LogLine]:
        """What has been written since the call before, oldest first."""
        names = self._out.video_names()
        for path in self.there():
            self._tails.setdefault(path, _Tail(path))
        parts = [tail.lines(names) for tail in self._tails.values()]
        yield from heapq.merge(*parts, key=lambda line: line.at)

    def printed(self) -> Iterator[tuple[Path, int]]:
        """Files of what libraries printed, that are not empty, with their lines."""
        for path in self.there():
            printed = path.with_suffix(".err")
            if printed.is_file() and (count := _count_lines(printed)):
                yield printed, count


@dataclass(slots=True)
class _Tail:
    """One file; a line is read when its end is there."""

    path: Path
    offset: int = 0
    at: datetime = field(default=_LONG_AGO)

    def lines(self, names: Mapping[str, str]) -> Iterator[LogLine]:
        try:
            file = open_regular(self.path)
        except Unreadable:  # removed since, or no log
            return
        with file:
            file.seek(self.offset)
            while raw := file.readline(_LONGEST_LINE):
                if not raw.endswith(b"\n") and len(raw) < _LONGEST_LINE:
                    return
                self.offset += len(raw)
                if not raw.strip():
                    continue
                line = parse(raw.decode("utf-8", "replace"), self.path.stem, self.at, names)
                self.at = line.at
                yield line


def parse(raw: str, source: str, before: datetime, names: Mapping[str, str]) -> LogLine:
    """A line as it was written; one that is no log line is shown as it is.

    Args:
        before: time of the line before.
        names: of the videos, by their ids.
    """
    try:
        fields = parse_json(raw, finite=False)
        at = datetime.fromisoformat(fields["timestamp"])
        event, level = str(fields["event"]), str(fields.get("level", ""))
        at = (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, LookupError, TypeError, OverflowError):
        return LogLine(before, source, "", printable(raw.strip()))
    words = [printable(event)]
    words += [
        f"{name}={_readable(value, names)}"
        for name, value in fields.items()
        if name not in _LEFT_OUT
        # A worker's own log is named by it; only another life than the first is worth a word.
        and not (name == "worker" and source != "orchestrator")
        and not (name == "life" and value == 1)
    ]
    below = printable_lines(str(fields.get("exception", "")))
    return LogLine(at, source, level, " ".join(words), below)


def printable_lines(text: str) -> tuple[str, ...]:
    """Each line of `text` so that it can be shown."""
    return tuple(printable(line) for line in text.splitlines())


def _readable(value: Any, names: Mapping[str, str]) -> str:
    if isinstance(value, str):
        video, slash, rest = value.partition("/")
        text = f"{names[video]}{slash}{rest}" if video in names else value
        # Only one line: an error's detail is a traceback.
        first, *more = text.splitlines() or [""]
        text = f"{first} ..." if more else first
    else:
        text = json.dumps(value, ensure_ascii=False)
    return printable(f'"{text}"' if " " in text else text)


def _print(console: Console, line: LogLine) -> None:
    from rich.text import Text

    at = "" if line.at == _LONG_AGO else line.at.astimezone().strftime("%m-%d %H:%M:%S")
    head = f"{at:14} {line.source:12} {line.level:7} "
    text = Text(head + line.text, style=_STYLES.get(line.level, ""))
    for below in line.below:
        text.append(f"\n    {below}", style="dim")
    console.print(text, soft_wrap=True)


def _wanted(gpu: int | None, cpu: int | None, node: str | None) -> str | None:
    device = None if cpu is None else f"cpu{cpu}"
    if gpu is not None:
        device = f"gpu{gpu}"
    # A node's logs bear its host name and, as two nodes may be one machine, six letters of Ray's.
    return device if node is None else f"{glob.escape(node)}-??????-{device or '*'}"


def _refuse(out: OutFolder, gpu: int | None, cpu: int | None, node: str | None) -> None:
    all_of_them = [path.stem for path in Logs(out, None).there()]
    if not all_of_them:
        raise SettingsError(
            f"no run was started in {printable(str(out.path))}", "give the OUT of `vrmatte run`"
        )
    parts = [f"GPU {gpu}"] if gpu is not None else []
    parts += [f"the CPU's worker {cpu}"] if cpu is not None else []
    parts += [f"node {printable(node)}"] if node is not None else []
    what = " on ".join(parts)
    raise SettingsError(f"there is no log of {what}", f"there are {', '.join(all_of_them)}")


def _count_lines(path: Path) -> int:
    try:
        with open_regular(path) as file:
            return sum(block.count(b"\n") for block in iter(partial(file.read, 1 << 20), b""))
    except Unreadable:
        return 0
