"""Stores a video's prompts with their masks in one small file of the work folder.

Planning reads what a person wrote and leaves it in the video's work folder in this form; workers
read only that. Its digest is part of the video's settings, so that other prompts make another
fingerprint, and the same ones written otherwise do not.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DiskError, SettingsError
from pipeline.files.disk import make_folder, write_file, writing
from pipeline.foreign.files import Unreadable, read_bytes
from pipeline.foreign.json_text import parse_json
from pipeline.foreign.pictures import Mask, decode_mask, encode_mask
from pipeline.prompts.prompts import Eye, Point, Prompt, Prompts

#: In a video's work folder.
_FILE_NAME = "prompts.json"

#: Of one mask; of all prompts of a video together, which each worker holds in memory.
LONGEST_MASK_BYTES, LONGEST_PACKED_BYTES = 64 << 20, 512 << 20


@dataclass(frozen=True, slots=True)
class Said:
    """What is said of one object in one frame of one eye, all of it.

    Attributes:
        eye, frame: as of `pipeline.prompts.prompts.Prompt`.
        corrects: see there.
        points: none where there is a mask.
        box: left, top, right, bottom, or None.
        mask: a PNG's content, or None; it says all.
    """

    object_id: int
    eye: Eye
    frame: int
    corrects: bool
    points: tuple[Point, ...] = ()
    box: tuple[float, float, float, float] | None = None
    mask: bytes | None = None


class SaidOfVideo:
    """All that is said of a video.

    Args:
        names: `names[i]` is what object i+1 is called.
        said: one entry for each object, eye and frame of which something is said.
    """

    def __init__(self, names: Sequence[str], said: Iterable[Said]) -> None:
        self.names = tuple(names)
        self._at: dict[tuple[int, int], list[Said]] = {}
        self._of: dict[tuple[int, int], list[Said]] = {}
        for one in said:
            self._at.setdefault((one.frame, one.eye), []).append(one)
            self._of.setdefault((one.object_id, one.eye), []).append(one)

    def at(self, frame: int, eye: int) -> Sequence[Said]:
        """What is said of that frame, of one object each."""
        return self._at.get((frame, eye), ())

    def speaks_of(self, object_id: int, eye: int) -> bool:
        return (object_id, eye) in self._of

    def nearest(self, object_id: int, frame: int, eye: int) -> Said | None:
        """What is said of an object in the frame nearest to that one; of two, the earlier."""
        own = self._of.get((object_id, eye), ())
        return min(own, key=lambda one: (abs(one.frame - frame), one.frame), default=None)


def pack(prompts: Prompts) -> bytes:
    """As one text; equal where the same is said.

    Raises:
        SettingsError: a mask cannot be read as a picture, or marks nothing; or all of it is too
            much.
    """
    groups: dict[tuple[int, int, int], list[Prompt]] = {}
    for prompt in prompts.prompts:
        groups.setdefault((prompt.frame, prompt.eye, prompt.object_id), []).append(prompt)
    rows, length = [], 0
    for key in sorted(groups):
        rows.append(json.dumps(_row(groups[key], prompts.names), separators=(",", ":")))
        length += len(rows[-1])
        if length > LONGEST_PACKED_BYTES:
            raise SettingsError(
                f"the prompts with their masks take more than {LONGEST_PACKED_BYTES >> 20} MiB",
                "give masks in fewer frames",
            )
    names = json.dumps(prompts.names, separators=(",", ":"))
    return f'{{"names":{names},"said":[{",".join(rows)}]}}'.encode()


def unpack(content: bytes) -> SaidOfVideo:
    """What `pack` was given."""
    values = parse_json(content)
    said = tuple(
        Said(
            object_id,
            eye,
            frame,
            corrects,
            tuple(Point(x, y, bool(inside)) for x, y, inside in points),
            None if box is None else (box[0], box[1], box[2], box[3]),
            None if mask is None else base64.b64decode(mask),
        )
        for object_id, eye, frame, corrects, points, box, mask in values["said"]
    )
    return SaidOfVideo(values["names"], said)


def keep_prompts(work_dir: Path, packed: bytes) -> None:
    """Leave them in a video's work folder, if they are not there yet.

    Raises:
        DiskError: they cannot be written.
    """
    path = work_dir / _FILE_NAME
    with writing(path):
        with suppress(Unreadable):
            if read_bytes(path, len(packed)) == packed:
                return
        make_folder(work_dir)
    write_file(path, packed)


def kept_prompts(work_dir: Path, sha256: str) -> bytes:
    """What `keep_prompts` left there.

    Raises:
        DiskError: it is gone, or damaged.
    """
    path = work_dir / _FILE_NAME
    try:
        packed = read_bytes(path, 2 * LONGEST_PACKED_BYTES)
    except Unreadable as error:
        raise error.as_error(
            DiskError, path, "run again: they are taken from their file anew"
        ) from error
    if digest_of(packed) != sha256:
        raise DiskError(f"{path} is damaged", "run again: it is made from the prompts anew")
    return packed


def digest_of(packed: bytes) -> str:
    return hashlib.sha256(packed).hexdigest()


def read_mask(png: bytes) -> NDArray[np.bool_]:
    """Which pixels a mask of `Said` marks, ``[H, W]``. Raises Unreadable."""
    return decode_mask(png).marked


def mask_of(path: Path) -> NDArray[np.bool_]:
    """What the picture at `path` marks, ``[H, W]``. Raises SettingsError: it is no mask."""
    return _mask_in(path, f"the mask {path}")[1].marked


def _row(group: Sequence[Prompt], names: Sequence[str]) -> list[object]:
    """Of one object, eye and frame; a mask overrides all else, and the last box counts."""
    first = group[0]
    masks = [prompt.mask for prompt in group if prompt.mask is not None]
    points = [(p.x, p.y, int(p.inside)) for prompt in group for p in prompt.points]
    boxes = [prompt.box for prompt in group if prompt.box is not None]
    said: list[object] = [points, boxes[-1] if boxes else None, None]
    if masks:
        said = [[], None, _encoded(masks[-1], names[first.object_id - 1])]
    corrects = any(prompt.corrects for prompt in group)
    return [first.object_id, first.eye, first.frame, corrects, *said]


def _encoded(path: Path, name: str) -> str:
    content, mask = _mask_in(path, f"the mask {path} of object {name!r}")
    # Colours and alpha are settled here, once, so that they count in the digest as they were read.
    kept = content if mask.plain else encode_mask(mask.marked)
    return base64.b64encode(kept).decode("ascii")


def _mask_in(path: Path, what: str) -> tuple[bytes, Mask]:
    try:
        content = read_bytes(path, LONGEST_MASK_BYTES)
        mask = decode_mask(content)
    except Unreadable as error:
        raise error.as_error(SettingsError, what, "give a PNG") from None
    if not mask.marked.any():
        raise SettingsError(f"{what} marks nothing", "paint the object white")
    return content, mask
