"""Finds the finished video that a person means, and the segments that a range of it touches.

Reads OUT and changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path, PurePath
from typing import Any

from orchestrator.fleet.journal_entries import Entry, Redo, VideoDone
from orchestrator.out.below import written
from orchestrator.out.finished import last_files
from orchestrator.out.folder import OutFolder
from orchestrator.out.journal import read_entries
from orchestrator.out.ledger import Videos, known_videos, own_name_of, told_beside
from orchestrator.out.redone import parts_redone
from orchestrator.plan.kept_probes import kept_probe, read_info
from orchestrator.words import TIME_FORMS, listed, precise, seconds_of
from pipeline.contract import OutputFile, VideoInfo
from pipeline.errors import MachineError, SettingsError
from pipeline.text import printable
from pipeline.vr_tags.in_names import strip_tags


@dataclass(frozen=True, slots=True)
class Former:
    """A finished video in OUT.

    Attributes:
        video: as status and reports tell of it; other files of the same source are another one.
        info: of the frames taken, as an earlier probe found them.
        outputs: its finished files, as the journal has them.
        formats: of all files that its run made; other runs may have replaced some of them since.
        redone: parts that were made again since.
        entries: of the journal.
    """

    video: Mapping[str, Any]
    info: VideoInfo
    outputs: tuple[OutputFile, ...]
    formats: tuple[str, ...]
    redone: tuple[Redo, ...]
    entries: Sequence[Entry]

    @property
    def name(self) -> str:
        return printable(self.video["name"])

    @property
    def segments(self) -> list[tuple[int, int]]:
        return [(start, stop) for start, stop in self.video["segments"]]

    def time_of(self, frame: int) -> float:
        """When a frame begins in the outputs, in seconds."""
        return float((frame - self.segments[0][0]) / self.info.frame_rate)

    def makers(self) -> list[str]:
        """The fingerprint of the settings that each segment was made with last."""
        found = [str(self.video["settings"])] * len(self.segments)
        for part in self.redone:
            found[part.first : part.stop] = [part.made_with] * (part.stop - part.first)
        return found


def find_former(out: OutFolder, name: str) -> Former:
    """The video that is called `name`, by its path in the input, its file name, or its output.

    Raises:
        SettingsError: OUT does not hold it, it is not finished, or a run is going on.
    """
    if out.in_use():
        raise SettingsError(
            f"a run is going on in {printable(str(out.path))}", "wait until it is done"
        )
    entries = read_entries(out.journal)
    videos = _told(out, entries)
    if not videos:
        raise SettingsError(
            f"no run was started in {printable(str(out.path))}", "give the OUT of `vrmatte run`"
        )
    video = _named(name, videos, out.path)
    shown = printable(video["name"])
    key = (video["id"], video.get("settings"))
    done = [e for e in entries if isinstance(e, VideoDone) and (e.video, e.settings) == key]
    if not done:
        raise SettingsError(
            f"{shown} is not finished", "let `vrmatte run` finish it: the same command resumes it"
        )
    every, start = video.get("every", 1), video.get("start_frame", 0)
    info = read_info(kept_probe(out.path, video["id"]))
    if info is None:
        raise SettingsError(
            f"what was known of {shown} is gone from {printable(str(out.state))}",
            "make it again: vrmatte run",
        )
    return Former(
        video=video,
        info=info.every_nth(every, start % every),
        outputs=tuple(last_files(video["outputs"], done)),
        formats=tuple(output.deliverable for output in done[0].outputs),
        redone=parts_redone(video["outputs"], done),
        entries=entries,
    )


def _told(out: OutFolder, entries: Sequence[Entry]) -> Videos:
    """The videos in OUT, under the names by which status and reports tell of them."""
    try:
        of_last_run: Videos = out.read_run_file()["videos"]
    except (SettingsError, MachineError):
        of_last_run = ()
    return [*of_last_run, *told_beside(known_videos(out, entries).videos, of_last_run)]


def _named(name: str, videos: Videos, out: Path) -> Mapping[str, Any]:
    place = str(out / name)
    for meant in (
        lambda video: video["name"] == name,
        lambda video: place in video["outputs"],
        lambda video: name in (PurePath(video["name"]).name, PurePath(own_name_of(video)).stem),
        lambda video: PurePath(name).name in [PurePath(path).name for path in video["outputs"]],
        lambda video: PurePath(name).name == PurePath(video["name"]).name,
        lambda video: name == strip_tags(PurePath(own_name_of(video)).stem),
    ):
        found = [video for video in videos if meant(video)]
        if len(found) == 1:
            return found[0]
        if found:
            told = [str(video["name"]) for video in found]
            if len(set(told)) < len(told):
                told = [written(path, out) for video in found for path in video["outputs"][:1]]
            may_be = listed([printable(each) for each in told])
            raise SettingsError(f"{printable(name)} may be {may_be}", "give the whole name")
    names = listed([printable(video["name"]) for video in videos])
    raise SettingsError(f"OUT holds no video {printable(name)}", f"it holds {names}")


def touched(former: Former, begin: str | None, end: str | None) -> range:
    """Numbers of the segments that a range of times touches; times are those of the outputs.

    Raises:
        SettingsError: it is no range of this video.
    """
    segments, rate = former.segments, former.info.frame_rate
    length_s = Fraction(former.video["frames"]) / rate
    begin_s = Fraction(0) if begin is None else _seconds(begin, "--from")
    end_s = length_s if end is None else _seconds(end, "--to")
    if begin_s >= length_s:
        raise SettingsError(
            f"{former.name} ends at {precise(float(length_s))}; the range begins at {begin}",
            "begin earlier (--from)",
        )
    if end_s <= begin_s:
        raise SettingsError(
            f"the range ends at {end} and begins at {begin or '0:00'}", "let it end later (--to)"
        )
    base = segments[0][0]
    first, stop = base + math.floor(begin_s * rate), base + math.ceil(end_s * rate)
    numbers = [k for k, (a, b) in enumerate(segments) if a < stop and b > first]
    return range(numbers[0], numbers[-1] + 1)


def _seconds(text: str, option: str) -> Fraction:
    try:
        return seconds_of(text)
    except ValueError:
        raise SettingsError(
            f"{option} {printable(text)!r} is no time", f"write {TIME_FORMS}"
        ) from None


def require_source(former: Former) -> Path:
    """The path of the source. Raises SettingsError: it is gone."""
    path = Path(former.info.path)
    if not path.is_file():
        raise SettingsError(
            f"the source {printable(str(path))} is not there any more",
            "put it back where it was, or make the video again: vrmatte run",
        )
    return path
