"""Sources -> probed videos, cut into segments, each with its places on disk.

A file that cannot be used is set aside with its reason; it never stops the others.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Protocol

from orchestrator.config import OUTPUT_ENDINGS, STATE_FOLDER
from orchestrator.discover import Source, output_stems
from orchestrator.jobs import Plan, SetAside, VideoJob
from orchestrator.words import printable
from pipeline.errors import ErrorRecord, InputError, MachineError, VrmatteError
from pipeline.probe import info_from_json, info_to_json, probe_video
from pipeline.spec import PIXEL_VERSION, Layout, VideoInfo, VideoSettings

#: Probes read their files from end to end: more at once only make one disk seek.
PROBES_AT_ONCE = 4

#: Bytes of a VP9 matte per pixel and frame, on the low side: a run is refused for want of room
#: only when it surely cannot end well. The demo clips, small and full of texture, take 0.025.
OUTPUT_BYTES_PER_PIXEL = 0.002

_DIGEST_BYTES = 1 << 16


class Probe(Protocol):
    """`pipeline.probe.probe_video`, or a double of it."""

    def __call__(
        self, path: Path, index_path: Path, *, layout: Layout | None, deadline_s: float | None
    ) -> VideoInfo: ...


@dataclass(frozen=True, slots=True)
class Planner:
    """How sources become jobs.

    Attributes:
        out: absolute path of the output folder.
        layout: taken for every video if given; otherwise found out.
        deadline_s: for one probe; by the file's size if None.
        is_done: whether nothing remains to be done of a job; then a probe of an earlier run is
            enough, though its frame index is gone.
        on_probed: told the name of each source that is through; called from several threads.
    """

    out: Path
    settings: VideoSettings
    layout: Layout | None = None
    deadline_s: float | None = None
    probe: Probe = probe_video
    is_done: Callable[[VideoJob], bool] = lambda job: False
    on_probed: Callable[[str], None] = lambda name: None

    def plan(self, sources: Sequence[Source]) -> Plan:
        """Probe all sources, a few at a time, and plan those that can be processed."""
        with ThreadPoolExecutor(PROBES_AT_ONCE, "probe") as pool:
            try:
                planned = list(pool.map(self._plan_one, sources, output_stems(sources)))
            except BaseException:  # Ctrl-C: do not begin the rest
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return Plan(
            jobs=tuple(item for item in planned if isinstance(item, VideoJob)),
            set_aside=tuple(item for item in planned if isinstance(item, SetAside)),
        )

    def _plan_one(self, source: Source, stem: PurePath) -> VideoJob | SetAside:
        try:
            return self._job(source, stem)
        except VrmatteError as error:
            return SetAside(source.name, str(source.path), ErrorRecord.of(error))
        except OSError as error:
            reason = InputError(f"cannot read {source.name}: {error.strerror or error}")
            return SetAside(source.name, str(source.path), ErrorRecord.of(reason))
        finally:
            self.on_probed(source.name)

    def _job(self, source: Source, stem: PurePath) -> VideoJob:
        video_id = source_id(source.path, self.layout)
        kept = self.out / STATE_FOLDER / "probed" / f"{video_id}-v{PIXEL_VERSION}.json"
        folder = self.out / STATE_FOLDER / "work" / video_id
        known = _read_info(kept)
        if known is not None:
            job = self._make_job(source, stem, video_id, folder, known)
            if Path(job.index_path).exists() or self.is_done(job):
                return job
        folder.mkdir(parents=True, exist_ok=True)
        try:
            path = _readable_path(source, folder)
            index = folder / "index.json"
            info = self.probe(path, index, layout=self.layout, deadline_s=self.deadline_s)
        except InputError:
            with suppress(OSError):  # it is not empty
                folder.rmdir()
            raise
        _write_info(kept, info)
        return self._make_job(source, stem, video_id, folder, info)

    def _make_job(
        self, source: Source, stem: PurePath, video_id: str, folder: Path, info: VideoInfo
    ) -> VideoJob:
        start = self.settings.start_frame
        if start >= info.num_frames:
            raise InputError(
                f"{source.name} has {info.num_frames} frames; the range begins at frame {start}",
                "begin earlier (--start-frame)",
            )
        length = self.settings.max_frames or info.num_frames
        stop = min(start + length, info.num_frames)
        outputs = [
            self.out / stem.parent / (stem.name + OUTPUT_ENDINGS[name])
            for name in self.settings.deliverables
        ]
        for output in outputs:
            if output.exists() and output.samefile(source.path):
                raise InputError(f"the output of {source.name} would replace the source itself")
        return VideoJob(
            id=video_id,
            name=source.name,
            info=info,
            settings=self.settings,
            outputs=tuple(str(output) for output in outputs),
            segments=segment_grid(start, stop, self.settings.streaming.segment_frames),
            index_path=str(folder / "index.json"),
            work_dir=str(folder / self.settings.fingerprint()),
        )


def _read_info(path: Path) -> VideoInfo | None:
    """What an earlier probe of the very same file found out, if it can be read."""
    try:
        return info_from_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):  # damaged: probe again
        path.unlink(missing_ok=True)
        return None


def _write_info(path: Path, info: VideoInfo) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(info_to_json(info), encoding="utf-8")
    part.replace(path)


def source_id(path: Path, layout: Layout | None = None) -> str:
    """16 hexadecimal digits: path, size, time of change, and a digest of head and tail.

    A layout that is insisted on goes into it, because the same file is then another video.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        digest = hashlib.sha256(os.fsencode(path))
        digest.update(f"\0{status.st_size}\0{status.st_mtime_ns}\0{layout}\0".encode())
        digest.update(file.read(_DIGEST_BYTES))
        file.seek(max(0, status.st_size - _DIGEST_BYTES))
        digest.update(file.read(_DIGEST_BYTES))
    return digest.hexdigest()[:16]


def segment_grid(start: int, stop: int, segment_frames: int) -> tuple[tuple[int, int], ...]:
    """Cut ``start..stop`` at the multiples of `segment_frames`, counted from the video's frame 0.

    The grid does not move with the range, so that overlapping ranges share their seams.
    """
    cuts = range((start // segment_frames + 1) * segment_frames, stop, segment_frames)
    edges = [start, *cuts, stop]
    return tuple(itertools.pairwise(edges))


def output_bytes(job: VideoJob) -> int:
    """About how large the outputs of a video will be at the least."""
    pixels = job.info.even_width * job.info.even_height * job.num_frames
    return round(pixels * OUTPUT_BYTES_PER_PIXEL) * len(job.outputs)


def check_room(jobs: Sequence[VideoJob], free_bytes: int, in_flight: int) -> None:
    """See to it that outputs and scratch fit.

    Scratch is the segments of the videos in flight, which lie beside the joined file until that
    is verified.

    Raises:
        MachineError: they surely do not.
    """
    sizes = sorted((output_bytes(job) for job in jobs), reverse=True)
    needed = sum(sizes) + sum(sizes[:in_flight])
    if needed > free_bytes:
        raise MachineError(
            f"no room: the outputs need at least {needed / 1e9:.1f} GB,"
            f" the disk of the output folder has {free_bytes / 1e9:.1f} GB free",
            "make room, or choose another output folder",
        )


def _readable_path(source: Source, folder: Path) -> Path:
    """The source's path, or a link to it where its bytes are not UTF-8.

    Decoders take paths as UTF-8 text. The link keeps what is readable of the name, for its tags.

    Raises:
        InputError: this file system has no links.
    """
    try:
        str(source.path).encode()
    except UnicodeEncodeError:
        link = folder / printable(source.path.name)
        try:
            link.unlink(missing_ok=True)
            link.symlink_to(source.path)
        except OSError as error:
            raise InputError(
                f"the path of {source.name} is not valid UTF-8", "rename it"
            ) from error
        return link
    return source.path
