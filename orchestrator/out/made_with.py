"""``.vrmatte/settings/``: the settings that videos were made with, so that a part can be redone.

Each file is named by its content, and many videos share one. It holds the settings of a video as
they were written, with its overrides, and as they were settled for it on that machine.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from orchestrator.fleet.jobs import VideoJob
from orchestrator.out.folder import OutFolder
from orchestrator.settings.keys import KEYS
from orchestrator.settings.settings import Settings, as_mapping
from pipeline.errors import SettingsError
from pipeline.files.disk import make_folder, write_file, writing
from pipeline.foreign.files import Unreadable, read_bytes
from pipeline.foreign.json_text import read_json

_LONGEST_BYTES = 16 << 20

_DIGEST = re.compile(r"[0-9a-f]{16}")

#: Groups of settings as plain values.
Groups = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class MadeWith:
    """Settings of a video, as plain values by group and key.

    Attributes:
        asked: as they were written.
        made: as they were settled: nothing in them is left to the machine.
        prompts_sha256: of what was said of the subject; None: nothing.
    """

    asked: Groups = field(hash=False)
    made: Groups = field(hash=False)
    prompts_sha256: str | None = None

    @classmethod
    def of(cls, asked: Settings, job: VideoJob) -> MadeWith:
        """By the settings of a video, its overrides among them, and its job."""
        final = job.settings
        formats = tuple(name for name in asked.output.formats if name not in job.left_out)
        settled = asked.model_copy(
            update={
                "input": replace(
                    asked.input,
                    start=None,
                    end=None,
                    start_frame=final.start_frame,
                    max_frames=final.max_frames,
                    every=final.every,
                ),
                "output": replace(asked.output, formats=formats),
                "streaming": replace(final.streaming, lanes=asked.streaming.lanes),
                "processing": final.processing,
                "matting": final.matting,
                "stereo": final.stereo,
                "enhance": final.enhance,
                "encoding": final.encoding,
            }
        )
        return cls(_groups(asked), _groups(settled), final.prompts_sha256)


def keep_made_with(out: OutFolder, said: MadeWith) -> str:
    """Write it, if it is not there as it should be; the name by which `read_made_with` finds it.

    Raises:
        DiskError: it cannot be written.
    """
    content = {"asked": said.asked, "made": said.made, "prompts_sha256": said.prompts_sha256}
    text = json.dumps(content, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    name = hashlib.sha256(text).hexdigest()[:16]
    path = out.made_with / f"{name}.json"
    if not _holds(path, text):
        with writing(out.made_with):
            make_folder(out.made_with)
        write_file(path, text)
    return name


def read_made_with(out: OutFolder, video: Mapping[str, Any]) -> MadeWith:
    """The settings of a video as `orchestrator.out.ledger` has it.

    Raises:
        SettingsError: they are not known.
    """
    name = video.get("made_with", "")
    try:
        if not _DIGEST.fullmatch(name):
            raise ValueError("it is not known")
        said = read_json(out.made_with / f"{name}.json", _LONGEST_BYTES)
        asked, made = (_known(said[part]) for part in ("asked", "made"))
        return MadeWith(asked, made, said["prompts_sha256"])
    except (ValueError, LookupError, TypeError, AttributeError):
        raise SettingsError(
            f"with which settings {video['name']} was made is not known any more",
            "make all of it again: vrmatte run --fresh, into another OUT",
        ) from None


def _holds(path: Path, content: bytes) -> bool:
    try:
        return read_bytes(path, _LONGEST_BYTES) == content
    except Unreadable:
        return False


def _groups(settings: Settings) -> Groups:
    values: Groups = json.loads(json.dumps(as_mapping(settings), default=str))
    return {group: members for group, members in values.items() if group in KEYS}


def _known(groups: Any) -> Groups:
    """Without keys that this version does not have, and addresses that are not written down."""
    return {
        group: {key: value for key, value in members.items() if key in KEYS[group]}
        for group, members in groups.items()
        if group in KEYS and group != "notify"
    }
