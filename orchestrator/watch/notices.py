"""Messages of a run to people who are elsewhere: that it has ended, and that a video failed.

docs/notify.md says what they hold: no paths, and no messages of errors, which may name some.
`orchestrator/watch/sender.py` posts them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path, PurePath
from typing import Any, Literal, NamedTuple

from orchestrator.exit_status import ALL_DONE, CANNOT, FAILED, STOPPED
from orchestrator.fleet.jobs import SetAside
from orchestrator.watch.events import RunEvent
from orchestrator.watch.standing import Standing
from orchestrator.words import clock, counted
from pipeline.errors import ErrorRecord
from pipeline.text import printable

#: Of the JSON; docs/notify.md says what it holds.
SCHEMA_VERSION = 1

#: A video that fails is told of so much later, unless the run has ended by then and says it all.
HOLD_S = 60.0
#: So many videos that fail have a message each; one more says how many others there are.
MOST_VIDEOS = 3

_LONGEST_NAME = 200

#: What is said of an error, by its kind.
_WHY: Mapping[str, str] = {
    "input": "the file cannot be used",
    "settings": "the settings do not suit",
    "machine": "the machine cannot do it",
    "decode": "it cannot be decoded",
    "resource": "memory ran out",
    "session": "NVENC had no session left",
    "disk": "the disk is full or takes no more files",
    "local-folder": "the local folder is full or takes no more files",
    "output": "its place in the output folder takes no file",
    "encode": "it cannot be encoded",
    "damaged": "finished segments were damaged",
    "device": "the device failed",
}


@dataclass(frozen=True, slots=True)
class Notice:
    """One message.

    Attributes:
        title: a few words, in ASCII.
        text: one line.
        urgent: somebody should look.
        fields: the rest of the JSON; None where it is not known.
    """

    event: Literal["run-ended", "video-failed", "videos-failed"]
    title: str
    text: str
    urgent: bool
    fields: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        head = {"schema": SCHEMA_VERSION, "event": self.event, "version": version("vrmatte")}
        told = {name: value for name, value in self.fields.items() if value is not None}
        return head | {"text": self.text} | told


def run_ended(
    out: Path,
    exit_status: int,
    seconds: float,
    results: Mapping[str, int],
    reason: ErrorRecord | None,
) -> Notice:
    """Of a run that came to its end.

    Args:
        results: how many videos have each result.
        reason: why it stopped, where nobody asked for it.
    """
    counts = ", ".join(f"{count} {result}" for result, count in results.items()) or "no videos"
    if exit_status == STOPPED:
        why = _why(reason) if reason else "it was asked to stop"
        said = f"stopped after {clock(seconds)}: {why}; {counts}. The same command resumes it"
    else:
        said = f"{counts}, in {clock(seconds)}"
    return _of_end(out, exit_status, said, reason, seconds=seconds, results=dict(results))


def run_broke(out: Path, exit_status: int, error: ErrorRecord) -> Notice:
    """Of a run that could not begin, or not go on."""
    return _of_end(out, exit_status, f"ended by an error: {_why(error)}", error)


def _of_end(
    out: Path, exit_status: int, said: str, error: ErrorRecord | None, **more: Any
) -> Notice:
    how = {
        ALL_DONE: "done",
        FAILED: "ended with problems",
        CANNOT: "this machine cannot do it",
        STOPPED: "stopped",
    }
    fields = {
        "out": _out_name(out),
        "exit_status": exit_status,
        **more,
        "reason": error.kind if error else None,
    }
    return Notice(
        "run-ended",
        f"vrmatte: {how.get(exit_status, 'ended by an error')}",
        f"{_out_name(out)}: {said}",
        exit_status != ALL_DONE,
        fields,
    )


class _Failed(NamedTuple):
    at_s: float
    video: str
    result: Literal["failed", "set aside"]
    error: ErrorRecord | None


class FailedVideos:
    """Tells of the first videos that fail or are set aside; an `Outlet` of `Watch`.

    Args:
        post: takes messages, in order.
        set_aside: the files that could not be planned, so far; it only grows.
    """

    def __init__(
        self,
        out: Path,
        post: Callable[[Sequence[Notice]], object],
        set_aside: Callable[[], Sequence[SetAside]],
    ) -> None:
        self._out = out
        self._post = post
        self._set_aside = set_aside
        self._asides = 0
        self._held: list[_Failed] = []
        self._left = MOST_VIDEOS
        self._over = False

    def show(self, standing: Standing, events: Sequence[RunEvent]) -> None:
        now = standing.elapsed_s
        asides = self._set_aside()[self._asides :]
        self._asides += len(asides)
        self._held += [_Failed(now, aside.name, "set aside", aside.error) for aside in asides]
        self._held += [
            _Failed(now, event.video or "", "failed", event.error)
            for event in events
            if event.event == "video-failed"
        ]
        due = [failed for failed in self._held if now - failed.at_s >= HOLD_S]
        if due and not self._over and standing.phase != "ended":
            self._held = self._held[len(due) :]
            self._tell(due)

    def _tell(self, due: Sequence[_Failed]) -> None:
        single, others = due[: self._left], len(due) - self._left
        self._left -= len(single)
        notices = [_video_failed(self._out, failed) for failed in single]
        if others > 0:
            self._over = True
            notices.append(_others_failed(self._out, others))
        self._post(notices)


def _video_failed(out: Path, failed: _Failed) -> Notice:
    name = printable(PurePath(failed.video).name, _LONGEST_NAME)
    error = failed.error
    return Notice(
        "video-failed",
        f"vrmatte: a video {'failed' if failed.result == 'failed' else 'was set aside'}",
        f"{_out_name(out)}: {name}: {failed.result}{f': {_why(error)}' if error else ''}",
        True,
        {
            "out": _out_name(out),
            "video": name,
            "result": failed.result,
            "reason": error.kind if error else None,
        },
    )


def _others_failed(out: Path, count: int) -> Notice:
    return Notice(
        "videos-failed",
        "vrmatte: more videos failed",
        f"{_out_name(out)}: {counted(count, 'more video')} failed so far; the message at the end"
        " counts all",
        True,
        {"out": _out_name(out), "count": count},
    )


def _why(error: ErrorRecord) -> str:
    return _WHY.get(error.kind, "an unforeseen error")


def _out_name(out: Path) -> str:
    """The last component of OUT."""
    return printable(out.absolute().name, _LONGEST_NAME)
