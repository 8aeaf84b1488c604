"""``videos.json``: the videos of all runs in an OUT, as each was last planned.

``run.yaml`` tells of the last run alone. A run of one video shall not make the others in the same
OUT vanish from status, report and page.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.out.below import in_out, written
from orchestrator.out.folder import OutFolder
from orchestrator.out.run_record import sound_videos
from pipeline.errors import MachineError, SettingsError
from pipeline.files.disk import write_file
from pipeline.foreign.json_text import read_json

_LONGEST_BYTES = 256 << 20

#: As `run.yaml` holds each video.
Videos = Sequence[Mapping[str, Any]]


def known_videos(out: OutFolder) -> Videos:
    """Those of all runs, as far as they are sound; paths of outputs are absolute.

    An OUT of an earlier version has those of its last run.
    """
    try:
        said = read_json(out.ledger, _LONGEST_BYTES)
    except ValueError:
        try:
            videos: Videos = out.read_run_file()["videos"]
        except (SettingsError, MachineError):
            return ()
        return videos
    videos = sound_videos(said)
    return [
        {**video, "outputs": [in_out(path, out.path) for path in video["outputs"]]}
        for video in videos
    ]


def videos_beside(known: Videos, planned: Videos) -> Videos:
    """Those that are not planned now, and whose outputs are not made for another video."""
    ids = {video["id"] for video in planned}
    outputs = {path for video in planned for path in video["outputs"]}
    return [v for v in known if v["id"] not in ids and outputs.isdisjoint(v["outputs"])]


def keep_videos(out: OutFolder, videos: Videos) -> None:
    """Raises DiskError."""
    below = [
        {**video, "outputs": [written(path, out.path) for path in video["outputs"]]}
        for video in videos
    ]
    write_file(out.ledger, json.dumps(below, separators=(",", ":")).encode() + b"\n")
