"""Finishes a video: joins its segments, adds sound and metadata, verifies and publishes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from pipeline.contract import FinishJob, OutputFile, SegmentResult, VideoInfo
from pipeline.deliverables.base import Deliverable, Joined, make_deliverable
from pipeline.deliverables.cut import Run
from pipeline.deliverables.sound.make import without
from pipeline.errors import (
    DiskError,
    EncodeError,
    OutputError,
    SegmentsDamaged,
    SoundFault,
    Stopped,
)
from pipeline.files.disk import writing
from pipeline.files.publish import file_digest, publish
from pipeline.files.receipts import has_receipt, leave_receipt
from pipeline.source.unchanged import require_unchanged
from pipeline.stages.catalogue import output_video
from pipeline.text import printable


def finish_video(
    job: FinishJob, *, should_stop: Callable[[], bool] = lambda: False
) -> tuple[OutputFile, ...]:
    """Make the final file of every deliverable; the segments stay where they are.

    Nothing bears its final name before it is joined, read back and found right, and no file of
    somebody else's loses its own. A track of sound that cannot be had is left out of a file, with a
    note. A format that fails takes no other one with it.

    Args:
        should_stop: asked between files.

    Raises:
        Stopped: `should_stop` said yes.
        InputError: the source is not what was probed, so that its sound would not fit.
        SegmentsDamaged: segments are gone, or not what they were when they were committed.
        EncodeError: a joined file is not what it should be; those of other formats are published.
        OutputError: a file cannot get its name, or a file that is not ours bears it.
        DiskError: it cannot be written.
    """
    require_unchanged(job.video)
    _require_whole(job, should_stop)
    video = output_video(job.video, job.settings)
    outputs = []
    failed: list[EncodeError] = []
    for position, name in enumerate(job.settings.deliverables):
        _stop_if(should_stop)
        try:
            outputs.append(_make_file(job, video, position, name))
        except EncodeError as error:  # the other formats can be had
            failed.append(error)
    if failed:
        raise failed[0]
    return tuple(outputs)


def _make_file(job: FinishJob, video: VideoInfo, position: int, name: str) -> OutputFile:
    """One deliverable, without the tracks of the source that cannot be had."""
    if job.former and (made := _made_before(job, position, name)) is not None:
        return made
    notes: list[str] = []
    while True:
        try:
            return _join(job, video, position, name, notes)
        except SoundFault as fault:
            audio = without(video.audio, fault)
            if audio == video.audio:
                raise
            notes += [
                f"audio stream {stream} is left out: {why}" for stream, why in fault.streams.items()
            ]
            video = replace(video, audio=audio)


def _join(
    job: FinishJob, video: VideoInfo, position: int, name: str, notes: list[str]
) -> OutputFile:
    deliverable = make_deliverable(name, video, job.settings)
    draft = Path(job.work_dir) / f".joined-{name}{deliverable.suffix}.part"
    frames = [segment.num_frames for segment in job.segments]
    target = Path(job.outputs[position])
    try:
        with _parts(job, position, deliverable) as (parts, lengths):
            _require_room(parts, deliverable.overhead_bytes(sum(frames)), draft)
            joined = deliverable.join(parts, lengths, draft) or Joined()
        require_unchanged(job.video)
        with writing(draft):
            size = draft.stat().st_size
        digest = _verified(deliverable, draft, sum(frames), joined.digest)
        _publish(job, name, draft, target, digest)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise
    said = (*notes, *joined.notes)
    return OutputFile(name, str(target), size, sum(frames), digest, said, job.settings.audio)


@contextmanager
def _parts(
    job: FinishJob, position: int, deliverable: Deliverable
) -> Iterator[tuple[list[Path], list[int]]]:
    """The files to be joined, and their frames; of segments without files, cut while they are here.

    Raises:
        OutputError: the finished file that they are cut from is not as it was made.
        DiskError: there is no room.
    """
    parts: list[Path] = []
    lengths: list[int] = []
    runs: list[Run] = []
    at = 0
    for number, segment in enumerate(job.segments):
        stop = at + segment.num_frames
        if segment.files:
            parts.append(Path(segment.files[position]))
            lengths.append(segment.num_frames)
        elif runs and runs[-1].stop == at:
            runs[-1] = replace(runs[-1], stop=stop)
            lengths[-1] += segment.num_frames
        else:
            name = f"kept-{deliverable.name}-{number:06d}{deliverable.suffix}"
            runs.append(Run(at, stop, Path(job.work_dir) / name))
            parts.append(runs[-1].target)
            lengths.append(segment.num_frames)
        at = stop
    try:
        if runs:
            like = next(Path(each.files[position]) for each in job.segments if each.files)
            _cut(job.former[position], deliverable, runs, like)
        yield parts, lengths
    finally:
        for run in runs:
            with suppress(OSError):
                run.target.unlink(missing_ok=True)


def _cut(former: OutputFile, deliverable: Deliverable, runs: list[Run], like: Path) -> None:
    path = Path(former.path)
    if not hasattr(deliverable, "cut"):  # of another package, written for an earlier version
        raise OutputError(
            f"the format {deliverable.name!r} cannot be made again in part",
            "leave out --from and --to",
        )
    again = "make the video again: vrmatte redo without --from and --to"
    try:
        with writing(like):
            free = shutil.disk_usage(like.parent).free
        if former.size_bytes > free:
            raise _no_room(like.parent, former.size_bytes, free)
        digest = deliverable.cut(path, runs, like) or file_digest(path)
    except EncodeError as error:  # by no other attempt it becomes another
        raise OutputError(error.message, error.advice or again) from error
    except OSError as error:
        raise OutputError(
            f"{printable(str(path))} cannot be read: {error.strerror}", again
        ) from error
    if former.digest and digest != former.digest:
        raise OutputError(f"{printable(str(path))} is not as it was made", again)


def _made_before(job: FinishJob, position: int, name: str) -> OutputFile | None:
    """A file that an earlier attempt gave its name already: the former one is no more."""
    target, former = Path(job.outputs[position]), job.former[position]
    if not has_receipt(Path(job.work_dir), name, target):
        return None
    with writing(target):
        size, digest = target.stat().st_size, file_digest(target)
    return replace(former, path=str(target), size_bytes=size, digest=digest)


def _verified(deliverable: Deliverable, draft: Path, frames: int, joined: str | None) -> str:
    """sha256 of the draft, which is what it should be.

    Args:
        joined: sha256 when it was compared with its segments, if that is known.

    Raises:
        EncodeError: it is not, or it has changed since it was compared.
    """
    digest = deliverable.verify(draft, frames)
    if digest is None:
        with writing(draft):
            digest = file_digest(draft)
    if joined is not None and joined != digest:
        raise EncodeError(
            f"{draft.name} is not what was joined any more",
            "it is made again; if that comes back, check the disk of the output folder",
        )
    return digest


def _publish(job: FinishJob, name: str, draft: Path, target: Path, digest: str) -> None:
    """Give a draft its name, unless something that is not ours bears it."""
    work = Path(job.work_dir)
    ours = str(target) in job.replaceable or has_receipt(work, name, target)
    leave_receipt(work, name, target, digest)
    try:
        publish(draft, target, replace=ours)
    except FileExistsError as error:
        raise OutputError(
            f"{printable(str(target))} exists and was not made by vrmatte",
            "move it away, then run again: the video only needs to be joined",
        ) from error


def _require_whole(job: FinishJob, should_stop: Callable[[], bool]) -> None:
    """Read every segment: one flipped bit keeps the size, and may decode."""
    with writing(job.work_dir):
        Path(job.work_dir).stat()
    damaged = []
    for number, segment in enumerate(job.segments):
        _stop_if(should_stop)
        if not _is_whole(segment):
            damaged.append(number)
    if damaged:
        names = ", ".join(map(str, damaged[:10])) + (", ..." if len(damaged) > 10 else "")
        raise SegmentsDamaged(
            f"segments of {job.video.path} are not as they were made: {names}",
            "they are made again; if that comes back, check the disk of the output folder",
            tuple(damaged),
        )


def _is_whole(segment: SegmentResult) -> bool:
    """Whether all files are there and have their digests; without one nothing can be said.

    A segment without files is taken from a finished file, which is looked at when it is cut.
    """
    if len(segment.digests) != len(segment.files):
        return False
    try:
        pairs = zip(segment.files, segment.digests, strict=True)
        return all(file_digest(Path(name)) == digest for name, digest in pairs)
    except OSError:  # a bad sector is damage; a disk that is gone was noticed before
        return False


def _require_room(parts: list[Path], overhead_bytes: int, draft: Path) -> None:
    """End here, not after an hour of joining."""
    with writing(draft):
        needed = sum(part.stat().st_size for part in parts) + overhead_bytes
        free = shutil.disk_usage(draft.parent).free
    if needed > free:
        raise _no_room(draft.parent, needed, free)


def _no_room(folder: Path, needed: int, free: int) -> DiskError:
    return DiskError(
        f"no room to join {folder}: {needed / 1e9:.2f} GB are needed, {free / 1e9:.2f} GB are free",
        "make room on that disk, then run again: it goes on where it stopped",
    )


def _stop_if(should_stop: Callable[[], bool]) -> None:
    if should_stop():
        raise Stopped("stopped on demand")
