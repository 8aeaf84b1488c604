"""The source as a stage's `prepare` sees it, and what it prepared, kept beside the segments."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from pipeline.contract import SegmentJob
from pipeline.errors import VrmatteError
from pipeline.files.disk import make_folder, writing
from pipeline.files.publish import publish
from pipeline.pixels.batches import EyeBatch, FrameBatch
from pipeline.pixels.eyes import split_eyes
from pipeline.prompts.store import kept_prompts
from pipeline.source.reader import Reader
from pipeline.stages.base import Prepared, Stage
from pipeline.structlog_import import structlog

_log = structlog.get_logger()

#: What stages prepared, by their names.
StagesPrepared = Mapping[str, Prepared]

_DIGEST_BYTES = 32  # sha256, before the data in the file

#: Held by the lane that prepares the video of that work folder.
_preparing: WeakValueDictionary[Path, Lock] = WeakValueDictionary()
_choosing = Lock()


class ClipReader:
    """See `pipeline.stages.base.ClipSampler`."""

    def __init__(self, job: SegmentJob, reader: Reader) -> None:
        self.num_frames = job.video.num_frames
        self.eyes = job.video.eyes
        self.height, self.width = job.video.eye_size
        self._layout = job.video.layout
        self.right_first = job.video.right_first
        self._reader = reader
        self._work_dir = Path(job.work_dir)
        self._prompts_sha256 = job.settings.prompts_sha256

    @property
    def prompts(self) -> bytes | None:
        """Raises DiskError: they are not in the work folder any more."""
        if self._prompts_sha256 is None:
            return None
        return kept_prompts(self._work_dir, self._prompts_sha256)

    def sample(self, frames: Sequence[int]) -> EyeBatch:
        pictures = torch.stack([self._reader.picture(frame) for frame in frames])
        return split_eyes(FrameBatch(pictures, 0), self._layout, self.right_first)


def prepared_data(job: SegmentJob, stages: Sequence[Stage], clip: ClipReader) -> StagesPrepared:
    """What each stage's `prepare` says of the video, by the stage's name; see `_prepared_by`."""
    preparing = [stage for stage in stages if type(stage).prepare is not Stage.prepare]
    return {stage.name: _prepared_by(stage, job, clip) for stage in preparing}


def _prepared_by(stage: Stage, job: SegmentJob, clip: ClipReader) -> Prepared:
    """Read from the work folder, or made and left there.

    Of a worker's lanes one makes it, and the others wait, so that its memory is taken once. Two
    workers may make it at once: it depends on the video and the settings only, so either will do,
    and it gets its name when it is whole.
    """
    path = Path(job.work_dir) / f"prepared-{stage.name}.pt"
    with _choosing:
        preparing = _preparing.setdefault(path, Lock())
    with preparing:
        saved = _read_prepared(path)
        return _prepare(job, stage, clip, path) if saved is None else saved


def _prepare(job: SegmentJob, stage: Stage, clip: ClipReader, path: Path) -> Prepared:
    prepared = stage.prepare(clip)
    content = io.BytesIO()
    torch.save({name: tensor.cpu() for name, tensor in prepared.items()}, content)
    draft = path.with_name(f".{path.stem}.{os.getpid()}-{job.number}.part")
    try:
        with writing(path):
            make_folder(path.parent)
            with draft.open("wb") as file:
                file.write(hashlib.sha256(content.getbuffer()).digest())
                file.write(content.getbuffer())
        publish(draft, path)
    except VrmatteError:
        with suppress(OSError):
            draft.unlink()
        raise
    return prepared


def _read_prepared(path: Path) -> Prepared | None:
    """What was left there, or None where there is nothing whole: its digest stands before it."""
    try:
        content = memoryview(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        _log.warning("prepared_unreadable", path=str(path), why=str(error))
        return None
    if hashlib.sha256(content[_DIGEST_BYTES:]).digest() != content[:_DIGEST_BYTES]:
        _log.warning("prepared_damaged", path=str(path))
        return None
    saved: Mapping[str, Tensor] = torch.load(io.BytesIO(content[_DIGEST_BYTES:]), weights_only=True)
    return saved
