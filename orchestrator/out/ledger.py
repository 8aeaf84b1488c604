"""``videos.json``: what all runs made in an OUT, one entry for each set of files of a video.

``run.yaml`` tells of the last run alone. A run of one video, or of other formats of the same one,
shall not make the other files in OUT vanish from status, report and page.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.fleet.journal_entries import Entry, SegmentCommitted, VideoDone
from orchestrator.out.below import in_out, written
from orchestrator.out.finished import last_files
from orchestrator.out.folder import OutFolder
from orchestrator.out.run_record import sound_videos
from pipeline.contract import OutputFile
from pipeline.errors import MachineError, SettingsError
from pipeline.files.disk import write_file
from pipeline.foreign.files import Unreadable
from pipeline.foreign.json_text import read_json
from pipeline.text import printable

_LONGEST_BYTES = 256 << 20

#: As `run.yaml` holds each video.
Videos = Sequence[Mapping[str, Any]]

#: Fields that are never written: what a report calls an entry by, and the video's own name.
_KEY, _OWN_NAME = "key", "own_name"


@dataclass(frozen=True, slots=True)
class Known:
    """What the ledger says, as far as it is sound; paths of outputs are absolute.

    Attributes:
        damage: what is wrong with the ledger, a sentence without its subject; empty if nothing is.
    """

    videos: Videos
    damage: str = ""

    def remark(self, out: OutFolder) -> str:
        """The damage in one line, for commands that change nothing."""
        return (
            f"{out.ledger.name} {self.damage}: what it said is taken from the journal as far as"
            " that has it; the next run keeps the file under another name"
        )


def known_videos(out: OutFolder, entries: Sequence[Entry] = ()) -> Known:
    """The videos of all runs in an OUT.

    Args:
        entries: of the journal. Files that it calls done and the ledger does not know are listed
            too: of an OUT of an earlier version, or one whose ledger is damaged.
    """
    videos, damage = _said(out)
    return Known((*videos, *_made_beside(entries, videos)), damage)


def _said(out: OutFolder) -> tuple[Videos, str]:
    """An OUT of an earlier version has those of its last run."""
    try:
        said = read_json(out.ledger, _LONGEST_BYTES)
        if not isinstance(said, list):
            raise Unreadable("is damaged (it holds no list of videos)")
    except ValueError as error:
        missing = isinstance(error, Unreadable) and error.missing
        try:
            videos: Videos = out.read_run_file()["videos"]
        except (SettingsError, MachineError):
            videos = ()
        return videos, "" if missing else printable(str(error))
    sound = sound_videos(said)
    videos = [
        {
            **{name: value for name, value in video.items() if name not in (_KEY, _OWN_NAME)},
            "outputs": [in_out(path, out.path) for path in video["outputs"]],
        }
        for video in sound
    ]
    bad = len(said) - len(sound)
    return videos, f"is damaged ({bad} of {len(said)} entries)" if bad else ""


def _made_beside(entries: Sequence[Entry], known: Videos) -> Videos:
    """Files that a journal calls done, that are there, and that no known video has."""
    taken = {path for video in known for path in video["outputs"]}
    found: list[Mapping[str, Any]] = []
    for done in reversed(entries):
        if not isinstance(done, VideoDone):
            continue
        files = [file for file in done.outputs if file.path not in taken]
        files = [file for file in files if Path(file.path).is_file()]
        taken.update(file.path for file in files)
        if files:
            found.append(_as_video(done, files, entries))
    return found[::-1]


def _as_video(
    done: VideoDone, files: Sequence[OutputFile], entries: Sequence[Entry]
) -> Mapping[str, Any]:
    segments = {
        (entry.start, entry.stop)
        for entry in entries
        if isinstance(entry, SegmentCommitted)
        and (entry.video, entry.settings) == (done.video, done.settings)
    }
    frames = files[0].num_frames
    return {
        "id": done.video,
        "name": Path(files[0].path).name,
        "settings": done.settings,
        "frames": frames,
        "formats": [file.deliverable for file in files],
        "segments": [list(segment) for segment in sorted(segments)] or [[0, frames]],
        "outputs": [file.path for file in files],
    }


def videos_beside(known: Videos, planned: Videos) -> Videos:
    """What OUT holds beside what is planned now: other videos, and other files of the same ones.

    An entry loses those files that are now made for a planned video. Of a planned video itself,
    only what lies in OUT is told.
    """
    ids = {video["id"] for video in planned}
    taken = {path for video in planned for path in video["outputs"]}
    beside = []
    for video in known:
        outputs = video["outputs"]
        kept = [n for n, path in enumerate(outputs) if path not in taken]
        if video["id"] in ids:
            kept = [n for n in kept if Path(outputs[n]).is_file()]
        if kept or (not outputs and video["id"] not in ids):
            beside.append(_with_files(video, kept) if len(kept) < len(outputs) else video)
    return beside


def _with_files(video: Mapping[str, Any], kept: Sequence[int]) -> Mapping[str, Any]:
    formats, outputs = _formats(video), video["outputs"]
    fewer = {"formats": [formats[n] for n in kept]} if formats else {}
    return {**video, **fewer, "outputs": [outputs[n] for n in kept]}


def _formats(video: Mapping[str, Any]) -> Sequence[Any]:
    """That of each output; none where they are not known."""
    formats = video.get("formats")
    in_step = isinstance(formats, list) and len(formats) == len(video["outputs"])
    return formats if in_step and isinstance(formats, list) else ()


def told_beside(known: Videos, planned: Videos) -> Videos:
    """`videos_beside`, as reports tell of them: each with a key and a name of its own.

    The key is the video's id where nothing else is told of that video.
    """
    taken = {video["id"] for video in planned}
    told = []
    for video in videos_beside(known, planned):
        if video["id"] in taken:
            paths = "\0".join(video["outputs"]).encode(errors="surrogateescape")
            key = f"{video['id']}-{zlib.crc32(paths):08x}"
            formats = ", ".join(map(str, _formats(video))) or "earlier files"
            name = f"{video['name']} ({formats})"
            video = {**video, _KEY: key, "name": name, _OWN_NAME: video["name"]}
        taken.add(video["id"])
        told.append(video)
    return told


def key_of(video: Mapping[str, Any]) -> str:
    """What reports call an entry by; no other entry of the same report has it."""
    return str(video.get(_KEY, video["id"]))


def own_name_of(video: Mapping[str, Any]) -> str:
    """The name of an entry's video, without what tells it from others of the same video."""
    return str(video.get(_OWN_NAME, video["name"]))


def finished_files_of(video: Mapping[str, Any], entries: Sequence[Entry]) -> Sequence[OutputFile]:
    """The files of an entry as they were made last, in its order; none if they never were.

    Args:
        entries: of its video under its settings.
    """
    return last_files(video["outputs"], entries)


def keep_videos(out: OutFolder, videos: Videos) -> None:
    """Raises DiskError."""
    below = [
        {**video, "outputs": [written(path, out.path) for path in video["outputs"]]}
        for video in videos
    ]
    write_file(out.ledger, json.dumps(below, separators=(",", ":")).encode() + b"\n")
